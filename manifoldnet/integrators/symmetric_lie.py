"""Self-adjoint Lie-group methods: implicit, in the chart of the exponential about the middle of the step."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.integrators.rkmk import brackets_needed
from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau


def symmetric_lie_step(tableau: Tableau, start: Start) -> Step:
    """One step with a symmetric tableau (Zanna, Engø and Munthe-Kaas 2001).

    S = sum_i b_i k_i, p = exp(S/2) y, u_i = sum_j a_ij k_j - S/2,
    k_i = dexpinv_{u_i}(h f(t + c_i h, exp(u_i) p)), y1 = exp(S/2) p. Methods of order 2 need no dexpinv. The Gauss
    method with one stage is the Lie midpoint rule, the trapezoidal rule the Lie trapezoidal one.
    """
    field, action, t, h, y, *_ = start
    group = action.group
    brackets = brackets_needed(tableau, group)
    stage = -(group.coordinate_ndim + 1)
    scale = spread(h, action)
    k = scale * start.slope()

    def half(ks: tuple[Tensor, ...]) -> Tensor:
        return combination([0.5 * b for b in tableau.b], ks)  # type: ignore[return-value]

    def image(k: Tensor) -> Tensor:
        ks = k.unbind(stage)
        s = half(ks)
        p = action.act_exp(s, y)
        images = []
        for row, c in zip(tableau.A, tableau.c, strict=True):
            u = combination(row, ks, -s)
            assert u is not None
            images.append(group.dexpinv(u, scale * field(t + c * h, action.act_exp(u, p)), brackets))
        return torch.stack(images, stage)

    guess = k.detach().unsqueeze(stage).repeat_interleave(tableau.stages, stage)
    s = half(solve_stages(image, guess, group.coordinate_ndim + 1).unbind(stage))
    return Step(action.act_exp(s, action.act_exp(s, y)))
