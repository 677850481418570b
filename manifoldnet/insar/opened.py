"""Interferograms that stay in their files and are read by windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped

from manifoldnet.errors import InputError
from manifoldnet.files import existing
from manifoldnet.insar.band_roles import roles_of
from manifoldnet.insar.geotiff import GeoTiff, open_geotiff, same_grid
from manifoldnet.insar.hdf5 import SUFFIXES, open_hdf5
from manifoldnet.insar.metrics import wrap
from manifoldnet.insar.npyfile import open_npy
from manifoldnet.insar.raster import Raster, kind_of, row_blocks
from manifoldnet.insar.rawbinary import Raw, open_raw
from manifoldnet.insar.rawheaders import layout_of

# HyP3 of the Alaska Satellite Facility: the coherence lies next to the phase
_BESIDE = (("_wrapped_phase.tif", "_corr.tif"), ("_unw_phase.tif", "_corr.tif"))
_ROWS = 256
EVERYWHERE = (slice(None), slice(None))


class Survey(NamedTuple):
    """What only the whole image tells.

    Attributes:
        data: number of pixels with data.
        zeros_missing: whether a phase of exactly 0 means that there is none.
        coherent: whether the coherence is 1, but for rounding, wherever there are data.
    """

    data: int
    zeros_missing: bool
    coherent: bool


class Pixels(NamedTuple):
    """A window of an interferogram, (h, w) each; as :class:`manifoldnet.insar.io.Interferogram` has them.

    Attributes:
        phase: radians in (-pi, pi], NaN where there is no data.
        amplitude: or None; 0 where there is no data.
        coherence: in [0, 1], or None; 0 where it is not known.
        image: what the file holds, a phase or a complex number.
    """

    phase: Float32[np.ndarray, "h w"]
    amplitude: Float[np.ndarray, "h w"] | None
    coherence: Float32[np.ndarray, "h w"] | None
    image: Shaped[np.ndarray, "h w"]

    def part(self, window: tuple[slice, slice]) -> Pixels:
        """Some of the rows and columns."""
        amplitude = None if self.amplitude is None else self.amplitude[window]
        coherence = None if self.coherence is None else self.coherence[window]
        return Pixels(self.phase[window], amplitude, coherence, self.image[window])

    def with_phase(self, phase: Float[np.ndarray, "h w"], unwrapped: bool) -> Shaped[np.ndarray, "h w"]:
        """The image to be written with another phase (radians), which keeps the turns of the old if ``unwrapped``."""
        image = np.empty(self.image.shape, self.image.dtype)
        if self.amplitude is not None and image.dtype.kind == "c":
            image.real, image.imag = self.amplitude * np.cos(phase), self.amplitude * np.sin(phase)
        elif unwrapped:
            with np.errstate(invalid="ignore"):
                image[...] = self.image + wrap(phase - self.image.astype(np.float64))
        else:
            image[...] = wrapped(phase)
        missing = np.isnan(self.phase)
        image[missing] = self.image[missing]
        return image


class _Coherence(NamedTuple):
    path: Path
    raster: Raster
    number: int


@dataclass(frozen=True, eq=False)
class Opened:
    """An open file; ``main`` and ``amplitude`` are the numbers of bands, ``coherence`` may be in another file."""

    path: Path
    raster: Raster
    main: int
    amplitude: int | None
    coherence: _Coherence | None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.raster.bands.shape[1:]

    @property
    def layers(self) -> int:
        """Number of interferograms."""
        return self.raster.layers

    def band(self, number: int, layer: int = 0) -> int:
        """Number in the whole file of a band of a layer."""
        return layer * len(self.raster.names) + number

    def survey(self, layer: int = 0) -> Survey:
        """Look at all pixels of an interferogram.

        Raises InputError if the coherence has no data or is outside [0, 1], or if a file of one interferogram has
        no data.
        """
        data = zeros = unmarked_zeros = known = 0
        low, high, coherent = np.inf, -np.inf, True
        for rows in row_blocks(self.shape):
            window = rows, slice(None)
            image, marked = self._image(window, layer)
            zero = image == 0
            zeros += int(np.count_nonzero(zero))
            unmarked_zeros += int(np.count_nonzero(zero & ~marked))
            there = ~marked & ~zero
            data += int(np.count_nonzero(there))
            if self.coherence is not None:
                gamma = self._gamma(window, layer)
                values = gamma[~np.isnan(gamma)]
                known += values.size
                low = min(low, float(values.min(initial=np.inf)))
                high = max(high, float(values.max(initial=-np.inf)))
                coherent = coherent and bool((gamma[there] > 1 - 1e-4).all())
        if self.coherence is not None:
            self._check_coherence(known, low, high)
        size = self.shape[0] * self.shape[1]
        zeros_missing = self.raster.bands.dtype.kind == "c" or (zeros > 3 and zeros > 1e-4 * size)
        data += 0 if zeros_missing else unmarked_zeros
        if not data and self.layers == 1:
            raise InputError(f"{self.path}: none of its {self.shape[0]} by {self.shape[1]} pixels has data")
        return Survey(data, zeros_missing, coherent)

    def read(self, window: tuple[slice, slice], survey: Survey, layer: int = 0) -> Pixels:
        """The pixels in some rows and columns."""
        image, missing = self._image(window, layer)
        if survey.zeros_missing:
            missing |= image == 0
        amplitude = None
        if image.dtype.kind == "c":
            native = image.astype(image.dtype.newbyteorder("="))
            amplitude, angle = np.abs(native), np.angle(native)
        else:
            angle = image.astype(image.dtype.newbyteorder("="))
            if self.amplitude is not None:
                band = self.raster.bands[(self.band(self.amplitude, layer), *window)]
                amplitude = band.astype(band.dtype.newbyteorder("="))
        angle[missing] = np.nan
        gamma = None if self.coherence is None else self._gamma(window, layer)
        if gamma is not None:
            gamma = np.where(missing, 0, np.nan_to_num(gamma)).clip(0, 1).astype(np.float32)
        if amplitude is not None:
            amplitude[missing] = 0
        return Pixels(wrapped(angle), amplitude, gamma, image)

    def _image(self, window: tuple[slice, slice], layer: int) -> tuple[np.ndarray, Bool[np.ndarray, "h w"]]:
        """Pixels as stored, and where they have no data, exact zeros apart."""
        image = self.raster.bands[(self.band(self.main, layer), *window)]
        marked = _marked(self.raster, image, window)
        if self.amplitude is not None:
            amplitude = self.raster.bands[(self.band(self.amplitude, layer), *window)]
            marked |= (amplitude == 0) | ~np.isfinite(amplitude)
        return image, marked

    def _gamma(self, window: tuple[slice, slice], layer: int) -> np.ndarray:
        """Coherence as its file has it, NaN where it is not known."""
        assert self.coherence is not None
        _, raster, number = self.coherence
        layer = layer if raster.layers > 1 else 0
        band = raster.bands[(layer * len(raster.names) + number, *window)]
        return np.where(_marked(raster, band, window), np.nan, band)

    def _check_coherence(self, known: int, low: float, high: float) -> None:
        assert self.coherence is not None
        path = self.coherence.path
        if not known and self.layers == 1:
            raise InputError(f"coherence: none of the pixels of {path} has data; leave it out if nothing is known")
        # estimates of full coherence come out a rounding error above 1
        if known and (low < 0 or high > 1 + 1e-4):
            raise InputError(f"coherence: {path} has values from {low:g} to {high:g}; wanted [0, 1]")


@contextmanager
def opened(
    path: str | Path,
    coherence: str | Path | None = None,
    *,
    width: int | None = None,
    dataset: str | None = None,
) -> Iterator[Opened]:
    """Open an interferogram, and its coherence in a second file or else in a band of the first.

    The arguments and errors are those of :func:`manifoldnet.insar.io.read`, ``dataset`` is the name of the phases in an
    HDF5 file. Where none is given, the coherence of a product of HyP3 is looked for next to it.
    """
    path = existing(path, "interferogram")
    with ExitStack() as stack:
        raster = stack.enter_context(_raster(path, width, dataset=dataset))
        roles = roles_of(path, raster, "phase")
        across = raster.bands.shape[2]
        if width is not None and width != across:
            raise InputError(f"width: {width}, but {path} has {across} columns; wanted the same or no width")
        file = _beside(path) if coherence is None else existing(coherence, "coherence file")
        gamma = None
        if file is not None:
            gamma = _coherence_beside(file, path, raster, stack)
        elif "coherence" in roles:
            gamma = _Coherence(path, raster, roles.index("coherence"))
        amplitude = roles.index("amplitude") if "amplitude" in roles else None
        yield Opened(path, raster, roles.index("phase"), amplitude, gamma)


def wrapped(angle: np.ndarray) -> Float32[np.ndarray, "h w"]:
    """Angles (h, w) as float32 in (-pi, pi]."""
    out = np.empty(angle.shape, np.float32)
    for start in range(0, len(angle), _ROWS):  # by blocks, so that what wrapping needs meanwhile stays small
        block = wrap(angle[start : start + _ROWS])
        # again, because rounding to float32 can step over an end of the range
        out[start : start + _ROWS] = wrap(block.astype(np.float32)) if block.itemsize > 4 else block
    return out


def _raster(
    path: Path,
    width: int | None = None,
    like: Raw | tuple[int, int] | None = None,
    dataset: str | None = None,
) -> AbstractContextManager[Raster]:
    """The opener of a file; ``like`` is given for coherences."""
    kind = kind_of(path)
    if kind in SUFFIXES:
        return open_hdf5(path, dataset, "phase" if like is None else "coherence")
    if dataset is not None:
        raise InputError(f"dataset: {dataset!r}, but {path} is no HDF5 file; wanted none")
    if kind == ".tif":
        return open_geotiff(path)
    return open_npy(path) if kind == ".npy" else open_raw(path, layout_of(path, width, like))


def _beside(path: Path) -> Path | None:
    for ending, other in _BESIDE:
        if path.name.endswith(ending):
            file = path.with_name(path.name.removesuffix(ending) + other)
            return file if file.is_file() else None
    return None


def _marked(raster: Raster, band: np.ndarray, window: tuple[slice, slice]) -> Bool[np.ndarray, "h w"]:
    """Pixels which the file itself marks as missing."""
    marked = ~np.isfinite(band)
    if raster.nodata is not None:
        with np.errstate(over="ignore"):
            marked |= band == np.asarray(raster.nodata).astype(band.dtype)
    if raster.masked is not None:
        marked |= raster.masked[window]
    return marked


def _coherence_beside(file: Path, path: Path, raster: Raster, stack: ExitStack) -> _Coherence:
    shape = raster.bands.shape[1:]
    like = raster.header if isinstance(raster.header, Raw) else shape
    other = stack.enter_context(_raster(file, like=like))
    number = roles_of(file, other, "coherence").index("coherence")
    if other.bands.dtype.kind == "c":
        raise InputError(f"coherence: {file} is complex; wanted real numbers in [0, 1]")
    if other.bands.shape[1:] != shape:
        wanted = f"{shape[0]} by {shape[1]} as {path}"
        raise InputError(f"coherence: {file} is {other.bands.shape[1]} by {other.bands.shape[2]}; wanted {wanted}")
    if other.layers not in (1, raster.layers):
        raise InputError(f"coherence: {file} has {other.layers} layers; wanted {raster.layers} as {path}, or one")
    mine, its = raster.header, other.header
    if isinstance(mine, GeoTiff) and isinstance(its, GeoTiff) and not same_grid(mine, its):
        raise InputError(f"coherence: {file} lies elsewhere on Earth than {path}; wanted the same georeference")
    return _Coherence(file, other, number)
