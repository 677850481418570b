"""Large images block by block, each with as much round it as its pixels depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from manifoldnet.insar.phase_net import Observed


class Tile(NamedTuple):
    """A block of an image.

    Attributes:
        inner: its rows and columns in the image.
        window: rows and columns with the margin, as far as the image has them.
        cut: rows and columns of the block in the window.
    """

    inner: tuple[slice, slice]
    window: tuple[slice, slice]
    cut: tuple[slice, slice]


def tiles(shape: tuple[int, int], tile: int, factor: int, margin: int) -> Iterator[Tile]:
    """Blocks of about ``tile`` pixels that cover an image (H, W), row by row.

    They start at multiples of ``factor``, as do their windows if ``margin`` is one.
    """
    tile = max(factor, tile // factor * factor)
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            parts = [_along(start, size, tile, margin) for start, size in zip((top, left), shape, strict=True)]
            yield Tile(*((rows, columns) for rows, columns in zip(*parts, strict=True)))


def _along(start: int, size: int, tile: int, margin: int) -> tuple[slice, slice, slice]:
    stop = min(size, start + tile)
    low, high = max(0, start - margin), min(size, stop + margin)
    return slice(start, stop), slice(low, high), slice(start - low, stop - low)


def padded(known: Observed, factor: int) -> Observed:
    """Images (..., h, w) with pixels without data up to the next multiples of ``factor``."""
    height, width = known.phasor.shape[-2:]
    return Observed(*(pad(image, (0, -width % factor, 0, -height % factor)) for image in known))


def by_tiles(network: Any, known: Observed, kind: int, tile: int) -> Float[Tensor, "3 h w"]:
    """The network's estimate of an image (h, w) of a kind, in blocks of ``tile`` pixels.

    Blocks start at multiples of the network's factor, and each is computed with ``network.margin`` pixels round it
    where the image has them, so the result is that of the whole image at once.
    """
    factor = network.net.factor
    height, width = known.phasor.shape
    out = torch.empty(3, height, width, device=known.phasor.device)
    for place in tiles((height, width), tile, factor, network.margin):
        window = padded(Observed(*(image[place.window][None] for image in known)), factor)
        out[(slice(None), *place.inner)] = network.estimate(window, place.cut, kind)[:, 0]
    return out
