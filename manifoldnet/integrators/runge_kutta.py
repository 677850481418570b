"""Explicit Runge-Kutta steps in a vector space."""

from __future__ import annotations

from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau


def runge_kutta_step(tableau: Tableau, start: Start) -> Step:
    """One step: k_i = h f(t + c_i h, y + sum_j a_ij k_j), y1 = y + sum_i b_i k_i."""
    field, action, t, h, y, _, estimate = start
    scale = spread(h, action)
    ks = [scale * start.slope()]
    count = tableau.stages if estimate else tableau.needed_stages
    last = point = None
    for row, c in zip(tableau.A[1:count], tableau.c[1:count], strict=True):
        point = combination(row, ks, y)
        assert point is not None
        last = field(t + c * h, point)
        ks.append(scale * last)
    if tableau.is_fsal and estimate:
        y1 = point
    else:
        y1, last = combination(tableau.b, ks, y), None
    assert y1 is not None
    error = combination(tableau.error_weights, ks) if estimate and tableau.error_weights else None
    return Step(y1, tuple(ks), error, None, last)
