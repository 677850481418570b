"""Scenes of any size, from file to file: windows are read, filtered and written one after the other.

A tile of pixels is filtered in the window that reaches ``network.margin`` pixels beyond it, and windows start at
multiples of ``network.net.factor`` from the corner of the image, so a pixel's result does not depend on its tile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from manifoldnet.errors import InputError
from manifoldnet.files import all_written_whole
from manifoldnet.insar.calibration import input_kind
from manifoldnet.insar.model import TILE, InsarDenoiser, check_looks, told
from manifoldnet.insar.moduli import NEIGHBOURHOOD
from manifoldnet.insar.opened import Opened, Pixels, Survey, opened
from manifoldnet.insar.phase_net import Observed
from manifoldnet.insar.raster import kind_of
from manifoldnet.insar.tiles import Tile, padded, tiles
from manifoldnet.insar.uncertainty_file import check_uncertainty, create_uncertainty

Window = tuple[slice, slice]


class Report(NamedTuple):
    """What :func:`denoise_file` did.

    Attributes:
        shape: (H, W) of the interferograms.
        layers: their number.
        with_coherence: whether a coherence was used.
        seconds: that it took.
    """

    shape: tuple[int, int]
    layers: int
    with_coherence: bool
    seconds: float

    @property
    def megapixels_per_second(self) -> float:
        """Pixels of all interferograms over the time."""
        return self.layers * self.shape[0] * self.shape[1] / self.seconds / 1e6


def denoise_file(
    source: str | Path,
    target: str | Path,
    coherence: str | Path | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: str | Path | None = None,
    width: int | None = None,
    dataset: str | None = None,
    tile: int = TILE,
    batch: int | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Filter the phase in a file of any size; memory depends on the size of the tiles only.

    Args:
        source: interferogram, or a stack of them, in one of the formats of :func:`manifoldnet.insar.io.read`.
        target: file of the same kind; all but the phase is kept. A file that was there is replaced when all is done.
        coherence: file of the coherence, or None for the one that ``source`` has or HyP3 puts next to it, if any.
        looks: as in :func:`manifoldnet.insar.denoise`.
        model: likewise.
        uncertainty: file for the uncertainty in radians, float32, NaN where there is no data: a GeoTIFF, which gets the
            place on Earth of ``source`` if that is one, or ``.npy``; (layers, H, W) of a stack.
        width: pixels in a line of a raw file without header.
        dataset: name of the phases in an HDF5 file, where there is more than one.
        tile: side in pixels of what is filtered at once.
        batch: tiles in one call of the network; None for 4 on a GPU and 1 elsewhere.
        device: "cpu" or "cuda", where the network runs.
        progress: is called with the number of tiles done and of all.

    Raises:
        InputError: as in reading, for a target of another kind, and for an argument out of range.
    """
    start = time.perf_counter()
    check_looks(looks)
    for name, number in (("tile", tile), ("batch", batch)):
        if number is not None and number < 1:
            raise InputError(f"{name}: wanted at least 1, got {number}")
    if kind_of(source) != kind_of(target):
        raise InputError(
            f"{target}: the name ends in {kind_of(target) or 'no suffix'}; wanted {kind_of(source) or 'no suffix'} as "
            "the input, whose kind of file is written"
        )
    if uncertainty is not None:
        check_uncertainty(uncertainty)
        if Path(uncertainty).absolute() == Path(target).absolute():
            raise InputError(f"uncertainty: {uncertainty} is the output; wanted another file")
    if device != "cpu" and not (device == "cuda" and torch.cuda.is_available()):
        raise InputError(f"device: wanted 'cpu', or 'cuda' where there is one, got {device!r}")
    network = InsarDenoiser.named(model).to(device)
    batch = (4 if device == "cuda" else 1) if batch is None else batch
    with ExitStack() as stack:
        # first in, last out: the source is closed when its place may be taken
        paths = [target] if uncertainty is None else [target, uncertainty]
        scratch = stack.enter_context(all_written_whole(paths))
        file = stack.enter_context(opened(source, coherence, width=width, dataset=dataset))
        plan = list(tiles(file.shape, tile, network.net.factor, network.margin))
        first, used = file.survey(), False
        with ExitStack() as writing:
            out = writing.enter_context(file.raster.header.create(scratch[0]))
            widths = None
            if uncertainty is not None:
                made = create_uncertainty(scratch[1], (file.layers, *file.shape), file.raster.header)
                widths = writing.enter_context(made)
            for layer in range(file.layers):
                survey = file.survey(layer) if layer else first
                scene = _Scene(file, layer, survey, looks)
                used = used or scene.with_coherence
                for done, (place, pixels, result) in enumerate(scene.filtered(network, plan, batch, device), start=1):
                    _write(out, file, layer, place, pixels, result)
                    if widths is not None:
                        widths[(layer, *place.inner)] = np.where(np.isnan(pixels.phase), np.nan, result[1])
                    if progress is not None:
                        progress(layer * len(plan) + done, file.layers * len(plan))
        shape, layers = file.shape, file.layers
    return Report(shape, layers, used, time.perf_counter() - start)


