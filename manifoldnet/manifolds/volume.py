"""How the exponential map changes volume: log |det d exp_x(u)|."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.scalar import away_from_zero, even_function
from manifoldnet.manifolds.tangent_bases import gram_matrix

if TYPE_CHECKING:
    from manifoldnet.manifolds.base import Space

SMALL = 0.25
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
# of log(sinh(a) / a) in powers of a^2; with alternating signs of log(sin(a) / a)
LOG_SINHC = [0.0] + [4**k * b / (2 * k * math.factorial(2 * k)) for k, b in enumerate(BERNOULLI, start=1)]
LOG_SINC = [(-1) ** k * c for k, c in enumerate(LOG_SINHC)]


def log_sinhc(s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log(sinh(a) / a) of s = a^2 >= 0, smooth at 0 and without overflow."""
    a = away_from_zero(s, SMALL).sqrt()
    closed = a + torch.log(-torch.expm1(-2 * a) / (2 * a))
    return even_function(s, closed, LOG_SINHC, SMALL)


def log_sinc(s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log |sin(a) / a| of s = a^2 >= 0, smooth at 0; -inf at the other multiples of pi."""
    a = away_from_zero(s, SMALL).sqrt()
    return even_function(s, (a.sin() / a).abs().log(), LOG_SINC, SMALL)


def space_form_log_density(space: Space, x: Tensor, u: Tensor, curvature: float) -> Tensor:
    """(dim - 1) log(sin(k|u|) / (k|u|)) for constant curvature k^2, with sinh where it is negative."""
    squares = space.inner(x, u)
    if curvature == 0:
        return torch.zeros_like(squares)
    if space.dim is None:
        raise ValueError(f"space: {space.name} must be made with a known size to have a volume density")
    f = log_sinc if curvature > 0 else log_sinhc
    return (space.dim - 1) * f(abs(curvature) * squares)


def numerical_log_density(space: Space, x: Tensor, u: Tensor) -> Tensor:
    """From the derivative of the exponential map along a basis, for spaces without a closed form."""
    axis = -(space.ndim + 1)
    start = x.unsqueeze(axis)
    basis = space.proju(start, space.orthonormal_basis(x))
    velocity = u.unsqueeze(axis).expand(basis.shape).clone()

    def exponential(v: Tensor) -> Tensor:
        return space.expmap(start, v)

    ends, images = torch.func.jvp(exponential, (velocity,), (basis,))[:2]
    after = gram_matrix(space, ends.select(axis, 0), images)
    return 0.5 * (torch.linalg.slogdet(after)[1] - torch.linalg.slogdet(gram_matrix(space, x, basis))[1])
