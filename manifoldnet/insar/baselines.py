"""Classical filters of interferograms, to hold a network against.

Every filter takes complex images (..., H, W) and returns complex images of that shape; the filtered phase
is their angle. NaN marks pixels without data: they carry no weight in any average and come back as NaN. The
filters are linear or homogeneous in the modulus: pass unit phasors to weigh all pixels alike, amplitudes to
weigh by amplitude.
"""

import math
from itertools import product

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor
from torch.nn.functional import conv2d, pad

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


def goldstein(
    z: Complex[Tensor, "*batch h w"], alpha: float | int = 0.5, patch: int = 32, step: int = 8
) -> Complex[Tensor, "*batch h w"]:
    """Spectral filter: the spectrum of every patch is multiplied by a power of its own smoothed modulus.

    Goldstein & Werner (1998), "Radar interferogram filtering for geophysical applications". Patches of
    ``patch`` pixels start every ``step`` pixels and are blended under a triangular window. The modulus of a
    patch's spectrum, averaged over 3 by 3 frequencies and divided by its maximum, is raised to ``alpha``: 0
    changes nothing, 1 is the strongest filter of the paper, more is stronger still.
    """
    if alpha < 0:
        raise InputError(f"alpha: {alpha}; wanted 0 or more")
    if not 0 < step <= patch or patch % step:
        raise InputError(f"patch, step: {patch}, {step}; wanted a patch that is a whole number of steps")
    height, width = z.shape[-2:]
    valid = torch.isfinite(z)
    margin = patch - step
    padded = pad(torch.where(valid, z, 0), (margin, patch, margin, patch))
    filtered = torch.zeros_like(padded)
    window = _triangle(patch, step, z)
    # every offset cuts the image into patches that do not overlap, so one view filters all of them at once
    for top, left in product(range(0, patch, step), repeat=2):
        rows, columns = (padded.shape[-2] - top) // patch, (padded.shape[-1] - left) // patch
        area = (..., slice(top, top + rows * patch), slice(left, left + columns * patch))
        tiles = padded[area].unflatten(-2, (rows, patch)).unflatten(-1, (columns, patch))
        spectrum = torch.fft.fft2(tiles, dim=(-3, -1))
        size = _smooth_circular(spectrum.abs(), (-3, -1))
        peak = size.amax((-3, -1), keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
        tiles = torch.fft.ifft2(spectrum * (size / peak) ** alpha, dim=(-3, -1))
        filtered[area] += (tiles * window[:, None, None] * window).flatten(-4, -3).flatten(-2, -1)
    inside = filtered[..., margin : margin + height, margin : margin + width]
    return torch.where(valid, inside, math.nan)


def _mean(z: Tensor, kernel: Tensor) -> Tensor:
    valid = torch.isfinite(z)
    filled = torch.where(valid, z, 0)
    parts = [filled.real, filled.imag] if z.is_complex() else [filled]
    *sums, weight = _convolve(torch.stack([*parts, valid.to(kernel.dtype)]), kernel)
    total = torch.complex(*sums) if z.is_complex() else sums[0]
    return torch.where(valid, total / weight.clamp_min(torch.finfo(kernel.dtype).tiny), math.nan)


def _convolve(x: Float[Tensor, "*batch h w"], kernel: Float[Tensor, " k"]) -> Float[Tensor, "*batch h w"]:
    """Convolve rows and columns with an odd ``kernel``; there is nothing outside the image."""
    radius = kernel.numel() // 2
    images = x.reshape(-1, 1, *x.shape[-2:])
    images = conv2d(images, kernel.reshape(1, 1, -1, 1), padding=(radius, 0))
    return conv2d(images, kernel.reshape(1, 1, 1, -1), padding=(0, radius)).reshape(x.shape)


def _triangle(patch: int, step: int, like: Tensor) -> Tensor:
    """A triangular window whose copies, ``step`` pixels apart, sum to one."""
    ramp = torch.arange(patch, dtype=like.real.dtype, device=like.device) + 0.5
    window = torch.minimum(ramp, patch - ramp)
    return window / window.reshape(-1, step).sum(0).repeat(patch // step)


def _smooth_circular(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    for dim in dims:
        x = (x.roll(1, dim) + x + x.roll(-1, dim)) / 3
    return x
