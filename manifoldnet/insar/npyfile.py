"""Arrays in numpy's own ``.npy`` format."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.mapped import Mapped
from manifoldnet.insar.raster import Raster, Writable, check_dtype


@dataclass(frozen=True)
class Npy:
    """All that a ``.npy`` file says besides its array, which is (H, W), or (layers, H, W) of what this package made."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False

    @contextmanager
    def create(self, path: Path) -> Iterator[Writable]:
        """A file of zeros whose only band is written by windows."""
        array = np.lib.format.open_memmap(path, "w+", self.dtype, self.shape, self.fortran)
        offset = int(array.offset)
        del array
        yield _mapped(path, self, offset)


@contextmanager
def open_npy(path: Path) -> Iterator[Raster]:
    """An (H, W) array; InputError for pickled objects, other shapes, integers and files that are too short."""
    try:
        array = np.lib.format.open_memmap(path, "r")
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a .npy array without objects ({' '.join(str(error).split())})") from error
    check_dtype(path, array.dtype)
    if array.ndim != 2:
        raise InputError(f"{path}: holds an array of shape {array.shape}; wanted (H, W)")
    header = Npy(array.shape, array.dtype, bool(array.flags.fnc))
    offset = int(array.offset)
    del array
    yield Raster(_mapped(path, header, offset), ("",), header)


def _mapped(path: Path, header: Npy, offset: int) -> Mapped:
    shape = (1,) * (3 - len(header.shape)) + header.shape
    if header.fortran:
        return Mapped(path, header.dtype, shape[::-1], (2, 1, 0), offset)
    return Mapped(path, header.dtype, shape, offset=offset)
