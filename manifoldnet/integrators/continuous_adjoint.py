"""The gradient of the exact flow, by its own differential equation (optimise, then discretise)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from manifoldnet.errors import InputError
from manifoldnet.integrators.attempts import one_step
from manifoldnet.integrators.captured import Captured
from manifoldnet.integrators.fixed_course import Course, Interval, Surroundings, recorded
from manifoldnet.integrators.methods import Method
from manifoldnet.manifolds import Action
from manifoldnet.manifolds.group import Group

FAMILIES = ("runge-kutta", "rkmk", "minimal-commutator", "crouch-grossman", "commutator-free", "low-storage")


def check_continuous(method: Method) -> None:
    """Raise an InputError if the method cannot run the costate's equation."""
    if method.family not in FAMILIES:
        raise InputError(
            f"gradient: 'continuous-adjoint' wants an explicit Runge-Kutta or Lie-group method, got {method.name!r}"
        )


def points_by_continuous_adjoint(course: Course, t: Tensor, h: Tensor, y0: Tensor, captured: Captured) -> Tensor:
    """The points of :meth:`Course.points` with the gradient of :class:`ContinuousAdjoint`."""
    points = ContinuousAdjoint.apply(course, captured, t, h, y0, *captured.leaves)
    assert isinstance(points, Tensor)
    return points


