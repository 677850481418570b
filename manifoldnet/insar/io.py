"""Interferograms in and out of files: GeoTIFF, ENVI, ROI_PAC, headerless ``.int`` and ``.npy``.

Missing pixels
    A pixel has no data where its value is not finite, equals the file's own marker (the no-data tag of a
    GeoTIFF, ``data ignore value`` of an ENVI header) or is masked inside the file; where a complex value or
    an amplitude is exactly 0; and where the phase is exactly 0, provided that such zeros are more than three
    and more than one pixel in ten thousand.
    Processors pad with zeros without tagging them, or under another tag, while a measured phase hits exact
    0 in next to no pixel; so few that they are kept as data. Where only the coherence is missing it counts as 0,
    which says that nothing is known, and the phase stays data.

Writing
    The output has the kind, type, size, georeference, tags and header of the input, and its amplitude and
    coherence bands. Only the phase is replaced, by phase in (-pi, pi] even where the input was unwrapped.
    Pixels without data keep their bits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from manifoldnet.errors import InputError
from manifoldnet.files import existing, written_whole
from manifoldnet.insar.geotiff import GeoTiff, read_geotiff, same_grid
from manifoldnet.insar.metrics import wrap
from manifoldnet.insar.npyfile import read_npy
from manifoldnet.insar.raster import Header, Raster, kind_of
from manifoldnet.insar.rawbinary import read_raw

# what the description of a band says that it is
_ROLES = {
    "coherence": re.compile(r"coher|correl|\b(coh|corr?|cc)\b", re.IGNORECASE),
    "amplitude": re.compile(r"ampl|magnitude|\b(amp|mag)\b", re.IGNORECASE),
    "phase": re.compile(r"phase|interferogram|wrapped|\b(phs|unw|ifg)\b", re.IGNORECASE),
}
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds besides its phase, so that the same kind of file can be written again.

    ``bands`` has None in the place of the phase or complex band, of type ``dtype``; ``missing`` has that
    band's values at the pixels without data, row by row.
    """

    kind: str
    header: Header
    dtype: np.dtype
    bands: Sequence[np.ndarray | None]
    missing: np.ndarray


@dataclass(frozen=True, eq=False)
class Interferogram:
    """An interferogram as a denoiser wants it.

    ``phase`` is in radians, in (-pi, pi], NaN where there is no data. ``amplitude`` comes with complex
    files and with files that have an amplitude band; ``coherence`` is in [0, 1]; both are 0 where there is
    no data.
    """

    phase: Float32[np.ndarray, "h w"]
    amplitude: Float[np.ndarray, "h w"] | None
    coherence: Float32[np.ndarray, "h w"] | None
    stored: Stored


def read(path: str | Path, coherence: str | Path | None = None, *, width: int | None = None) -> Interferogram:
    """Read an interferogram, and its coherence from a second file or else from a band of the first.

    The suffix tells the kind: ``.tif``/``.tiff``, ``.npy``; anything else is raw binary, with an ENVI header
    (``NAME.hdr``, or ``.hdr`` in place of the suffix) or a ROI_PAC one (``NAME.rsc``) beside it, or without a
    header where ``width``, in pixels, is given. One band is a phase, wrapped or not, or a complex
    interferogram; of several bands the descriptions must say which is what.

    Raises InputError for a missing or unreadable file, integers, bands that cannot be told apart, a coherence
    of another size, on another grid or outside [0, 1], and an image without any data.
    """
    path = existing(path, "interferogram")
    raster = _raster(path, width=width)
    roles = _roles(path, raster, "phase")
    main = roles.index("phase")
    image = raster.bands[main]
    if width is not None and width != image.shape[1]:
        raise InputError(f"width: {width}, but {path} has {image.shape[1]} columns; wanted the same or no width")
    amplitude = raster.bands[roles.index("amplitude")] if "amplitude" in roles else None
    missing = _missing(raster, image, amplitude)
    gamma = None
    if coherence is not None:
        gamma = _coherence_beside(existing(coherence, "coherence file"), path, raster)
    elif "coherence" in roles:
        gamma = _coherence_band(path, raster, roles.index("coherence"))
    if missing.all():
        raise InputError(f"{path}: none of its {image.shape[0]} by {image.shape[1]} pixels has data")
    stored = Stored(
        kind=kind_of(path),
        header=raster.header,
        dtype=image.dtype,
        bands=[None if number == main else band for number, band in enumerate(raster.bands)],
        missing=image[missing],
    )
    if image.dtype.kind == "c":
        amplitude, angle = np.abs(image), np.angle(image)
    else:
        amplitude = None if amplitude is None else _native(amplitude)
        angle = _native(image)
    angle[missing] = np.nan
    for other in (amplitude, gamma):
        if other is not None:
            other[missing] = 0
    return Interferogram(_wrapped(angle), amplitude, gamma, stored)


