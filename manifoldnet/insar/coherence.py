"""The coherence of an interferogram, estimated from the spread of its phases."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.special import gammaln, hyp2f1
from torch import Tensor
from torch.nn.functional import pad

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines.local_means import convolve, gaussian

_COARSE, _FINE = 4, 1  # windows of the fringe frequency, in pixels: the least error on simulated scenes
_ENTRIES = 512


def estimate_coherence(
    z: Complex[Tensor, "*batch h w"], looks: float | int = 1, size: int = 7, sigma: float | int = 2
) -> Float[Tensor, "*batch h w"]:
    """Coherence at every pixel, in [0, 1], from the phases round it; moduli other than 0 do not matter.

    The length of the mean phasor in a Gaussian window from which the local fringe frequency is taken out
    (Zebker & Chen, 2005, "Accurate estimation of correlation in InSAR observations", say why). The frequency is the
    argument of the mean product of neighbours, first in a wide window, then in a small one between the means that
    the first frequency allows. The square of the length is freed of its expectation without coherence, and the
    length turned to the coherence that has it at this number of looks (:func:`resultant`).

    Args:
        z: interferogram. NaN marks pixels without data, which have no weight and come back as NaN.
        looks: real and at least 1, of every pixel; pixels are taken to be independent.
        size: of the window, odd, in pixels.
        sigma: of the window, in pixels.

    Raises:
        InputError: if a parameter is out of range.
    """
    if not looks >= 1:
        raise InputError(f"looks: {looks:g}; wanted a real number of at least 1")
    if size < 3 or size % 2 == 0:
        raise InputError(f"size: {size}; wanted an odd number of pixels, at least 3")
    if not sigma > 0:
        raise InputError(f"sigma: {sigma}; wanted a positive number of pixels")
    missing = ~torch.isfinite(z)
    valid = (~missing & (z != 0)).to(z.real.dtype)
    unit = torch.where(missing, 0, torch.sgn(z))
    offsets = torch.arange(size, dtype=valid.dtype, device=z.device) - size // 2
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    total = unit
    for window in (_COARSE, _FINE):
        total = _without_fringes(unit, kernel, *_frequency(total, window))
    weight, squares = (convolve(valid, power) for power in (kernel, kernel**2))
    weight = weight.clamp_min(torch.finfo(valid.dtype).eps)
    # of n independent phasors of mean length rho the squared mean length is rho^2 + (1 - rho^2) / n
    once = squares / weight**2
    length = (((total.abs() / weight) ** 2 - once) / (1 - once).clamp_min(1e-6)).clamp(0, 1).sqrt()
    return torch.where(missing, math.nan, _inverse(length, float(looks)))


def resultant(coherence: Float[np.ndarray, " n"], looks: float | int) -> Float[np.ndarray, " n"]:
    """Length of the mean phasor of the phase noise: gamma(3/2) gamma(L + 1/2) / gamma(L) * g * F(1/2, 3/2 - L; 2; g^2).

    First moment of the multilook phase density (Lee, Hoppel, Mango & Miller, 1994, "Intensity and phase statistics
    of multilook polarimetric and interferometric SAR imagery"), by Euler's transformation.
    """
    head = math.exp(gammaln(1.5) + gammaln(looks + 0.5) - gammaln(looks))
    return head * coherence * hyp2f1(0.5, 1.5 - looks, 2, coherence**2)


def _frequency(unit: Tensor, sigma: float | int) -> tuple[Tensor, Tensor]:
    """Radians a pixel right and down."""
    angles = []
    for turned in (unit, unit.mT):
        steps = turned[..., 1:] * turned[..., :-1].conj()
        steps = pad(steps, (0, 1)) + pad(steps, (1, 0))  # to either side of a pixel
        angles.append(gaussian(steps, sigma).angle())
    return angles[0], angles[1].mT


def _without_fringes(unit: Tensor, kernel: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Weighted sum round every pixel of phasors turned back by the fringe frequency at that pixel."""
    reach, (h, w) = len(kernel) // 2, unit.shape[-2:]
    padded = pad(unit, (reach,) * 4)
    weights = kernel.reshape(-1, *[1] * unit.ndim)
    offsets = torch.arange(-reach, reach + 1, dtype=kernel.dtype, device=kernel.device).reshape(weights.shape)
    turn_right, turn_down = (torch.polar(weights.expand(-1, *unit.shape), -offsets * f) for f in (right, down))
    total = torch.zeros_like(unit)
    for i, down_by in enumerate(turn_down):
        row = sum(padded[..., i : i + h, j : j + w] * by for j, by in enumerate(turn_right))
        total = total + down_by * row
    return total


def _inverse(length: Tensor, looks: float) -> Tensor:
    table = _table(looks).to(length)
    place = length * _ENTRIES
    below = place.long().clamp(max=_ENTRIES - 1)
    return torch.lerp(table[below], table[below + 1], place - below)


@lru_cache(maxsize=32)
def _table(looks: float) -> Tensor:
    """Coherences of resultant lengths 0, 1 / n, ..., 1."""
    coherence = np.sin(np.linspace(0, math.pi / 2, 8 * _ENTRIES + 1))  # close where the length is steep
    return torch.from_numpy(np.interp(np.linspace(0, 1, _ENTRIES + 1), resultant(coherence, looks), coherence))
