"""GeoTIFF through rasterio; everything but the pixels comes back as it was."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster, check_dtype

# GDAL derives these from the file itself; written as tags they would contradict it
_DERIVED_NAMESPACES = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC")


@dataclass(frozen=True, eq=False)
class GeoTiff:
    """Profile, tags and georeference of a GeoTIFF.

    ``tags`` and ``band_tags`` map a namespace (None is the default one) to its tags. Band statistics are
    left out: they describe the pixels that are about to be replaced.
    """

    profile: Mapping[str, Any]
    tags: Mapping[str | None, Mapping[str, str]]
    band_tags: Sequence[Mapping[str | None, Mapping[str, str]]]
    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    colours: tuple[Any, ...]
    gcps: tuple[Sequence[Any], Any]
    rpcs: Any
    mask: np.ndarray | None

    def write(self, path: Path, bands: Sequence[np.ndarray]) -> None:
        """Write ``bands`` with this profile, georeference and these tags."""
        with (
            _quiet(),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **self.profile, BIGTIFF="IF_SAFER") as target,
        ):
            for namespace, tags in self.tags.items():
                target.update_tags(ns=namespace, **tags)
            for band, namespaces in enumerate(self.band_tags, start=1):
                for namespace, tags in namespaces.items():
                    target.update_tags(band, ns=namespace, **tags)
            target.descriptions = self.descriptions
            target.units = self.units
            target.colorinterp = self.colours
            if self.gcps[0]:
                target.gcps = self.gcps
            if self.rpcs is not None:
                target.rpcs = self.rpcs
            for number, pixels in enumerate(bands, start=1):
                target.write(pixels, number)
            if self.mask is not None:
                target.write_mask(self.mask)


def read_geotiff(path: Path) -> Raster:
    """Read every band of a GeoTIFF.

    Raises InputError for a file that is not a readable GeoTIFF, for integer pixels, and for a band with a
    scale, an offset or a unit of degrees, whose numbers would not be radians.
    """
    try:
        with _quiet(), rasterio.open(path, driver="GTiff") as source:
            for dtype in source.dtypes:
                check_dtype(path, dtype)
            _check_radians(path, source)
            bands = source.read()
            has_mask = any("per_dataset" in flag.name for flag in source.mask_flag_enums[0])
            mask = source.read_masks(1) if has_mask else None
            header = _header(source, mask)
    except RasterioError as error:
        raise InputError(f"{path}: not a GeoTIFF that can be read ({' '.join(str(error).split())})") from error
    names = tuple(name or "" for name in header.descriptions)
    return Raster(bands, names, header, source.nodata, None if mask is None else mask == 0)


def same_grid(first: GeoTiff, second: GeoTiff) -> bool:
    """Whether files of equal size lie within half a pixel of each other, as far as their places are known."""
    if first.profile["crs"] is None or first.profile["crs"] != second.profile["crs"]:
        return True
    mine, its = (np.reshape(file.profile["transform"], (3, 3)) for file in (first, second))
    width, height = first.profile["width"], first.profile["height"]
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    return bool(np.abs(np.linalg.solve(mine, its @ corners) - corners).max() <= 0.5)


def _header(source: Any, mask: np.ndarray | None) -> GeoTiff:
    profile = dict(source.profile)
    predictor = source.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR")
    if predictor:
        profile["predictor"] = predictor
    return GeoTiff(
        profile=profile,
        tags=_tags(source, 0),
        band_tags=[_tags(source, band) for band in source.indexes],
        descriptions=source.descriptions,
        units=source.units,
        colours=source.colorinterp,
        gcps=source.gcps,
        rpcs=source.rpcs,
        mask=mask,
    )


def _tags(source: Any, band: int) -> dict[str | None, dict[str, str]]:
    kept = [
        name for name in source.tag_namespaces(band) if name not in _DERIVED_NAMESPACES and not name.startswith("xml:")
    ]
    tags = {name: source.tags(band, ns=name) for name in [None, *kept]}
    tags[None] = {key: value for key, value in tags[None].items() if not key.startswith("STATISTICS_")}
    return tags


def _check_radians(path: Path, source: Any) -> None:
    for scale, offset, unit in zip(source.scales, source.offsets, source.units, strict=True):
        if scale != 1 or offset != 0:
            raise InputError(f"{path}: a band has scale {scale} and offset {offset}; wanted plain radians")
        if (unit or "").lower().startswith("deg"):
            raise InputError(f"{path}: a band has the unit {unit!r}; wanted radians")


@contextmanager
def _quiet() -> Iterator[None]:
    """Interferograms in radar geometry have no place on Earth, which is no reason for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
