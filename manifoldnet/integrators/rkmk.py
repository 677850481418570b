"""Runge-Kutta-Munthe-Kaas: a Runge-Kutta step for u' = dexpinv_u(f) in the Lie algebra."""

from __future__ import annotations

from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds.group import Group


def brackets_needed(tableau: Tableau, group: Group) -> int:
    """Brackets of dexpinv that keep the order: order - 2, none of which are needed on a commutative group.

    The cut series costs less than the closed forms of SO(3) and SE(3), and has no pole at angle 2 pi.
    """
    return 0 if group.is_commutative else max(tableau.order - 2, 0)


def rkmk_step(tableau: Tableau, start: Start) -> Step:
    """One step with any explicit tableau (Munthe-Kaas 1999).

    u_i = sum_j a_ij k_j, Y_i = exp(u_i) y, k_i = dexpinv_{u_i}(h f(t + c_i h, Y_i)), y1 = exp(sum_i b_i k_i) y.
    The last stage of a first-same-as-last tableau sits at y1, where dexpinv_0 = id makes f(t + h, y1) itself the
    first stage of the next step.
    """
    field, action, t, h, y, _, estimate = start
    group = action.group
    brackets = brackets_needed(tableau, group)
    scale = spread(h, action)
    ks = [scale * start.slope()]
    count = tableau.stages if estimate else tableau.needed_stages
    last = point = None
    for row, c in zip(tableau.A[1:count], tableau.c[1:count], strict=True):
        u = combination(row, ks)
        assert u is not None  # no row but the first is empty: its c is not zero
        point = action.act_exp(u, y)
        last = field(t + c * h, point)
        ks.append(group.dexpinv(u, scale * last, brackets))
    if tableau.is_fsal and estimate:
        y1 = point
    else:
        total = combination(tableau.b, ks)
        assert total is not None  # consistent weights sum to 1
        y1, last = action.act_exp(total, y), None
    assert y1 is not None
    error = combination(tableau.error_weights, ks) if estimate and tableau.error_weights else None
    return Step(y1, tuple(ks), error, None, last)
