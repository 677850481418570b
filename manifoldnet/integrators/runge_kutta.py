"""Classical Runge-Kutta steps in a vector space."""

from __future__ import annotations

from torch import Tensor

from manifoldnet.integrators.stepping import Field, combination
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action


def runge_kutta_step(tableau: Tableau, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    """One explicit step: k_i = h f(t + c_i h, y + sum_j a_ij k_j), y1 = y + sum_i b_i k_i."""
    ks: list[Tensor] = []
    for row, c in zip(tableau.A, tableau.c, strict=True):
        u = combination(row, ks)
        ks.append(h * field(t + c * h, y if u is None else y + u))
    total = combination(tableau.b, ks)
    assert total is not None  # consistent weights sum to 1
    return y + total
