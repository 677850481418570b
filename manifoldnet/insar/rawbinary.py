"""Raw binary rasters, whose headers :mod:`manifoldnet.insar.rawheaders` reads."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.mapped import Mapped
from manifoldnet.insar.raster import Raster, Writable

# where the axes (band, line, sample) stand in the file
INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}
_SAMPLED = 256  # lines that are looked at


@dataclass(frozen=True, eq=False)
class Raw:
    """Layout of a raw file.

    ``sides`` are its header files: a name with ``{name}`` or ``{stem}`` of the main file in it, and content,
    which may hold the name ``called`` of the main file.
    """

    dtype: np.dtype
    names: tuple[str, ...]
    lines: int
    samples: int
    axes: tuple[int, int, int] = (0, 1, 2)
    preamble: bytes = b""
    nodata: float | None = None
    sides: tuple[tuple[str, bytes], ...] = ()
    called: str = ""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The sizes of (band, line, sample) in the file's order."""
        sizes = (len(self.names), self.lines, self.samples)
        return tuple(sizes[axis] for axis in self.axes)

    def bands(self, path: Path) -> Mapped:
        """The bands of a file of this layout."""
        return Mapped(path, self.dtype, self.stored_shape, self.axes, len(self.preamble))

    @contextmanager
    def create(self, path: Path) -> Iterator[Writable]:
        """A file of this layout, whose bands are written by windows, and the header files as they were."""
        with path.open("wb") as file:
            file.write(self.preamble)
            file.truncate(len(self.preamble) + math.prod(self.stored_shape) * self.dtype.itemsize)
        yield self.bands(path)
        for name, content in self.sides:
            if self.called:
                content = content.replace(self.called.encode(), path.name.encode())
            (path.parent / name.format(name=path.name, stem=path.stem)).write_bytes(content)


@contextmanager
def open_raw(path: Path, layout: Raw) -> Iterator[Raster]:
    """A raw file of a known layout.

    Raises InputError for a size that does not match it, and bytes that are not numbers in the stated byte order.
    """
    size, offset = path.stat().st_size, len(layout.preamble)
    wanted = offset + math.prod(layout.stored_shape) * layout.dtype.itemsize
    if size != wanted or not all(layout.stored_shape):
        raise InputError(
            f"{path}: {size} bytes; wanted {wanted} for {layout.lines} lines of {layout.samples} samples, "
            f"{len(layout.names)} band(s) of {layout.dtype.name} after {offset} bytes"
        )
    bands = layout.bands(path)
    _check_byte_order(path, bands, layout.nodata)
    yield Raster(bands, layout.names, layout, layout.nodata)


def _check_byte_order(path: Path, bands: Mapped, nodata: float | None) -> None:
    """Numbers read in the wrong byte order have exponents from all over the range.

    Of floats with random exponents half lie outside 1e-18 to 1e18; of phases, amplitudes and coherences none.
    """
    rows = np.unique(np.linspace(0, bands.shape[1] - 1, min(bands.shape[1], _SAMPLED), dtype=int))
    sample = np.concatenate([bands[:, row, :].ravel() for row in rows])
    sample = sample[:: max(1, sample.size // 65536)]
    with np.errstate(invalid="ignore"):
        parts = np.ascontiguousarray(sample[np.isfinite(sample) & (sample != 0) & (sample != nodata)])
    parts = parts.view(parts.real.dtype)
    if _absurd(parts) <= 0.2:
        return
    if _absurd(parts.byteswap()) < 0.05:
        order = "big" if bands.dtype.newbyteorder("S").str.startswith(">") else "little"
        raise InputError(
            f"{path}: the values are huge or denormal as they stand and plausible as {order} endian; "
            f"wanted an ENVI header {path.name}.hdr with 'byte order = {int(order == 'big')}'"
        )
    raise InputError(f"{path}: the bytes are not {bands.dtype.name} numbers in either byte order")


def _absurd(values: np.ndarray) -> float:
    """Share of values which no interferogram holds."""
    if not values.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        return 1.0 - float(np.mean((size == 0) | ((size > 1e-18) & (size < 1e18))))
