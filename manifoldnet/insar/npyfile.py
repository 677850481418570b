"""Arrays in numpy's own ``.npy`` format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster, check_dtype


@dataclass(frozen=True)
class Npy:
    """The memory order, which is all that a ``.npy`` file says besides its array."""

    fortran: bool

    def write(self, path: Path, bands: Sequence[np.ndarray]) -> None:
        """Write the only band."""
        np.save(path, np.asfortranarray(bands[0]) if self.fortran else bands[0], allow_pickle=False)


def read_npy(path: Path) -> Raster:
    """Read an (H, W) array; InputError for pickled objects, other shapes and integers."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a .npy array without objects ({' '.join(str(error).split())})") from error
    check_dtype(path, array.dtype)
    if array.ndim != 2:
        raise InputError(f"{path}: holds an array of shape {array.shape}; wanted (H, W)")
    return Raster(array[None], ("",), Npy(fortran=bool(array.flags.fnc)))
