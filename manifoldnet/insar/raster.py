"""What every file boils down to: named bands, and a header that can write them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Inexact

from manifoldnet.errors import InputError


@runtime_checkable
class Header(Protocol):
    """The part of a file that is not pixels."""

    def write(self, path: Path, bands: Sequence[np.ndarray]) -> None:
        """Write ``bands``, each (H, W) in the file's own type, and the side files of ``path``."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Bands exactly as a file holds them; float32, float64, complex64 or complex128 in any byte order.

    ``names`` has one description a band ("" where the file gives none), ``nodata`` is the file's own
    marker of missing pixels, ``masked`` is True where a mask inside the file says that there is no data.
    """

    bands: Inexact[np.ndarray, "bands h w"]
    names: tuple[str, ...]
    header: Header
    nodata: float | None = None
    masked: Bool[np.ndarray, "h w"] | None = None


def check_dtype(path: Path, dtype: np.dtype | str) -> None:
    """Raise InputError unless ``dtype`` is a real or complex floating type of single or double precision."""
    try:
        kind = np.dtype(dtype)
    except TypeError:  # GDAL's complex integers have no numpy type
        kind = None
    if kind is None or kind.kind + str(kind.itemsize) not in ("f4", "f8", "c8", "c16"):
        raise InputError(
            f"{path}: the pixels are {dtype}; wanted float32 or float64 (phase in radians) "
            "or complex64 or complex128 (interferogram)"
        )


def kind_of(path: str | Path) -> str:
    """The suffix that tells a file's kind, in lower case, with one spelling for GeoTIFF: ``.tif``."""
    suffix = Path(path).suffix.lower()
    return ".tif" if suffix == ".tiff" else suffix
