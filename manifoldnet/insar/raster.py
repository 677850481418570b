"""What every file boils down to: named bands that are read by windows, and a header that can write them again."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from manifoldnet.errors import InputError

#: pixels that are looked at together where a file is copied or surveyed
BLOCK = 1 << 21


class Readable(Protocol):
    """Pixels in a file or in memory; an index (band, rows, columns) reads that window only."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(bands, H, W)."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels in the file."""

    def __getitem__(self, window: Any) -> np.ndarray:
        """The pixels of a window, as they are stored."""


class Writable(Protocol):
    """Pixels of a file that is being written."""

    def __setitem__(self, window: Any, pixels: np.ndarray) -> None:
        """Write the window (band, rows, columns)."""


@runtime_checkable
class Header(Protocol):
    """The part of a file that is not pixels."""

    def create(self, path: Path) -> AbstractContextManager[Writable]:
        """A file like the one that was read, with its side files, whose bands are written by windows."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Bands (bands, H, W) exactly as a file holds them; float or complex of single or double precision.

    ``names`` has one description a band ("" where the file gives none), ``nodata`` is the file's own marker of
    missing pixels, ``masked``, (H, W), is True where a mask inside the file says that there is no data. A file of
    several interferograms has as many ``layers`` of the bands in ``names``, one after the other. ``unwrapped`` says
    that turns of the phase mean something, ``mixed`` that only the first band has the type of ``bands``.
    """

    bands: Any
    names: tuple[str, ...]
    header: Header
    nodata: float | None = None
    masked: Any = None
    layers: int = 1
    unwrapped: bool = False
    mixed: bool = False


def row_blocks(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of an image (H, W), about :data:`BLOCK` pixels at a time."""
    height, width = shape
    step = max(1, BLOCK // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(height, start + step))


def write_bands(header: Header, path: Path, bands: Sequence[np.ndarray]) -> None:
    """Write whole bands (H, W)."""
    with header.create(path) as target:
        for number, band in enumerate(bands):
            target[number, :, :] = band


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
