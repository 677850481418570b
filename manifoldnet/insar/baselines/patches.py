"""Filters that treat overlapping square patches one by one and blend the results."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import pad

from manifoldnet.errors import InputError

Area = tuple[Any, ...]  # an index


class Patches:
    """How the images (..., H, W) are cut: patches of ``patch`` pixels start every ``step`` pixels in both directions.

    Raises InputError, which calls the two numbers by ``names``, unless a patch is a whole number of steps.
    """

    def __init__(self, shape: torch.Size, patch: int, step: int, names: str = "patch, step") -> None:
        if not 0 < step <= patch or patch % step:
            raise InputError(f"{names}: {patch}, {step}; wanted a patch that is a whole number of steps")
        self.height, self.width = shape[-2:]
        self.patch, self.step = patch, step
        self.margin = patch - step

    def offsets(self, images: Tensor) -> Iterator[tuple[Area, Tensor]]:
        """Area and patches (..., rows, patch, columns, patch) of every offset of padded ``images``.

        The patches of one offset do not overlap, so that a view of the area holds them all.
        """
        for top, left in product(range(0, self.patch, self.step), repeat=2):
            rows, columns = (images.shape[-2] - top) // self.patch, (images.shape[-1] - left) // self.patch
            area = (..., slice(top, top + rows * self.patch), slice(left, left + columns * self.patch))
            yield area, images[area].unflatten(-2, (rows, self.patch)).unflatten(-1, (columns, self.patch))

    def filtered(
        self,
        z: Complex[Tensor, "*batch h w"],
        window: Float[Tensor, " p"],
        blend: Float[Tensor, " p"],
        gain: Callable[[Tensor, Area], Tensor],
    ) -> Complex[Tensor, "*batch h w"]:
        """Blend of the patches whose spectra were multiplied by ``gain``(spectra, area); NaN stays and weighs nothing.

        Patches are multiplied by the outer square of ``window`` before and of ``blend`` after the filter. Spectra are
        (..., rows, patch, columns, patch); ``area`` is the part of an image padded by :meth:`padded` that they cover.
        """
        valid = torch.isfinite(z)
        padded = self.padded(torch.where(valid, z, 0))
        total = torch.zeros_like(padded)
        for area, tiles in self.offsets(padded):
            spectra = torch.fft.fft2(tiles * (window[:, None, None] * window), dim=(-3, -1))
            tiles = torch.fft.ifft2(spectra * gain(spectra, area), dim=(-3, -1)) * (blend[:, None, None] * blend)
            total[area] += tiles.flatten(-4, -3).flatten(-2, -1)
        inside = total[..., self.margin : self.margin + self.height, self.margin : self.margin + self.width]
        return torch.where(valid, inside, math.nan)

    def padded(self, images: Tensor) -> Tensor:
        """The images with zeros round them, so that every pixel lies in equally many patches."""
        return pad(images, (self.margin, self.patch) * 2)


def smooth_spectrum(x: Float[Tensor, "*batch p columns q"]) -> Float[Tensor, "*batch p columns q"]:
    """Mean over 3 by 3 frequencies; frequencies are periodic."""
    for dim in (-3, -1):
        x = (x.roll(1, dim) + x + x.roll(-1, dim)) / 3
    return x
