"""Commutator-free methods: few exponentials of linear combinations of stages, no brackets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau

Exponentials = tuple[tuple[float, ...], ...]
"""Rows of coefficients of K_1, K_2, ...; each row is one exponential, the first row acts first."""


@dataclass(frozen=True)
class CommutatorFree:
    """Coefficients of a commutator-free method (Celledoni, Marthinsen and Owren 2003).

    Attributes:
        stages: the exponentials of every stage, none for the first.
        final: the exponentials of the result.
        embedded: those of the embedded method; an (s+1)-st coefficient belongs to h f(t + h, y1), the first stage of
            the next step.
        embedded_order: the embedded method's order.
        order: order of the method.
    """

    stage_exponentials: tuple[Exponentials, ...]
    final: Exponentials
    order: int
    embedded: Exponentials | None = None
    embedded_order: int | None = None

    def __post_init__(self) -> None:
        _ = self.tableau, self.is_fsal  # made before torch.compile asks for them

    @cached_property
    def tableau(self) -> Tableau:
        """The Runge-Kutta method to which exponentials that commute lead."""
        s = len(self.stage_exponentials)
        A = tuple(_sum(rows, s) for rows in self.stage_exponentials)
        return Tableau(A=A, b=_sum(self.final, s), c=tuple(map(math.fsum, A)), order=self.order)

    @cached_property
    def is_fsal(self) -> bool:
        """Whether the embedded method uses the first stage of the next step."""
        return self.embedded is not None and any(len(row) > len(self.stage_exponentials) for row in self.embedded)


def _sum(rows: Exponentials, s: int) -> tuple[float, ...]:
    return tuple(math.fsum(row[j] for row in rows if j < len(row)) for j in range(s))


# Celledoni, Marthinsen and Owren 2003, on Heun's rule of order 3
CF3 = CommutatorFree(
    stage_exponentials=((), ((1 / 3,),), ((0.0, 2 / 3),)),
    final=((1 / 3,), (-1 / 12, 0.0, 3 / 4)),
    order=3,
    embedded=((0.0, 1 / 2, 1 / 2),),
    embedded_order=2,
)
# Celledoni, Marthinsen and Owren 2003, on Kutta's rule of order 4
CF4 = CommutatorFree(
    stage_exponentials=((), ((1 / 2,),), ((0.0, 1 / 2),), ((1 / 2,), (-1 / 2, 0.0, 1.0))),
    final=((1 / 4, 1 / 6, 1 / 6, -1 / 12), (-1 / 12, 1 / 6, 1 / 6, 1 / 4)),
    order=4,
    embedded=((1 / 4, 1 / 6, 1 / 6, 0.0, -1 / 12), (-1 / 12, 1 / 6, 1 / 6, 0.0, 1 / 4)),
    embedded_order=3,
)


def commutator_free_step(scheme: CommutatorFree, start: Start) -> Step:
    """One step; points that start with the exponentials of an earlier one start from it.

    Y_i = exp(sum_j a_ij^m K_j) ... exp(sum_j a_ij^1 K_j) y, K_i = h f(t + c_i h, Y_i), and y1 likewise.
    """
    field, action, t, h, y, _, estimate = start
    reached: dict[Exponentials, Tensor] = {(): y}

    def point(rows: Exponentials) -> Tensor:
        if rows not in reached:
            generator = combination(rows[-1], ks)
            assert generator is not None
            reached[rows] = action.act_exp(generator, point(rows[:-1]))
        return reached[rows]

    scale = spread(h, action)
    ks = [scale * start.slope()]
    for rows, c in zip(scheme.stage_exponentials[1:], scheme.tableau.c[1:], strict=True):
        ks.append(scale * field(t + c * h, point(rows)))
    y1 = point(scheme.final)
    if not estimate or scheme.embedded is None:
        return Step(y1, tuple(ks))
    last = None
    if scheme.is_fsal:
        last = field(t + h, y1)
        ks.append(scale * last)
    return Step(y1, tuple(ks), None, point(scheme.embedded), last)
