"""Noise of interferograms: multilook speckle, and normal noise of the phase."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from manifoldnet.errors import InputError


def observe(
    phase: Float[Tensor, "*batch h w"],
    coherence: Float[Tensor, "*batch h w"],
    looks: float | int | Tensor,
    generator: torch.Generator | None = None,
    amplitude: Float[Tensor, "*batch h w"] | None = None,
) -> tuple[Complex[Tensor, "*batch h w"], Float[Tensor, "*batch h w"]]:
    """Draw the interferogram and the coherence estimated from ``looks`` independent looks.

    Both channels have unit power, or that of ``amplitude``, so the mean of the interferogram is
    amplitude^2 * coherence * exp(i phase); the estimate lies in [0, 1] and is 1 everywhere at a single look.
    Exactly the circular Gaussian model (Goodman, 1963) at a cost that does not grow with the looks, by
    Bartlett's decomposition of the complex Wishart matrix.

    Args:
        phase: in radians.
        coherence: true coherence, in [0, 1].
        looks: a number or a tensor that broadcasts against the images, real and at least 1 (effective looks).
        generator: lives on the images' device.
        amplitude: of either channel.

    Raises:
        InputError: if looks or coherence are out of range. Tensors are checked on the CPU only: elsewhere the
            check would wait for the device.
    """
    _check(looks, coherence)
    if not isinstance(looks, Tensor):
        looks = torch.full((), looks, dtype=phase.dtype, device=phase.device)
    looks = looks.to(phase).expand(phase.shape)
    signal = torch.polar(coherence, phase)
    noise = torch.complex(_normal(phase, generator), _normal(phase, generator)) * math.sqrt(0.5)
    noise = noise * (1 - coherence * coherence).sqrt()
    first = _gamma(looks, generator)
    interferogram = signal * first + noise * first.sqrt()
    power = torch.abs(signal * first.sqrt() + noise) ** 2
    power = power + (1 - coherence * coherence) * _gamma(looks - 1, generator)
    estimate = interferogram.abs() / (first * power).sqrt().clamp_min(torch.finfo(phase.dtype).tiny)
    interferogram = interferogram / looks
    if amplitude is not None:
        interferogram = interferogram * amplitude.square()
    return interferogram, estimate.clamp(max=1)


def wrapped_gaussian(
    phase: Float[Tensor, "*batch h w"],
    sigma: float | int | Float[Tensor, "..."],
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "*batch h w"]:
    """Unit phasors of the phase plus normal noise of standard deviation ``sigma``, in radians.

    ``sigma`` is a number or a tensor that broadcasts against the images. The mean phasor is
    exp(-sigma^2 / 2) exp(i phase), so noise of that coherence is what it is nearest to.
    """
    return torch.polar(torch.ones_like(phase), phase + sigma * _normal(phase, generator))


def _check(looks: float | int | Tensor, coherence: Tensor) -> None:
    if not isinstance(looks, Tensor):
        looks = torch.tensor(float(looks))
    if looks.device.type == "cpu" and not bool((looks >= 1).all()):
        raise InputError(f"looks: {looks.min().item():g}; wanted real numbers of at least 1")
    if coherence.device.type == "cpu" and not bool(((coherence >= 0) & (coherence <= 1)).all()):
        raise InputError("coherence: has values outside [0, 1] or NaN; wanted the true coherence of every pixel")


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def _gamma(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    # torch.distributions.Gamma takes no generator, the sampler under it does; shape 0 gives a tiny number
    return torch._standard_gamma(shape.contiguous(), generator=generator)
