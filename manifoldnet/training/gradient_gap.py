"""How far apart the two orders are in which a flow can be discretised and optimised."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.integrators.continuous_adjoint import FAMILIES
from manifoldnet.integrators.discrete_adjoint import Stored, points_by_discrete_adjoint
from manifoldnet.integrators.fixed_course import Course, Interval
from manifoldnet.integrators.gradients import differentiable_points
from manifoldnet.nn.flow import Flow

Loss = Callable[[Tensor], Tensor]


class Gap(NamedTuple):
    """Relative distances |g - g_h| / |g_h| from the gradient g_h of the discrete flow, which autograd finds.

    Attributes:
        steps: number of steps.
        naive: of the costate's recursion with derivatives at the steps' ends, O(h) for every method.
        continuous: of the costate's own equation, solved by the flow's method from the end of every step: O(h^order);
            not a number where the method cannot solve it.
        matched: of the costate's recursion that belongs to the method: rounding.
    """

    steps: int
    naive: float
    continuous: float
    matched: float


class GradientGap:
    """Rows, one a number of steps; printing it gives the table."""

    def __init__(self, rows: Sequence[Gap], title: str) -> None:
        self.rows = tuple(rows)
        self.title = title

    def slope(self, column: str) -> float:
        """Mean p with gap ~ h^p between the first row and the last.

        Args:
            column: "naive" or "continuous".
        """
        first, last = self.rows[0], self.rows[-1]
        return math.log(getattr(first, column) / getattr(last, column)) / math.log(last.steps / first.steps)

    def __str__(self) -> str:
        table = Table(*Gap._fields, title=self.title, title_justify="left")
        for row in self.rows:
            table.add_row(str(row.steps), *(f"{gap:.3g}" for gap in row[1:]))
        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip()


class _AtTheEnds(Stored):
    """The points after the steps in place of those before them."""

    def backwards(self, interval: Interval, known: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        for j in reversed(range(interval.count)):
            yield j, known[j + 1]


def half_square(x: Tensor) -> Tensor:
    """|x|^2 / 2 summed over the batch."""
    return 0.5 * x.square().sum()


def gradient_gap(
    flow: Flow, x: Float[Tensor, "*shape"], loss: Loss = half_square, steps: Sequence[int] = (20, 40, 80, 160)
) -> GradientGap:
    """The gaps between discretise-then-optimise and optimise-then-discretise, over numbers of equal steps.

    The gradient of the steps x^{k+1} = Phi_k(x^k) is p^k = Phi_k'(x^k)^T p^{k+1} (Celledoni et al. 2021, Theorem 3.2):
    the left point of x meets the right point of p (equations 29, 30). A discretisation of the adjoint equation by
    itself is free to take the derivative elsewhere; at x^{k+1}, the naive choice, it is off by O(h).

    Args:
        flow: its field, method, space and t1 are used; gradients are those in all tensors that the field holds.
        x: initial points.
        loss: of the end points -> 0-dimensional; half of their sum of squares by default.
        steps: numbers of steps, in increasing order.

    Raises:
        InputError: if the field holds no tensor that requires a gradient, or steps do not increase from 1 or more.
    """
    if not steps or steps[0] < 1 or any(b <= a for a, b in itertools.pairwise(steps)):
        raise InputError(f"steps: wanted increasing numbers >= 1, got {list(steps)}")
    x = x.detach()
    rows = []
    for count in steps:
        course = Course(flow.method, flow.field, flow.space, [count])
        h = torch.full((1,), flow.t1 / count, dtype=x.dtype, device=x.device)
        rows.append(_gap(course, torch.zeros_like(h), h, x, loss))
    return GradientGap(rows, f"gaps of gradients of {type(flow.field).__name__}, {flow.method.name!r}")


def _gap(course: Course, t: Tensor, h: Tensor, x: Tensor, loss: Loss) -> Gap:
    captured = course.captured(t, x)
    if not captured.leaves:
        raise InputError(f"flow: wanted a field with parameters, got {type(course.field).__name__}")
    (count,) = course.counts
    singly = Course(course.method, course.field, course.space, [1] * count)
    starts, lengths = t + h * torch.arange(count, device=x.device), h.expand(count)

    def gradient(points: Tensor) -> Tensor:
        found = torch.autograd.grad(loss(points[-1]), captured.leaves, materialize_grads=True)
        return torch.cat([g.flatten() for g in found])

    wanted = gradient(course.points(t, h, x))

    def gap(points: Tensor) -> float:
        return float((gradient(points) - wanted).norm() / wanted.norm())

    return Gap(
        count,
        gap(points_by_discrete_adjoint(course, _AtTheEnds(), t, h, x, captured)),
        gap(differentiable_points(singly, starts, lengths, x, "continuous-adjoint"))
        if course.method.family in FAMILIES
        else math.nan,
        gap(differentiable_points(course, t, h, x, "discrete-adjoint")),
    )