class _Scene(NamedTuple):
    file: Opened
    layer: int
    survey: Survey
    looks: float | int | None

    @property
    def with_coherence(self) -> bool:
        """From a single look the estimate is 1 everywhere, which says nothing."""
        return self.file.coherence is not None and not (self.looks == 1 and self.survey.coherent)

    def filtered(
        self, network: InsarDenoiser, plan: Sequence[Tile], batch: int, device: str
    ) -> Iterator[tuple[Tile, Pixels, np.ndarray]]:
        """Tiles with the pixels in them and (2, h, w) phase and uncertainty."""
        waiting: list[tuple[Tile, Pixels, Observed]] = []
        kind = 0
        for place in plan:
            if waiting and (len(waiting) == batch or _form(waiting[0][0]) != _form(place)):
                yield from _results(network, waiting, kind, device)
                waiting = []
            wide, inside = _with_neighbours(place.window, self.file.shape)
            pixels = self.file.read(wide, self.survey, self.layer)
            kind = input_kind(moduli=pixels.amplitude is not None, coherence=self.with_coherence)
            known = Observed(*(image[inside] for image in self._told(pixels)))
            core = pixels.part(inside).part(place.cut)
            if np.isnan(core.phase).all():
                yield place, core, np.zeros((2, *core.phase.shape), np.float32)
            else:
                waiting.append((place, core, known))
        yield from _results(network, waiting, kind, device)

    def _told(self, pixels: Pixels) -> Observed:
        phase = torch.from_numpy(pixels.phase)
        amplitude = None if pixels.amplitude is None else torch.from_numpy(pixels.amplitude)
        gamma = torch.from_numpy(pixels.coherence) if self.with_coherence else None
        return told(phase, amplitude, phase.isfinite(), gamma, self.looks)


def _results(
    network: InsarDenoiser, group: Sequence[tuple[Tile, Pixels, Observed]], kind: int, device: str
) -> Iterator[tuple[Tile, Pixels, np.ndarray]]:
    """One call of the network for windows of equal sizes and cuts."""
    if not group:
        return
    with torch.inference_mode():
        known = zip(*(known for _, _, known in group), strict=True)
        images = Observed(*(torch.stack(images).to(device) for images in known))
        found = network.estimate(padded(images, network.net.factor), group[0][0].cut, kind).cpu().numpy()
    for (place, pixels, _), result in zip(group, found[:2].swapaxes(0, 1), strict=True):
        yield place, pixels, result


def _with_neighbours(window: Window, shape: tuple[int, int]) -> tuple[Window, Window]:
    """The window with as much more round it as moduli are compared over, and the window in that."""
    more = NEIGHBOURHOOD // 2
    (top, below), (left, right) = (
        (max(0, part.start - more), min(size, part.stop + more)) for part, size in zip(window, shape, strict=True)
    )
    rows, columns = window
    inside = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    return (slice(top, below), slice(left, right)), inside


def _form(place: Tile) -> tuple[int, ...]:
    """Of windows that one call of the network can filter: their sizes and cuts."""
    sizes = [part.stop - part.start for part in place.window]
    return (*sizes, *(end for part in place.cut for end in (part.start, part.stop)))


def _write(out: Any, file: Opened, layer: int, place: Tile, pixels: Pixels, result: np.ndarray) -> None:
    for number in range(len(file.raster.names)):
        band = (file.band(number, layer), *place.inner)
        if number == file.main:
            out[band] = pixels.with_phase(result[0], file.raster.unwrapped)
        else:
            out[band] = file.raster.bands[band]
