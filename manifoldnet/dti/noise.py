"""Noise of magnitude images: Rician and non-central chi, of one level or of a level that varies over the image."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.errors import InputError

Level = float | int | Float[Tensor, ""] | Float[Tensor, "*batch"]


def noncentral_chi(
    clean: Float[Tensor, "*batch n"], sigma: Level, coils: int, generator: torch.Generator
) -> Float[Tensor, "*batch n"]:
    """Root of the sum of squares of ``coils`` complex channels (Constantinides, Atalar and McVeigh 1997).

    Every channel gets noise sigma (n1 + i n2), n1 and n2 standard normal and independent; the squares of the channels'
    signals add up to that of ``clean``. How they share it does not matter to the distribution: (output / sigma)^2 is
    non-central chi-square with 2 coils degrees of freedom and non-centrality (clean / sigma)^2. Without signal the mean
    is about sigma sqrt(2 coils - 1 / 2).

    Args:
        clean: of n volumes, >= 0.
        sigma: standard deviation in either part of a channel, in the unit of ``clean``; one number, or one a voxel.
        coils: how many channels; one gives :func:`rician`, draw by draw.
        generator: source of the noise.

    Raises:
        InputError: less than one coil.
    """
    if coils < 1:
        raise InputError(f"coils: wanted at least 1, got {coils}")
    level = sigma[..., None] if isinstance(sigma, Tensor) and sigma.dim() else sigma
    out = clean
    for channel in range(coils):  # one after the other, so that never more than two images of noise are held
        noise = torch.randn(2, *clean.shape, dtype=clean.dtype, device=clean.device, generator=generator)
        if channel == 0:
            out = torch.hypot(clean + level * noise[0], level * noise[1])
        else:
            out = torch.hypot(out, level * torch.hypot(noise[0], noise[1]))
    return out


def rician(clean: Float[Tensor, "*batch n"], sigma: Level, generator: torch.Generator) -> Float[Tensor, "*batch n"]:
    """Magnitude |S + sigma (n1 + i n2)|, n1 and n2 standard normal (Gudbjartsson and Patz 1995).

    ``sigma`` is a number, or one for each voxel.
    """
    return noncentral_chi(clean, sigma, 1, generator)


def level_field(
    shape: tuple[int, int, int], rng: np.random.Generator, highest: float | int = 3.0
) -> Float[Tensor, "x y z"]:
    """A smooth field by which to multiply a noise level, as parallel imaging makes it vary (Pruessmann et al. 1999).

    A Gaussian bump on a constant, with its centre in the middle half of each axis and widths of .2 to .5 of the axes.
    ``highest`` is the ratio of the level at its top to that far away; the median over the image is 1.

    Raises:
        InputError: ``highest`` below 1.
    """
    if highest < 1:
        raise InputError(f"highest: wanted at least 1, got {highest}")
    exponent = np.zeros(shape)
    for axis, size in enumerate(shape):
        position = (np.arange(size) + 0.5) / size
        ordinate = (position - rng.uniform(0.25, 0.75)) / rng.uniform(0.2, 0.5)
        exponent += 0.5 * np.expand_dims(ordinate**2, tuple(a for a in range(3) if a != axis))
    level = 1 + (highest - 1) * np.exp(-exponent)
    return torch.from_numpy(level / np.median(level)).float()
