"""Runge-Kutta-Munthe-Kaas methods written with as few brackets as their order allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from manifoldnet.integrators.explicit_tableaux import KUTTA3, RK4
from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds.group import Group

Bracket = tuple[float, int, int]
"""(a, i, j) stands for a [K_i, K_j], counted from 0."""


@dataclass(frozen=True)
class MinimalCommutator:
    """A tableau and the brackets that are added to its stages and to its result.

    Y_i = exp(sum_j a_ij K_j + brackets_i) y, y1 = exp(sum_i b_i K_i + brackets) y.
    """

    tableau: Tableau
    stage_brackets: tuple[tuple[Bracket, ...], ...]
    final_brackets: tuple[Bracket, ...]


KUTTA3_ONE_BRACKET = MinimalCommutator(KUTTA3, ((), (), ()), ((-1 / 12, 0, 2),))
RK4_TWO_BRACKETS = MinimalCommutator(RK4, ((), (), ((-1 / 8, 0, 1),), ()), ((-1 / 12, 0, 3),))


def _generator(group: Group, weights: Sequence[float], brackets: Sequence[Bracket], ks: Sequence[Tensor]) -> Tensor:
    total = combination(weights, ks)
    assert total is not None
    return combination([a for a, _, _ in brackets], [group.bracket(ks[i], ks[j]) for _, i, j in brackets], total)  # type: ignore[return-value]


def minimal_commutator_step(scheme: MinimalCommutator, start: Start) -> Step:
    """One step (Munthe-Kaas and Owren 1999); K_i = h f(t + c_i h, Y_i)."""
    field, action, t, h, y, *_ = start
    scale = spread(h, action)
    tableau = scheme.tableau
    ks = [scale * start.slope()]
    for row, brackets, c in zip(tableau.A[1:], scheme.stage_brackets[1:], tableau.c[1:], strict=True):
        point = action.act_exp(_generator(action.group, row, brackets, ks), y)
        ks.append(scale * field(t + c * h, point))
    return Step(action.act_exp(_generator(action.group, tableau.b, scheme.final_brackets, ks), y))