class Cotangents(Group):
    """Points with momenta: the group acts on points, and momenta (the dual of its algebra) are translated.

    Generators are (f, m') and points (y, m), both flattened in the last dimension.

    Args:
        point: shape of one point.
        coordinates: shape of one generator.
    """

    def __init__(self, group: Group, point: torch.Size, coordinates: torch.Size) -> None:
        self.group = group
        self.point, self.coordinates = point, coordinates

    def split_point(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._split(y, self.point)

    def split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return self._split(v, self.coordinates)

    def _split(self, y: Tensor, first: torch.Size) -> tuple[Tensor, Tensor]:
        a, b = y.split([first.numel(), self.coordinates.numel()], -1)
        return a.reshape(*y.shape[:-1], *first), b.reshape(*y.shape[:-1], *self.coordinates)

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        batch = second.shape[: second.dim() - len(self.coordinates)]
        return torch.cat([first.reshape(*batch, -1), second.reshape(*batch, -1)], -1)

    @property
    def is_commutative(self) -> bool:
        return self.group.is_commutative

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        (a, m), (b, _) = self.split(u), self.split(v)
        return self.join(self.group.bracket(a, b), torch.zeros_like(m))


class OnCotangents(Action):
    """The action of :class:`Cotangents`, as far as steps need it: by exponentials."""

    def __init__(self, action: Action, group: Cotangents) -> None:
        self.own = action
        self.group: Cotangents = group

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        (f, added), (x, m) = self.group.split(v), self.group.split_point(y)
        return self.group.join(self.own.act_exp(f, x), m + added)

    def settle(self, y: Tensor) -> Tensor:
        x, m = self.group.split_point(y)
        return self.group.join(self.own.settle(x), m)

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        raise NotImplementedError


class Costates:
    """The equation of points and momenta, whose evaluations add to the gradients of the leaves.

    With a variation xi of the point, x -> exp(e xi).x, and the momentum <m, xi> = <p, xi_M(x)>,

        x' = f_M(t, x),    m' = coad(f, m) - (df/d xi)^T m,    dL/dtheta = int_0^T (df/dtheta)^T m dt,

    which on R^n is p' = -(df/dx)^T p. The integral is the quadrature of the method's weights b on its own stages.
    """

    def __init__(self, course: Course, captured: Captured, y: Tensor, t: Tensor) -> None:
        ndim, group = course.space.ndim, course.action.group
        batch, point = y.shape[: y.dim() - ndim], y.shape[y.dim() - ndim :]
        with torch.no_grad():
            f = course.field(t, y)
        coordinates = f.shape[f.dim() - group.coordinate_ndim :]
        self.shape = torch.Size([*batch, *coordinates])
        self.group = Cotangents(group, point, coordinates)
        self.action = OnCotangents(course.action, self.group)
        self.course, self.captured = course, captured
        self.totals: list[Tensor | None] = [None] * len(captured.leaves)
        self.weights: list[Tensor | None] = []

    def step_back(self, interval: Interval, j: int, state: Tensor) -> Tensor:
        """Point and momentum before step j from those after it."""
        method = self.course.method
        assert method.tableau is not None
        t, h = interval.when(j)
        self.weights = [h * b if b else None for b in reversed(method.tableau.b)]
        return one_step(method, self, self.action, t + h, -h, state, "autograd")

    def __call__(self, t: Tensor, state: Tensor) -> Tensor:
        x, m = self.group.split_point(state)
        weight = self.weights.pop()
        with recorded():
            xi = x.new_zeros(self.shape, requires_grad=True)
            f = self.course.field(t, self.course.action.act_exp(xi, x)).expand(self.shape)
            leaves = () if weight is None else self.captured.leaves
            slope, *gradients = self._transposed(f, (xi, *leaves), m)
        for k, gradient in enumerate(gradients):
            if gradient is not None and weight is not None:
                term, total = (weight * gradient).to(gradient.dtype), self.totals[k]
                self.totals[k] = term if total is None else total + term
        change = torch.zeros_like(m) if slope is None else -slope
        if not self.group.is_commutative:
            change = change + self.group.group.coad(f.detach(), m)
        return self.group.join(f.detach(), change)

    def _transposed(self, f: Tensor, inputs: Sequence[Tensor], m: Tensor) -> Sequence[Tensor | None]:
        if not f.requires_grad:
            return [None] * len(inputs)
        return torch.autograd.grad(f, inputs, m, allow_unused=True, retain_graph=self.captured.derived or None)

    def momentum(self, y: Tensor, p: Tensor) -> Tensor:
        """m with <m, xi> = <p, xi_M(y)> for the gradient p at y."""
        with recorded():
            xi = y.new_zeros(self.shape, requires_grad=True)
            (m,) = torch.autograd.grad(self.course.action.act_exp(xi, y), xi, p)
        return m

    def gradient(self, y: Tensor, m: Tensor) -> Tensor:
        """p with <p, u> = <m, xi> for every tangent u at y and its lift xi."""
        with recorded():
            u = torch.zeros_like(y).requires_grad_()
            (p,) = torch.autograd.grad(self.course.action.lift(y, u), u, m)
        return p

    def powers(self, interval: Interval, j: int, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """-<m, f> before and <m, f> after step j: the gradients of the loss in the times of its start and its end."""
        t, h = interval.when(j)
        (x, m), (y, n) = self.group.split_point(before), self.group.split_point(after)
        return -(m * self.course.field(t, x)).sum(), (n * self.course.field(t + h, y)).sum()


class ContinuousAdjoint(torch.autograd.Function):
    """Theorem 3.1 of Celledoni et al. (2021): p' = -(df/dx)^T p backwards from p(T) = dL(x(T)).

    Points and momenta are integrated backwards together, by the method of the forward pass and its steps; only the
    ends of the intervals are stored, from which points start anew. The gradient is that of the exact flow up to
    O(h^order), so it is off by as much from the exact gradient of the steps.
    """

    @staticmethod
    def forward(
        ctx: Any, course: Course, captured: Captured, t: Tensor, h: Tensor, y0: Tensor, *leaves: Tensor
    ) -> Tensor:
        points, _ = course.values(t, h, y0, lambda count: ())
        ctx.course, ctx.captured = course, captured
        ctx.surroundings = Surroundings(y0.device)
        ctx.save_for_backward(t, h, points, *leaves)
        return points

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        t, h, points, *_ = ctx.saved_tensors
        course: Course = ctx.course
        course.check_captured(ctx.captured)
        moved = any(ctx.needs_input_grad[2:4])
        by_t, by_h = torch.zeros_like(t), torch.zeros_like(h)
        with ctx.surroundings.again():
            costates = Costates(course, ctx.captured, points[0], t.flatten()[0])
            m = costates.momentum(points[-1], gradient[-1])
            for i, interval in reversed(list(enumerate(course.intervals(t, h)))):
                state = costates.group.join(points[i + 1], m)
                for j in reversed(range(interval.count)):
                    after, state = state, costates.step_back(interval, j, state)
                    if moved:
                        interval.add(j, *costates.powers(interval, j, state, after), by_t[i], by_h[i])
                m = costates.group.split_point(state)[1]
                if i > 0:
                    m = m + costates.momentum(points[i], gradient[i])
            p = costates.gradient(points[0], m) + gradient[0]
        return None, None, *((by_t, by_h) if moved else (None, None)), p, *costates.totals
