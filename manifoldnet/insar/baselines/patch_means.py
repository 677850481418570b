"""Non-local means: every pixel becomes the mean of those whose surroundings look like its own."""

import math

import torch
from jaxtyping import Complex
from torch import Tensor
from torch.nn.functional import pad

from manifoldnet.errors import InputError


def nonlocal_means(
    z: Complex[Tensor, "*batch h w"],
    sigma: float | int = 0.5,
    strength: float | int = 0.8,
    patch: int = 11,
    search: int = 21,
) -> Complex[Tensor, "*batch h w"]:
    """Mean over a square of ``search`` pixels with weights that fall with the distance of patches.

    Buades, Coll & Morel (2005), "A non-local algorithm for image denoising", on real and imaginary part together. The
    weight of pixel q at p is exp(-max(D - 2 sigma^2, 0) / (strength sigma)^2) with D the mean of
    |z(p + o) - z(q + o)|^2 over the offsets o of a square of ``patch`` pixels, those that exist in both places: noise
    alone makes D twice the variance. A pixel weighs itself as much as the best of the others.

    Args:
        z: complex images; NaN weighs nothing and stays.
        sigma: standard deviation of the complex noise, in the units of z, positive.
        strength: positive; larger is smoother.
        patch: odd number of pixels.
        search: odd number of pixels, at least 3.

    Raises:
        InputError: for numbers out of range.
    """
    if not (sigma > 0 and strength > 0):
        raise InputError(f"sigma, strength: {sigma}, {strength}; wanted positive numbers")
    if patch < 1 or patch % 2 == 0 or search < 3 or search % 2 == 0:
        raise InputError(f"patch, search: {patch}, {search}; wanted odd numbers of pixels, search at least 3")
    valid = torch.isfinite(z)
    filled = torch.where(valid, z, 0)
    total, weight = torch.zeros_like(filled), torch.zeros_like(filled.real)
    largest = torch.full_like(filled.real, torch.finfo(weight.dtype).tiny)
    reach = search // 2
    height, width = z.shape[-2:]
    # a weight is the same in both directions, so half of the shifts are enough
    for down in range(min(reach, height - 1) + 1):
        for right in range(-min(reach, width - 1) if down else 1, min(reach, width - 1) + 1):
            here = (..., slice(0, height - down), slice(max(0, -right), width - max(0, right)))
            there = (..., slice(down, height), slice(max(0, right), width - max(0, -right)))
            both = (valid[here] & valid[there]).to(weight.dtype)
            difference = filled[here] - filled[there]
            squares = (difference.real.square() + difference.imag.square()) * both
            distance = _box_sum(squares, patch) / _box_sum(both, patch).clamp_min(1)
            w = both * torch.exp(-(distance - 2 * sigma**2).clamp_min(0) / (strength * sigma) ** 2)
            for one, other in ((here, there), (there, here)):
                total[one] += w * filled[other]
                weight[one] += w
                largest[one] = torch.maximum(largest[one], w)
    return torch.where(valid, (total + largest * filled) / (weight + largest), math.nan)


def _box_sum(x: Tensor, size: int) -> Tensor:
    """Sum over squares of ``size`` pixels, an odd number; zeros outside."""
    radius = size // 2
    for _ in range(2):
        sums = pad(x, (radius + 1, radius)).cumsum(-1)
        x = (sums[..., size:] - sums[..., :-size]).mT
    return x
