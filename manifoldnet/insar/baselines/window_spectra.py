"""The windowed-Fourier filter: local spectra, shrunk where they are no larger than noise."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines.patches import Area, Patches, smooth_spectrum


def windowed_fourier(
    z: Complex[Tensor, "*batch h w"],
    window: int = 32,
    step: int = 8,
    tau: float | int = 8.0,
    power: float | int = 3.0,
    weights: Float[Tensor, "*batch h w"] | None = None,
) -> Complex[Tensor, "*batch h w"]:
    """Filter of local spectra under smooth windows.

    Kemao (2007), "Two-dimensional windowed Fourier transform for fringe pattern analysis", with a soft threshold.
    A sine window of ``window`` pixels (its square is Hann's) starts every ``step`` pixels; it is applied before the
    transform and again after it, so that a gain of 1 gives the image back. A coefficient is multiplied by
    (m / (m + tau))^power, where m is the power averaged over 3 by 3 frequencies and divided by the power that white
    noise with the energy of the window's pixels has: m is 1 on average where there is only noise.

    Commutes with a factor of every kind: filter(c z) = c filter(z), exactly up to rounding.

    Args:
        z: complex images; NaN weighs nothing and stays.
        window: pixels, a whole number of at least two steps.
        step: pixels.
        tau: threshold in units of the noise's power, 0 or more; 0 changes nothing.
        power: 0 or more.
        weights: what the pixels are multiplied by beforehand, 0 or more, for example coherence; NaN counts as 0.

    Returns:
        Images of the shape of ``z``, scaled as ``weights`` are.

    Raises:
        InputError: for numbers or weights out of range.
    """
    if tau < 0 or power < 0:
        raise InputError(f"tau, power: {tau}, {power}; wanted 0 or more")
    if window < 2 * step:
        raise InputError(f"window, step: {window}, {step}; wanted a window of at least two steps")
    patches = Patches(z.shape, window, step, "window, step")
    if weights is not None:
        if bool((weights < 0).any()):
            raise InputError(f"weights: {weights.min().item():g}; wanted 0 or more")
        z = z * weights.nan_to_num(0.0)
    angles = math.pi * (torch.arange(window, dtype=z.real.dtype, device=z.device) + 0.5) / window
    sine = angles.sin() * math.sqrt(2 * step / window)  # the squares of its copies sum to one

    def gain(spectra: Tensor, area: Area) -> Tensor:
        energy = spectra.real.square() + spectra.imag.square()
        # by Parseval's identity the mean power is the energy of the window's pixels
        level = energy.mean((-3, -1), keepdim=True).clamp_min(torch.finfo(energy.dtype).tiny)
        m = smooth_spectrum(energy) / level
        return (m / (m + tau).clamp_min(torch.finfo(m.dtype).tiny)) ** power

    return patches.filtered(z, sine, sine, gain)
