"""HDF5 and NetCDF-4: unwrapped interferograms of ARIA, stacks of MintPy, and files that name data sets as they do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster, Writable, check_dtype

SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4")
#: names of data sets, in lower case, from which phases are taken without being told
_PHASES = (
    "unwrappedphase", "unwrapphase", "wrappedphase", "wrapphase",
    "wrappedinterferogram", "interferogram", "phase", "ifg",
)  # fmt: skip
_COHERENCES = ("coherence", "coherencemagnitude", "correlation", "coh")
_CACHE = 64 << 20  # bytes of chunks that HDF5 keeps of a data set


@dataclass(frozen=True, eq=False)
class Hdf5:
    """Where in a file an interferogram is; the rest of the file is copied as it is."""

    path: Path
    dataset: str
    roles: int

    @contextmanager
    def create(self, path: Path) -> Iterator[Writable]:
        """A copy of the whole file, whose phases are written by windows."""
        shutil.copyfile(self.path, path)
        with _h5py().File(path, "r+", rdcc_nbytes=_CACHE) as file:
            yield _Phases(file[self.dataset], self.roles)


@dataclass(frozen=True, eq=False)
class Layers:
    """Data sets (H, W), or (layers, H, W), as bands: of every layer the phase and, if there is one, the coherence."""

    datasets: Sequence[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(bands, H, W)."""
        shape = self.datasets[0].shape
        return (len(self.datasets) * (shape[0] if len(shape) == 3 else 1), *shape[-2:])

    @property
    def dtype(self) -> np.dtype:
        """Type of the phases."""
        return self.datasets[0].dtype

    def __getitem__(self, window: Any) -> np.ndarray:
        """Read the window (band, rows, columns); a coherence is NaN where its own marker says that it is missing."""
        band, *place = window
        layer, role = divmod(band, len(self.datasets))
        dataset = self.datasets[role]
        pixels = dataset[tuple(place)] if dataset.ndim == 2 else dataset[(layer, *place)]
        fill = _fill_value(dataset)
        return np.where(pixels == fill, np.nan, pixels) if role and fill is not None else pixels


@dataclass(frozen=True, eq=False)
class _Phases:
    """The phases of a copied file; the other bands are there."""

    dataset: Any
    roles: int

    def __setitem__(self, window: Any, pixels: np.ndarray) -> None:
        band, *place = window
        layer, role = divmod(band, self.roles)
        if role == 0:
            self.dataset[tuple(place) if self.dataset.ndim == 2 else (layer, *place)] = pixels


@contextmanager
def open_hdf5(path: Path, dataset: str | None = None, wanted: str = "phase") -> Iterator[Raster]:
    """The data set ``dataset`` of a file, or the only one that is called as a phase (or as the ``wanted`` coherence).

    A coherence beside it, of the same shape in the same group, comes along.

    Raises InputError if h5py is missing, the file cannot be read, there is no such data set, none or several that it
    could be, or its numbers are neither real nor complex floating ones of shape (H, W) or (layers, H, W).
    """
    try:
        file = _h5py().File(path, "r", rdcc_nbytes=_CACHE)
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file that can be read ({' '.join(str(error).split())})") from error
    with file:
        called = _PHASES if wanted == "phase" else _COHERENCES
        found = _named(file, called) if dataset is None else [file.get(dataset)]
        if len(found) != 1 or not hasattr(found[0], "dtype"):
            choice = ", ".join(part.name for part in (found if dataset is None else _named(file, called)) if part)
            what = "none" if dataset is None else f"no data set {dataset!r}"
            got = f"several of them, {choice}" if len(found) > 1 else what
            raise InputError(f"{path}: wanted one data set called as a {wanted} or to be told which, got {got}")
        main = found[0]
        check_dtype(path, main.dtype)
        if main.ndim not in (2, 3):
            raise InputError(f"{path}: {main.name} has shape {main.shape}; wanted (H, W) or (layers, H, W)")
        beside = [part for part in _named(main.parent, _COHERENCES, deep=False) if part.shape == main.shape]
        datasets = [main, *beside[:1]] if wanted == "phase" and beside else [main]
        layers = main.shape[0] if main.ndim == 3 else 1
        header = Hdf5(path, main.name, len(datasets))
        names = (wanted, "coherence")[: len(datasets)]
        # who reads unwrapped phases counts on their turns
        unwrapped = "unwrap" in main.name.rsplit("/", 1)[-1].lower()
        yield Raster(Layers(datasets), names, header, _fill_value(main), None, layers, unwrapped, mixed=True)


def _named(group: Any, names: tuple[str, ...], deep: bool = True) -> list[Any]:
    """The data sets of a group, or of all below it, that have one of the names and the shape of images."""
    found: list[Any] = []

    def visit(name: str, part: Any) -> None:
        if name.rsplit("/", 1)[-1].lower() in names and getattr(part, "ndim", 0) in (2, 3):
            found.append(part)

    if deep:
        group.visititems(visit)
    else:
        for name, part in group.items():
            visit(name, part)
    return found


def _fill_value(dataset: Any) -> float | None:
    for name in ("_FillValue", "missing_value"):
        if name in dataset.attrs:
            value = np.ravel(dataset.attrs[name])[0]
            return float(value.real) if np.isreal(value) else None
    return None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise InputError("h5py: wanted it installed, got no such package: pip install manifoldnet[scenes]") from None
    return h5py
