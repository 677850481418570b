"""The exact gradient of fixed steps, one step's graph at a time (discretise, then optimise)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from manifoldnet.integrators import binomial_checkpoint
from manifoldnet.integrators.captured import Captured
from manifoldnet.integrators.fixed_course import Course, Interval, Surroundings, recorded


@runtime_checkable
class States(Protocol):
    """How the points before each step are had when the costate comes backwards."""

    def kept(self, count: int) -> Sequence[int]:
        """Places in 1..count - 1 of an interval of ``count`` steps whose points are kept."""

    def backwards(self, interval: Interval, known: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        """(j, point before step j) from the last j to 0; known are the points kept, and those at 0 and count."""


class Stored:
    """Every point is kept."""

    def kept(self, count: int) -> Sequence[int]:
        return range(1, count)

    def backwards(self, interval: Interval, known: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        for j in reversed(range(interval.count)):
            yield j, known[j]


class Binomial:
    """Few points are kept and steps taken again from them (Griewank and Walther 2000).

    Args:
        slots: number of points kept in each interval besides its first and last two; None for the least with which
            no step is taken again more than once before it is differentiated, about sqrt(2 count).
    """

    def __init__(self, slots: int | None) -> None:
        self.slots = slots

    def _slots(self, count: int) -> int:
        return binomial_checkpoint.fewest_slots(count) if self.slots is None else self.slots

    def kept(self, count: int) -> Sequence[int]:
        return binomial_checkpoint.kept_on_the_way(count, self._slots(count)) if count > 1 else []

    def backwards(self, interval: Interval, known: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        known = {j: y for j, y in known.items() if j < interval.count}
        return binomial_checkpoint.backwards(interval.count, self._slots(interval.count), known, interval.value)


def points_by_discrete_adjoint(
    course: Course, states: States, t: Tensor, h: Tensor, y0: Tensor, captured: Captured
) -> Tensor:
    """The points of :meth:`Course.points` with the gradient of :class:`StepwiseAdjoint`."""
    points = StepwiseAdjoint.apply(course, states, captured, t, h, y0, *captured.leaves)
    assert isinstance(points, Tensor)
    return points


class StepwiseAdjoint(torch.autograd.Function):
    """Theorem 3.2 of Celledoni et al. (2021), for any one-step method x^{k+1} = Phi_k(x^k, theta).

    p^K = dL(x^K), p^k = (d Phi_k / dx)(x^k)^T p^{k+1}, dL/dtheta = sum_k (d Phi_k / dtheta)(x^k)^T p^{k+1}.

    The transpose of one step runs through its stages from the last to the first. For a Runge-Kutta method it is
    l_i = b_i p^{k+1} + sum_j a_ji g_j, g_i = h (df/dx)(X_i)^T l_i, p^k = p^{k+1} + sum_i g_i: the costates' half of
    the symplectic pair with b^ = b, a^_ij = b_j - b_j a_ji / b_i (Hager 2000; Sanz-Serna 2016) in the rescaled
    stages l_i = b_i Lambda_i, by which nothing is divided by a b_i = 0. In Lie-group methods the exponentials and
    dexpinv have their transposes in between: the cotangent lift of the step.
    """

    @staticmethod
    def forward(
        ctx: Any, course: Course, states: States, captured: Captured, t: Tensor, h: Tensor, y0: Tensor, *leaves: Tensor
    ) -> Tensor:
        found, inner = course.values(t, h, y0, states.kept)
        ctx.course, ctx.states, ctx.captured = course, states, captured
        ctx.surroundings = Surroundings(y0.device)
        ctx.save_for_backward(t, h, found, *inner, *leaves)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        t, h, found, *rest = ctx.saved_tensors
        course: Course = ctx.course
        inner = rest[: len(rest) - len(ctx.captured.leaves)]
        course.check_captured(ctx.captured)
        moved = any(ctx.needs_input_grad[3:5])
        by_t, by_h = torch.zeros_like(t), torch.zeros_like(h)
        totals: list[Tensor | None] = [None] * len(ctx.captured.leaves)
        p = gradient[-1]
        with ctx.surroundings.again():
            for i, interval in reversed(list(enumerate(course.intervals(t, h)))):
                places = ctx.states.kept(interval.count)
                split = len(inner) - len(places)
                known = {0: found[i], interval.count: found[i + 1], **dict(zip(places, inner[split:], strict=True))}
                inner = inner[:split]
                times = interval.as_leaves() if moved else ()
                inputs = (*ctx.captured.leaves, *times)
                totals += [None] * len(times)
                for j, y in ctx.states.backwards(interval, known):
                    p, totals = pulled_back(
                        interval, j, y, p, gradient[i] if j == 0 else None, inputs, totals, ctx.captured.derived
                    )
                if moved:
                    *totals, a, b = totals
                    by_t[i], by_h[i] = (0.0 if x is None else x for x in (a, b))
        return None, None, None, *((by_t, by_h) if moved else (None, None)), p, *totals


def pulled_back(
    interval: Interval,
    j: int,
    y: Tensor,
    p: Tensor,
    added: Tensor | None,
    inputs: Sequence[Tensor],
    totals: Sequence[Tensor | None],
    keep_graph: bool,
) -> tuple[Tensor, list[Tensor | None]]:
    """The costate before step j from y, and the sums of the inputs' gradients with what the step adds.

    What is there already enters the backward pass as gradients of y and of the inputs themselves: sums are then
    formed in the order in which autograd would form them, and the results agree to the last bit.

    Args:
        p: the costate after the step.
        added: the gradient that the point y has of its own; None if it has none.
        keep_graph: whether inputs are reached through a graph that later steps need too.
    """
    with recorded():
        y = y.detach().requires_grad_()
        after = interval.step(j, y)
    roots = [(after, p), (y, added), *zip(inputs, totals, strict=True)]
    outputs, gradients = zip(*((x, g) for x, g in roots if g is not None), strict=True)
    before, *sums = torch.autograd.grad(
        outputs, (y, *inputs), gradients, allow_unused=True, retain_graph=keep_graph or None
    )
    return torch.zeros_like(y) if before is None else before, [*sums]
