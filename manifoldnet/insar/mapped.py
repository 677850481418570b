"""Windows of files that are nothing but numbers."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mapped:
    """Bands (bands, H, W) in a file.

    ``stored`` is their shape in the file's order, and ``axes`` says where band, line and sample stand in it. The file
    is mapped anew for every window: pages that were touched do not pile up in this process.
    """

    path: Path
    dtype: np.dtype
    stored: tuple[int, ...]
    axes: tuple[int, int, int] = (0, 1, 2)
    offset: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(bands, H, W)."""
        return tuple(self.stored[axis] for axis in np.argsort(self.axes))

    def __getitem__(self, window: Any) -> np.ndarray:
        """A copy of the window (band, rows, columns)."""
        return np.array(self._bands("r")[window]) if prod(self.stored) else np.empty(self.shape, self.dtype)[window]

    def __setitem__(self, window: Any, pixels: np.ndarray) -> None:
        """Write the window (band, rows, columns)."""
        self._bands("r+")[window] = pixels

    def _bands(self, mode: Any) -> np.ndarray:
        mapped = np.memmap(self.path, self.dtype, mode, self.offset, self.stored)
        return mapped.transpose(np.argsort(self.axes))
