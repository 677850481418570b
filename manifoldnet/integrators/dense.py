"""The solution between the ends of a step, on the manifold."""

from __future__ import annotations

from torch import Tensor

from manifoldnet.integrators.stepping import Step, combination
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action


def interpolate(tableau: Tableau, action: Action, y: Tensor, step: Step, theta: Tensor) -> Tensor:
    """y(t + theta h) = exp(sum_i b_i(theta) k_i) y with the continuous weights of the tableau.

    Of order ``tableau.dense_order`` and on the space like every step.

    Args:
        y: the point at t.
        step: the step from there, made with ``estimate``.
        theta: broadcasts against generators (*batch, *coordinates) and may bring dimensions in front.
    """
    assert tableau.dense is not None
    rows = zip(tableau.dense, tableau.weights_at(theta), step.ks, strict=True)
    used = [(weight, k) for row, weight, k in rows if any(row)]
    generator = combination([weight.to(y.dtype) for weight, _ in used], [k for _, k in used])
    assert generator is not None
    return action.act_exp(generator, y)
