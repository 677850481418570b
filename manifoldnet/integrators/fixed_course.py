"""Fixed steps as something that can be taken again, one at a time, by gradients that do not store what they need."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.integrators.attempts import one_step
from manifoldnet.integrators.captured import Captured, captured_leaves
from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.stage_equations import own_saved_tensors
from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Action, Space


class Interval:
    """Steps one after the other.

    Attributes:
        t, h: 0-dimensional for equal steps, the j-th of which starts at t + j h; otherwise (count,), the start and
            the length of every step.
        count: number of the steps.
    """

    def __init__(self, course: Course, t: Tensor, h: Tensor, count: int) -> None:
        self.course, self.t, self.h, self.count = course, t, h, count

    def as_leaves(self) -> tuple[Tensor, Tensor]:
        """t and h, which from now on are leaves that require a gradient."""
        self.t, self.h = self.t.detach().requires_grad_(), self.h.detach().requires_grad_()
        return self.t, self.h

    def when(self, j: int) -> tuple[Tensor, Tensor]:
        """Start and length of step j, 0-dimensional."""
        return (self.t[j], self.h[j]) if self.t.dim() else (self.t + j * self.h, self.h)

    def add(self, j: int, at_start: Tensor, at_end: Tensor, by_t: Tensor, by_h: Tensor) -> None:
        """Add to the gradients by_t and by_h what they owe to step j, given those in its start and its end."""
        by_start, by_length = at_start + at_end, at_end
        if self.t.dim():
            by_t[j] += by_start
            by_h[j] += by_length
        else:
            by_t += by_start
            by_h += j * by_start + by_length

    def step(self, j: int, y: Tensor) -> Tensor:
        """The point after step j from the point before it."""
        course = self.course
        t, h = self.when(j)
        return one_step(course.method, course.field, course.action, t, h, y, "autograd")

    def value(self, j: int, y: Tensor) -> Tensor:
        """As :meth:`step`, to the last bit, without its graph.

        The graph is made for that, and for fields that differentiate by their argument, and let go.
        """
        return self.value_of(self.course.method, *self.when(j), y)

    def value_of(self, method: Method, t: Tensor, h: Tensor, y: Tensor, action: Any = None) -> Tensor:
        """The point after a step of another method, time or length, or by another action, without a graph."""
        with recorded():
            y = y.detach().requires_grad_()
            return one_step(method, self.course.field, action or self.course.action, t, h, y, "autograd").detach()


class Course:
    """Steps of a method for a field on a space, in intervals of whose steps only the ends are wanted.

    Args:
        counts: number of steps in each interval.
    """

    def __init__(self, method: Method, field: Field, space: Space, counts: Sequence[int]) -> None:
        self.method = method
        self.field: Any = field
        self.space = space
        self.action: Action = method.action_on(space)
        self.counts = tuple(counts)

    def intervals(self, t: Tensor, h: Tensor) -> list[Interval]:
        """The intervals for t and h of shape (intervals,), or (1, count) for one interval of steps of any lengths."""
        return [Interval(self, *each) for each in zip(t.unbind(), h.unbind(), self.counts, strict=True)]

    def points(self, t: Tensor, h: Tensor, y0: Tensor) -> Tensor:
        """(intervals + 1, *y0.shape): y0 and the ends of the intervals, with the graph of all steps."""
        points = [y0]
        for interval in self.intervals(t, h):
            y = points[-1]
            for j in range(interval.count):
                y = interval.step(j, y)
            points.append(y)
        return torch.stack(points)

    def values(
        self, t: Tensor, h: Tensor, y0: Tensor, kept: Callable[[int], Sequence[int]]
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`points` without a graph, and the points before some of the steps.

        Args:
            kept: number of steps in an interval -> the steps, in 1..count - 1, whose points are wanted.
        """
        points, inner = [y0], []
        for interval in self.intervals(t, h):
            places = set(kept(interval.count))
            y = points[-1]
            for j in range(interval.count):
                if j in places:
                    inner.append(y)
                y = interval.value(j, y)
            points.append(y)
        return torch.stack(points), inner

    def captured(self, t: Tensor, y0: Tensor) -> Captured:
        """What the field holds; one that is lazy is evaluated before.

        Raises:
            InputError: if a leaf has hooks, which every step would call on what it has of the gradient.
        """
        try:
            found = captured_leaves(self.field)
        except ValueError:
            with torch.no_grad():
                self.field(t.flatten()[0], y0)
            found = captured_leaves(self.field)
        if any(leaf._backward_hooks for leaf in found.leaves):
            raise InputError(
                "field: one of its tensors has hooks on its gradient, which would see the steps' parts of it; wanted "
                "gradient='autograd', or register_post_accumulate_grad_hook"
            )
        return found

    def check_captured(self, captured: Captured) -> None:
        """Raise a RuntimeError if the field does not hold the same leaves any more."""
        held = {id(leaf) for leaf in captured_leaves(self.field).leaves}
        if any(id(leaf) not in held for leaf in captured.leaves):
            raise RuntimeError(
                "gradient: the field's tensors are not those of the forward pass any more (torch.func.functional_call, "
                "or requires_grad changed), so that its steps cannot be taken again; wanted gradient='autograd'"
            )


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """For graphs that last a step: they are made whatever the mode is, and nobody's hooks keep what they save."""
    with torch.enable_grad(), own_saved_tensors():
        yield


class Surroundings:
    """What the values of a field may depend on besides its arguments, as it is when this is made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device.type
        self.is_cast = torch.is_autocast_enabled(self.device)
        self.dtype = torch.get_autocast_dtype(self.device)

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Autocasting as it was."""
        with torch.autocast(self.device, self.dtype, self.is_cast):
            yield


@contextlib.contextmanager
def refusing_random_numbers(device: torch.device) -> Iterator[None]:
    """Raise an InputError if random numbers are drawn inside, as they could not be drawn again."""
    before = _random_states(device)
    yield
    if any(not torch.equal(a, b) for a, b in zip(before, _random_states(device), strict=True)):
        raise InputError(
            "field: it drew random numbers, which differ when its values are computed again; wanted a field without "
            "dropout, or gradient='autograd'"
        )


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return states if device.type != "cuda" else [*states, torch.cuda.get_rng_state(device)]
