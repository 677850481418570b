"""Scalar functions whose derivative is finite where the textbook formula's is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

# Cody and Waite's splitting of a turn: so few bits in the first part that its multiples are exact
TURN_HEAD = 6.28125
TURN_TAIL = 2 * math.pi - TURN_HEAD


def safe_sqrt(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """sqrt(x) for x >= 0 with derivative 0, a subgradient of the distance, at x = 0; NaN stays NaN."""
    empty = x <= 0
    return x.masked_fill(empty, 1.0).sqrt().masked_fill(empty, 0.0)


def safe_norm(v: Float[Tensor, "*batch n"], keepdim: bool = False) -> Float[Tensor, "..."]:
    """Euclidean norm over the last dimension with gradient 0 at v = 0; shape (*batch,) or (*batch, 1)."""
    return safe_sqrt((v * v).sum(-1, keepdim=keepdim))


def wrap_angle(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The representative in (-pi, pi] of the angle x (radians); derivative 1 everywhere, NaN stays NaN.

    pi is the dtype's nearest number to it. Angles already in the range come back bit for bit, and an angle of up to
    10 000 turns loses nothing beyond its own rounding.
    """
    pi = torch.full((), math.pi, dtype=x.dtype, device=x.device)  # not copied from the host: CUDA graphs refuse that
    turns = torch.round(x.detach() / (2 * math.pi))
    wrapped = (x - turns * TURN_HEAD) - turns * TURN_TAIL
    # angles a rounding error beyond either end are pi
    return torch.where(wrapped.abs() >= pi, wrapped + (pi - wrapped).detach(), wrapped)


def even_function(
    s: Float[Tensor, "..."],
    closed: Float[Tensor, "..."],
    series: Sequence[float],
    threshold: float,
) -> Float[Tensor, "..."]:
    """``closed`` where s > threshold, else the polynomial sum_k series[k] s^k.

    For functions of s = theta^2 that lose digits at small theta. The caller evaluates ``closed`` at an s that
    was moved away from 0 (see :func:`away_from_zero`), so that no branch has an infinite derivative.
    """
    small = s.masked_fill(s > threshold, 0.0)
    return torch.where(s > threshold, closed, polynomial(small, series))


def polynomial(s: Float[Tensor, "..."], coefficients: Sequence[float]) -> Float[Tensor, "..."]:
    """sum_k coefficients[k] s^k (Horner)."""
    total = torch.full_like(s, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * s + coefficient
    return total


def away_from_zero(s: Float[Tensor, "..."], threshold: float) -> Float[Tensor, "..."]:
    """s where s > threshold, else 1, so that the closed form's unused branch has finite derivatives."""
    return s.masked_fill(s <= threshold, 1.0)
