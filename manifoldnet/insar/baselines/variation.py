"""Total variation of the phase, as a circle-valued image."""

import math

import torch
from jaxtyping import Complex
from torch import Tensor

from manifoldnet.manifolds import Circle
from manifoldnet.manifolds.total_variation import tv_denoise


def total_variation(
    z: Complex[Tensor, "*batch h w"], alpha: float | int = 0.8, beta: float | int = 0.0, iterations: int = 100
) -> Complex[Tensor, "*batch h w"]:
    """Unit phasors of the phase with small first and second differences near the given one; moduli are not used.

    :func:`manifoldnet.manifolds.total_variation.tv_denoise` on the circle; NaN takes no part and stays.

    Args:
        z: complex images.
        alpha: of first differences (TV1), radians, 0 or more.
        beta: of second differences (TV2), radians, 0 or more.
        iterations: as there.

    Raises:
        InputError: for numbers out of range.
    """
    valid = torch.isfinite(z)
    phase = tv_denoise(Circle(), z.angle(), alpha, beta, mask=valid, iterations=iterations)
    return torch.where(valid, torch.polar(torch.ones_like(phase), phase), math.nan)
