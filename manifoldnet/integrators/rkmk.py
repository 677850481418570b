"""Runge-Kutta-Munthe-Kaas: a Runge-Kutta step for u' = dexpinv_u(f) in the Lie algebra."""

from __future__ import annotations

from torch import Tensor

from manifoldnet.integrators.stepping import Field, combination
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action


def rkmk_step(tableau: Tableau, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    """One step with any explicit tableau (Munthe-Kaas 1999).

    u_i = sum_j a_ij k_j, Y_i = exp(u_i) y, k_i = dexpinv_{u_i}(h f(t + c_i h, Y_i)), y1 = exp(sum_i b_i k_i) y.
    Where the group has no closed dexpinv its series is cut after order - 2 brackets, which keeps the order.
    """
    group = action.group
    brackets = None if group.closed_dexpinv else max(tableau.order - 2, 0)
    ks: list[Tensor] = []
    for row, c in zip(tableau.A, tableau.c, strict=True):
        u = combination(row, ks)
        if u is None:
            ks.append(h * field(t + c * h, y))
        else:
            ks.append(group.dexpinv(u, h * field(t + c * h, action.act_exp(u, y)), brackets))
    total = combination(tableau.b, ks)
    assert total is not None  # consistent weights sum to 1
    return action.act_exp(total, y)
