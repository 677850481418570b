"""GeoTIFF through rasterio; everything but the pixels comes back as it was."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster, check_dtype, row_blocks

# GDAL derives these from the file itself; written as tags they would contradict it
_DERIVED_NAMESPACES = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC")
# blocks that GDAL keeps; by default it takes a share of the machine's memory
_CACHE_MB = 256


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
    mask: Any

    @classmethod
    def plain(cls, profile: Mapping[str, Any], descriptions: Sequence[str], like: "GeoTiff | None") -> "GeoTiff":
        """A file without tags, with the control points of another."""
        bands = len(descriptions)
        points, rpcs = ((), None) if like is None else (like.gcps, like.rpcs)
        gray = (ColorInterp.gray,) + (ColorInterp.undefined,) * (bands - 1)
        units = ("radian",) * bands
        return cls(profile, {}, [{}] * bands, tuple(descriptions), units, gray, points or ((), None), rpcs, None)

    @contextmanager
    def create(self, path: Path) -> Iterator["Windows"]:
        """A file with this profile, georeference, tags and mask, whose bands are written by windows."""
        with (
            _quiet(),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_CACHEMAX=_CACHE_MB),
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
            yield Windows(target)
            if self.mask is not None:
                for rows in row_blocks(target.shape):
                    valid = ~self.mask[rows, :]
                    target.write_mask(valid, window=_window((rows, slice(None)), target.shape))


@dataclass(frozen=True, eq=False)
class Windows:
    """The bands of an open data set."""

    file: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, H, W)."""
        return (self.file.count, *self.file.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels, which is one for all bands of a GeoTIFF."""
        return np.dtype(self.file.dtypes[0])

    def __getitem__(self, window: Any) -> np.ndarray:
        """Read the window (band, rows, columns)."""
        band, *place = window
        with _reading(self.file.name):
            return self.file.read(band + 1, window=_window(place, self.file.shape))

    def __setitem__(self, window: Any, pixels: np.ndarray) -> None:
        """Write the window (band, rows, columns)."""
        band, *place = window
        self.file.write(pixels, band + 1, window=_window(place, self.file.shape))


@dataclass(frozen=True, eq=False)
class _Masked:
    """Where the mask of an open data set says that there is no data."""

    file: Any

    def __getitem__(self, window: Any) -> np.ndarray:
        with _reading(self.file.name):
            return self.file.read_masks(1, window=_window(window, self.file.shape)) == 0


@contextmanager
def open_geotiff(path: Path) -> Iterator[Raster]:
    """The bands of a GeoTIFF.

    Raises InputError for a file that is not a readable GeoTIFF, for integer pixels, and for a band with a
    scale, an offset or a unit of degrees, whose numbers would not be radians.
    """
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
        with _reading(path):
            source = stack.enter_context(rasterio.open(path, driver="GTiff"))
            for dtype in source.dtypes:
                check_dtype(path, dtype)
            _check_radians(path, source)
            has_mask = any("per_dataset" in flag.name for flag in source.mask_flag_enums[0])
            masked = _Masked(source) if has_mask else None
            header = _header(source, masked)
        names = tuple(name or "" for name in header.descriptions)
        yield Raster(Windows(source), names, header, source.nodata, masked)


def _window(place: Any, shape: tuple[int, int]) -> Window:
    rows, columns = (slice(*part.indices(size)) for part, size in zip(place, shape, strict=True))
    return Window.from_slices(rows, columns)


def same_grid(first: GeoTiff, second: GeoTiff) -> bool:
    """Whether files of equal size lie within half a pixel of each other, as far as their places are known."""
    if first.profile["crs"] is None or first.profile["crs"] != second.profile["crs"]:
        return True
    mine, its = (np.reshape(file.profile["transform"], (3, 3)) for file in (first, second))
    width, height = first.profile["width"], first.profile["height"]
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    return bool(np.abs(np.linalg.solve(mine, its @ corners) - corners).max() <= 0.5)


def _header(source: Any, mask: Any) -> GeoTiff:
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


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """GDAL's errors as ours."""
    try:
        yield
    except RasterioError as error:
        raise InputError(f"{path}: not a GeoTIFF that can be read ({' '.join(str(error).split())})") from error
