"""Störmer and Verlet's method on the cotangent bundle of a Lie group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start, Step


@dataclass(frozen=True)
class LieVerlet:
    """The method has no coefficients."""

    order: int = 2
    stages: int = 2
    is_symmetric: bool = True


def lie_verlet_step(scheme: LieVerlet, start: Start) -> Step:
    """One step on Product([G, R^dim]), the points being x in G beside the momentum p in the body's frame.

    p_h = p + h/2 force(t, x), m = dexp_{h xi}^T p_h with xi = velocity(m), x1 = x exp(h xi),
    p1 = dexpinv_{-h xi}^T m + h/2 force(t + h, x1) (Bou-Rabee and Marsden 2009; Celledoni, Marthinsen and
    Owren 2014, section 5). Symplectic on T*G, and the momentum map of every symmetry is kept.

    The field has ``velocity(t, p)``, the velocity in the body's frame that belongs to the momentum p, and
    ``force(t, x)``, the generalised force in that frame.
    """
    field, action, t, h, y, *_ = start
    group: Any = action.group.groups[0]
    x, p = action.group.split(y)
    size = h[..., None] if h.dim() else h
    half = p + 0.5 * size * field.force(t, x)

    def pull(matrix: Tensor, v: Tensor) -> Tensor:
        return (matrix.mT @ v[..., None])[..., 0]

    def image(u: Tensor) -> Tensor:
        return size * field.velocity(t + 0.5 * h, pull(group.left_jacobian(u), half))

    u = solve_stages(image, size * field.velocity(t + 0.5 * h, half).detach(), 1)
    momentum = pull(group.left_jacobian(u), half)
    x1 = group.compose(x, group.exp(u))
    p1 = pull(group.right_jacobian_inverse(u), momentum) + 0.5 * size * field.force(t + h, x1)
    return Step(torch.cat([x1.flatten(-group.ndim), p1], -1))
