"""Interferograms in and out of files: GeoTIFF, ENVI, ROI_PAC, ISCE, GAMMA, HDF5, headerless ``.int`` and ``.npy``.

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
    Pixels without data keep their bits. Data sets of HDF5 that are called unwrapped stay so: to every phase the turns
    are added that bring it nearest to what was there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from manifoldnet.errors import InputError
from manifoldnet.files import written_whole
from manifoldnet.insar.opened import Pixels, opened
from manifoldnet.insar.raster import Header, kind_of, write_bands


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds besides its phase, so that the same kind of file can be written again.

    ``bands`` has None in the place of the phase or complex band, which is ``image``; ``unwrapped`` says whether the
    turns of its phase mean something.
    """

    kind: str
    header: Header
    image: np.ndarray
    bands: Sequence[np.ndarray | None]
    unwrapped: bool


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


def read(
    path: str | Path,
    coherence: str | Path | None = None,
    *,
    width: int | None = None,
    dataset: str | None = None,
) -> Interferogram:
    """Read an interferogram, and its coherence from a second file or else from a band of the first.

    The suffix tells the kind: ``.tif``/``.tiff``, ``.npy``, ``.h5``/``.nc`` (HDF5, in which ``dataset`` is the name of
    the phases where that cannot be guessed); anything else is raw binary, with a header beside it: of ENVI
    (``NAME.hdr``, or ``.hdr`` in place of the suffix), ROI_PAC (``NAME.rsc``), ISCE (``NAME.xml``) or GAMMA (``.par``
    or ``.off`` after the name or in place of the suffix), or without a header where ``width``, in pixels, is given.
    One band is a phase, wrapped or not, or a complex interferogram; of several bands the descriptions must say which
    is what. The coherence ``*_corr.tif`` next to a ``*_phase.tif`` of HyP3 is found.

    Raises InputError for a missing or unreadable file, integers, bands that cannot be told apart, a coherence
    of another size, on another grid or outside [0, 1], an image without any data, and a file of several interferograms,
    which :mod:`manifoldnet.insar.scenes` is for.
    """
    with opened(path, coherence, width=width, dataset=dataset) as file:
        if file.layers > 1:
            raise InputError(f"{path}: holds {file.layers} interferograms; wanted one")
        raster = file.raster
        pixels = file.read((slice(None), slice(None)), file.survey())
        header: Any = raster.header
        if raster.masked is not None:
            header = replace(header, mask=raster.masked[:, :])
        bands = [None if n == file.main else raster.bands[n, :, :] for n in range(len(raster.names))]
    stored = Stored(kind_of(path), header, pixels.image, bands, raster.unwrapped)
    return Interferogram(pixels.phase, pixels.amplitude, pixels.coherence, stored)


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
    image = Pixels(like.phase, like.amplitude, None, like.stored.image).with_phase(phase, like.stored.unwrapped)
    with written_whole(path) as scratch:
        write_bands(like.stored.header, scratch, [image if band is None else band for band in like.stored.bands])


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} by {image.shape[1]}"
