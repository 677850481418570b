"""Files of uncertainties: GeoTIFF or ``.npy``, whatever kind of file the interferogram is in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.geotiff import GeoTiff
from manifoldnet.insar.npyfile import Npy
from manifoldnet.insar.raster import Header, Writable, kind_of

_KINDS = (".tif", ".npy")


def check_uncertainty(path: str | Path) -> None:
    """Raise InputError unless the name says that a kind of file is wanted which can be written."""
    if kind_of(path) not in _KINDS:
        raise InputError(f"uncertainty: {path}; wanted a name that ends in {' or '.join(_KINDS)}")


def create_uncertainty(path: Path, shape: tuple[int, int, int], header: Header) -> AbstractContextManager[Writable]:
    """A float32 file of ``shape`` (layers, H, W), in the place on Earth that a GeoTIFF's ``header`` has."""
    layers, height, width = shape
    if kind_of(path) == ".npy":
        return Npy(shape if layers > 1 else shape[1:], np.dtype(np.float32)).create(path)
    like = header if isinstance(header, GeoTiff) else None
    place: dict[str, Any] = {} if like is None else {key: like.profile[key] for key in ("crs", "transform")}
    profile = {
        "driver": "GTiff", "dtype": "float32", "nodata": np.nan, "count": layers, "height": height, "width": width,
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 3, **place,
    }  # fmt: skip
    return GeoTiff.plain(profile, ["uncertainty of the phase"] * layers, like).create(path)
