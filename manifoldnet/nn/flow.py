"""A layer that is the flow of a vector field."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from manifoldnet.certificates.step_size import max_step
from manifoldnet.integrators.attempts import Gradient, one_step
from manifoldnet.integrators.fixed_course import Course
from manifoldnet.integrators.gradients import check_fixed, differentiable_points
from manifoldnet.integrators.methods import Method, method_named
from manifoldnet.integrators.odeint import check, odeint
from manifoldnet.integrators.reversible import check_reversible
from manifoldnet.manifolds import Euclidean, Space
from manifoldnet.nn.step_sizes import StepSizes


class Flow(nn.Module):
    """y0 -> y(t1) for y' = field(t, y), y(0) = y0, by steps of an integrator.

    Args:
        field: a module (t, y) -> generator.
        method: a name in ``METHODS``; on a curved space a Lie-group method such as "rkmk4".
        steps: number of steps; "certified" for as many equal steps as make every one provably non-expansive
            (:func:`manifoldnet.certificates.max_step`); "adaptive" for steps chosen by rtol and atol, of a method with
            an embedded one.
        t1: final time; negative values run backwards.
        space: where y lives; the field's own ``space`` when None, else Euclidean space.
        gradient: "autograd", or one that takes less memory: "checkpoint", "discrete-adjoint", "reversible",
            "continuous-adjoint", as of :func:`manifoldnet.odeint`.
        step_sizes: "equal", or learned: "free", "positive", or "simplex" (positive with sum t1); all start equal.
        trajectory: whether the points of all steps are returned, (steps + 1, *y0.shape) with y0 first.
        rtol, atol: tolerances of adaptive steps, as of :func:`manifoldnet.odeint`.
        slots: number of points that "checkpoint" keeps, as of :func:`manifoldnet.odeint`.

    Raises:
        ValueError: for an unknown method, gradient or kind of step sizes, a classical method on a curved space,
            steps < 1, adaptive steps of a method without an embedded one, or options that exclude each other; from the
            forward pass if no step is certified.
    """

    def __init__(
        self,
        field: nn.Module,
        method: str = "rk4",
        steps: int | str = 8,
        t1: float = 1.0,
        space: Space | None = None,
        gradient: Gradient = "autograd",
        *,
        step_sizes: str = "equal",
        trajectory: bool = False,
        rtol: float = 1e-6,
        atol: float = 1e-9,
        slots: int | None = None,
    ) -> None:
        super().__init__()
        own = getattr(field, "space", None)
        self.field = field
        self.space: Space = space if space is not None else own if own is not None else Euclidean(1)
        self.method = method_named(method)
        self.steps = steps
        self.t1 = t1
        self.gradient: Gradient = gradient
        self.trajectory = trajectory
        self.rtol, self.atol = rtol, atol
        self.slots = slots
        self.step_sizes = None if step_sizes == "equal" else StepSizes(steps, t1, step_sizes)
        check(self.method, self.space, gradient, slots)
        self._check_steps()
        if gradient == "reversible":
            check_reversible(self.method, field)

    def _check_steps(self) -> None:
        steps, name = self.steps, self.method.name
        if isinstance(steps, str):
            if steps not in ("certified", "adaptive"):
                raise ValueError(f"steps: wanted a number, 'certified' or 'adaptive', got {steps!r}")
            if steps == "adaptive":
                check_fixed(self.gradient, self.slots)
            if steps == "adaptive" and (self.method.embedded_order is None or self.trajectory):
                raise ValueError(f"steps: 'adaptive' wants a method with an embedded one, no trajectory, got {name!r}")
        elif steps < 1:
            raise ValueError(f"steps: wanted at least 1, got {steps}")

    def certified_steps(self) -> int:
        """The least number of equal steps to t1, none of which expands differences.

        Raises:
            ValueError: if no step of the method is certified for the field.
        """
        return max(1, math.ceil(abs(self.t1) / max_step(self.field, self.method)))

    def lengths(self, like: Tensor | None = None) -> list[Tensor]:
        """The lengths of the fixed steps, 0-dimensional, of the type of ``like`` or float64.

        Raises:
            ValueError: if steps are adaptive, or no step is certified.
        """
        if self.steps == "adaptive":
            raise ValueError("steps: adaptive ones have no lengths before they are made")
        like = torch.zeros((), dtype=torch.float64) if like is None else like
        if self.step_sizes is not None:
            return list(self.step_sizes().to(like).unbind())
        count = self.certified_steps() if self.steps == "certified" else self.steps
        assert isinstance(count, int)
        return [torch.full((), self.t1 / count, dtype=like.dtype, device=like.device)] * count

    def _times(self, lengths: list[Tensor]) -> list[Tensor]:
        """The steps' starts: multiples of equal lengths, else sums."""
        if self.step_sizes is None:
            return [k * h for k, h in enumerate(lengths)]
        times = [torch.zeros_like(lengths[0])]
        for h in lengths[:-1]:
            times.append(times[-1] + h)
        return times

    def forward(self, y0: Tensor) -> Tensor:
        """The points y(t1), same shape as y0, or those of all steps."""
        if self.steps == "adaptive":
            t = torch.tensor([0.0, self.t1], dtype=y0.dtype, device=y0.device)
            return odeint(self.field, y0, t, space=self.space, method=self.method.name, rtol=self.rtol, atol=self.atol,
                          gradient=self.gradient)[-1]  # fmt: skip
        if self.trajectory:
            return self.points(y0)
        if self.gradient == "autograd" or self.step_sizes is not None:
            return self._end(self.method, self.intervals(y0), y0)
        lengths = self.lengths(y0)  # all the same: nothing is stored of them but one
        course = Course(self.method, self.field, self.space, [len(lengths)])
        h = lengths[0][None]
        return differentiable_points(course, torch.zeros_like(h), h, y0, self.gradient, self.slots)[-1]

    def points(self, y0: Tensor) -> Tensor:
        """(steps + 1, *y0.shape): the points of all fixed steps, y0 first."""
        if self.gradient == "autograd":
            return torch.stack(self._run(self.method, self.intervals(y0), y0))
        t, h = map(torch.stack, zip(*self.intervals(y0), strict=True))
        course = Course(self.method, self.field, self.space, [1] * len(t))
        return differentiable_points(course, t, h, y0, self.gradient)

    def intervals(self, like: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """The start and the length of every fixed step, of the type of ``like`` or float64."""
        lengths = self.lengths(like)
        return list(zip(self._times(lengths), lengths, strict=True))

    def inverse(self, y1: Tensor) -> Tensor:
        """The points y0 whose flow ends in y1, by the steps undone: exact up to rounding and stage equations.

        Raises:
            ValueError: if the steps of the method cannot be undone by one of the registry's kinds, or are adaptive.
        """
        adjoint = self.method.adjoint
        if adjoint is None or self.steps == "adaptive" or hasattr(self.field, "project"):
            raise ValueError(
                f"inverse: wanted fixed steps of a symmetric or splitting method without projection, got "
                f"{self.method.name!r} with steps={self.steps!r}"
            )
        if self.method.domain == "separable" and getattr(self.field, "damping", None) and not adjoint.scheme.damped:
            raise ValueError(f"inverse: {self.method.name!r} leaves the damping to kicks that cannot be undone")
        back = [(t + h, -h) for t, h in reversed(self.intervals(y1))]
        return self._end(adjoint, back, y1)

    def _end(self, method: Method, steps: list[tuple[Tensor, Tensor]], y: Tensor) -> Tensor:
        """The point after steps given by their starts and lengths."""
        if self.gradient == "autograd":
            return self._run(method, steps, y)[-1]
        t, h = map(torch.stack, zip(*steps, strict=True))
        course = Course(method, self.field, self.space, [len(t)])
        return differentiable_points(course, t[None], h[None], y, self.gradient, self.slots)[-1]

    def _run(self, method: Method, steps: list[tuple[Tensor, Tensor]], y: Tensor) -> list[Tensor]:
        action = method.action_on(self.space)
        points = [y]
        for t, h in steps:
            points.append(one_step(method, self.field, action, t, h, points[-1], "autograd"))
        return points

    def extra_repr(self) -> str:
        return f"method={self.method.name!r}, steps={self.steps}, t1={self.t1}, space={self.space.name}"
