"""Means over a fixed window round every pixel."""

import math

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor
from torch.nn.functional import conv2d

from manifoldnet.errors import InputError


def boxcar(z: Complex[Tensor, "*batch h w"], size: int = 5) -> Complex[Tensor, "*batch h w"]:
    """Mean over a square of ``size`` by ``size`` pixels, of those that exist; ``size`` is odd."""
    if size < 1 or size % 2 == 0:
        raise InputError(f"size: {size}; wanted an odd number of pixels")
    return _mean(z, torch.ones(size, dtype=z.real.dtype, device=z.device))


def gaussian(
    z: Inexact[Tensor, "*batch h w"], sigma: float | int, truncate: float | int = 4.0
) -> Inexact[Tensor, "*batch h w"]:
    """Mean under a Gaussian window of ``sigma`` pixels, cut off at ``truncate`` sigmas; real images too."""
    if not sigma > 0:
        raise InputError(f"sigma: {sigma}; wanted a positive number of pixels")
    radius = max(1, round(truncate * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=z.real.dtype, device=z.device)
    return _mean(z, torch.exp(-0.5 * (offsets / sigma) ** 2))


def _mean(z: Tensor, kernel: Tensor) -> Tensor:
    valid = torch.isfinite(z)
    filled = torch.where(valid, z, 0)
    parts = [filled.real, filled.imag] if z.is_complex() else [filled]
    *sums, weight = convolve(torch.stack([*parts, valid.to(kernel.dtype)]), kernel)
    total = torch.complex(*sums) if z.is_complex() else sums[0]
    return torch.where(valid, total / weight.clamp_min(torch.finfo(kernel.dtype).tiny), math.nan)


def convolve(x: Float[Tensor, "*batch h w"], kernel: Float[Tensor, " k"]) -> Float[Tensor, "*batch h w"]:
    """Convolve rows and columns with an odd ``kernel``; there is nothing outside the image."""
    radius = kernel.numel() // 2
    images = x.reshape(-1, 1, *x.shape[-2:])
    images = conv2d(images, kernel.reshape(1, 1, -1, 1), padding=(radius, 0))
    return conv2d(images, kernel.reshape(1, 1, 1, -1), padding=(0, radius)).reshape(x.shape)