def write(path: str | Path, phase: Float[np.ndarray, "h w"], like: Interferogram) -> None:
    """Write ``phase`` (radians, any number of turns) as the same kind of file that ``like`` was read from.

    ``path`` must have the suffix of that file. Header files are written beside it. The module's docstring
    says what else is kept.

    Raises InputError for another suffix, another size, and a phase that is not finite where ``like`` has
    data.
    """
    if kind_of(path) != like.stored.kind:
        raise InputError(
            f"{path}: the name ends in {kind_of(path) or 'no suffix'}; wanted "
            f"{like.stored.kind or 'no suffix'} as the input, whose kind of file is written"
        )
    if phase.shape != like.phase.shape:
        raise InputError(f"phase: is {_size(phase)}; wanted {_size(like.phase)} as the input")
    missing = np.isnan(like.phase)
    lost = np.count_nonzero(~np.isfinite(phase) & ~missing)
    if lost:
        raise InputError(f"phase: {lost} pixels with data are not finite; wanted none")
    image = np.empty(phase.shape, like.stored.dtype)
    if image.dtype.kind == "c":
        image.real, image.imag = like.amplitude * np.cos(phase), like.amplitude * np.sin(phase)
    else:
        image[...] = _wrapped(phase)
    image[missing] = like.stored.missing
    with written_whole(path) as scratch:
        like.stored.header.write(scratch, [image if band is None else band for band in like.stored.bands])


def _raster(path: Path, width: int | None = None, shape: tuple[int, int] | None = None) -> Raster:
    kind = kind_of(path)
    if kind == ".tif":
        return read_geotiff(path)
    return read_npy(path) if kind == ".npy" else read_raw(path, width, shape)


def _roles(path: Path, raster: Raster, main: str) -> list[str | None]:
    """The role of every band; the only band of which nothing is known has the ``main`` role."""
    matches = [[role for role, words in _ROLES.items() if words.search(name)] for name in raster.names]
    roles = [match[0] if len(match) == 1 else None for match in matches]
    if main not in roles and roles.count(None) == 1:
        roles[roles.index(None)] = main
    if main not in roles or None in roles or len(set(roles)) < len(roles):
        raise InputError(
            f"{path}: {len(roles)} band(s) described as {list(raster.names)}; wanted one {main} band, "
            f"and further bands only where the descriptions say {', '.join(_ROLES)}, each once"
        )
    if len(roles) > 1 and raster.bands.dtype.kind == "c":
        raise InputError(f"{path}: {len(roles)} complex bands; wanted one")
    return roles


def _missing(raster: Raster, image: np.ndarray, amplitude: np.ndarray | None) -> Bool[np.ndarray, "h w"]:
    missing = _marked(raster, image)
    zero = image == 0
    count = np.count_nonzero(zero)
    if image.dtype.kind == "c" or (count > 3 and count > 1e-4 * zero.size):
        missing |= zero
    if amplitude is not None:
        missing |= (amplitude == 0) | ~np.isfinite(amplitude)
    return missing


def _marked(raster: Raster, band: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Pixels which the file itself marks as missing."""
    marked = ~np.isfinite(band)
    if raster.nodata is not None:
        with np.errstate(over="ignore"):
            marked |= band == np.asarray(raster.nodata).astype(band.dtype)
    if raster.masked is not None:
        marked |= raster.masked
    return marked


def _coherence_beside(file: Path, path: Path, raster: Raster) -> np.ndarray:
    height, width = raster.bands.shape[1:]
    other = _raster(file, shape=(height, width))
    gamma = _coherence_band(file, other, _roles(file, other, "coherence").index("coherence"))
    if gamma.shape != (height, width):
        raise InputError(f"coherence: {file} is {_size(gamma)}; wanted {height} by {width} as {path}")
    mine, its = raster.header, other.header
    if isinstance(mine, GeoTiff) and isinstance(its, GeoTiff) and not same_grid(mine, its):
        raise InputError(f"coherence: {file} lies elsewhere on Earth than {path}; wanted the same georeference")
    return gamma


def _coherence_band(path: Path, raster: Raster, number: int) -> np.ndarray:
    """Coherence as float32, 0 where its file has no data."""
    band = raster.bands[number]
    if band.dtype.kind == "c":
        raise InputError(f"coherence: {path} is complex; wanted real numbers in [0, 1]")
    unknown = _marked(raster, band)
    known = band[~unknown]
    if not known.size:
        raise InputError(f"coherence: none of the pixels of {path} has data; leave it out if nothing is known")
    # estimates of full coherence come out a rounding error above 1
    if known.min() < 0 or known.max() > 1 + 1e-4:
        raise InputError(f"coherence: {path} has values from {known.min():g} to {known.max():g}; wanted [0, 1]")
    return np.where(unknown, 0, band).clip(0, 1).astype(np.float32)


def _native(band: np.ndarray) -> np.ndarray:
    """A copy in this machine's byte order."""
    return band.astype(band.dtype.newbyteorder("="))


def _wrapped(angle: np.ndarray) -> Float32[np.ndarray, "h w"]:
    wrapped = np.empty(angle.shape, np.float32)
    for start in range(0, len(angle), _ROWS):  # by blocks, so that what wrapping needs meanwhile stays small
        block = wrap(angle[start : start + _ROWS])
        # again, because rounding to float32 can step over an end of the range
        wrapped[start : start + _ROWS] = wrap(block.astype(np.float32)) if block.itemsize > 4 else block
    return wrapped


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} by {image.shape[1]}"
