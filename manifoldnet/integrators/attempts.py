"""Steps of one method for one field: what the loops over steps share."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from manifoldnet.integrators.compiled import STEPS_AT_ONCE, compiled_steps
from manifoldnet.integrators.error_norm import Tolerance, is_vector_space, rms
from manifoldnet.integrators.methods import Method
from manifoldnet.integrators.stage_equations import StageError
from manifoldnet.integrators.stepping import Field, Step, spread
from manifoldnet.manifolds import Action, Space

Gradient = Literal["autograd", "checkpoint", "discrete-adjoint", "continuous-adjoint", "reversible"]
"""How a solution is differentiated; see :func:`manifoldnet.odeint`."""


class Counted:
    """The field, counting how often it is evaluated; its other attributes are the field's own."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.calls = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.field(t, y)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.field, name)


def one_step(
    method: Method, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor, gradient: Gradient
) -> Tensor:
    """One step of ``method``, its stages kept for the backward pass or not.

    Raises:
        StageError: if the equations of an implicit step are not solved; it names the time.
    """
    try:
        if gradient == "checkpoint":
            return checkpoint(method.step, field, action, t, h, y, use_reentrant=False)
        return method.step(field, action, t, h, y)
    except StageError as error:
        raise StageError(f"t = {float(t):.10g}: {error}") from None


class Attempts:
    """Steps of ``method`` for ``field`` on ``space``, with the stages kept for the backward pass or computed again."""

    def __init__(self, method: Method, field: Field, space: Space, gradient: Gradient, compiled: bool = False) -> None:
        self.method = method
        self.field = Counted(field)
        self.space = space
        self.action: Action = method.action_on(space)
        self.gradient = gradient
        self.compiled = compiled

    def steps(self, t: Tensor, h: Tensor, y: Tensor, count: int) -> Tensor:
        """The point after ``count`` steps of length h."""
        done = 0
        if self.compiled:
            while done < count:
                at_once = STEPS_AT_ONCE if count - done >= STEPS_AT_ONCE else 1
                steps = compiled_steps(self.method, self.field.field, self.space, at_once, y.device.type)
                y = steps(t + done * h, h, y)
                done += at_once
        for k in range(done, count):
            y = self.step(t + k * h, h, y)
        return y

    def step(self, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
        """The point at t + h."""
        return one_step(self.method, self.field, self.action, t, h, y, self.gradient)

    def attempt(self, t: Tensor, h: Tensor, y: Tensor, first: Tensor | None) -> Step:
        """A step with its estimate of the error."""
        if self.gradient == "checkpoint":
            return checkpoint(self.method.attempt, self.field, self.action, t, h, y, first, True, use_reentrant=False)
        return self.method.attempt(self.field, self.action, t, h, y, first, True)

    def first_step(self, t: Tensor, direction: int, y: Tensor, first: Tensor, tolerance: Tolerance) -> Tensor:
        """A guess of the first step's length (Hairer, Nørsett and Wanner 1993, section II.4).

        Args:
            t: 0-dimensional, or of the batch's shape.
            first: f(t, y).

        Returns:
            Positive, of the shape of t: the shortest of the batch where all share one time.
        """
        rtol, atol = tolerance
        dims = self.action.group.coordinate_ndim
        with torch.no_grad():
            if is_vector_space(self.space):
                scale = atol + rtol * y.abs()
                size = rms(y / scale, dims)
            else:
                scale = torch.full_like(first, atol + rtol)
                size = rms(1 / scale, dims)
            slope = rms(first / scale, dims)
            h = torch.where((size < 1e-5) | (slope < 1e-5), 1e-6, 0.01 * size / slope)
            h = h.min() if t.dim() == 0 else h
            move = spread(direction * h, self.action)
            after = self.field(t + direction * h, self.action.act_exp(move * first, y))
            curvature = rms((after - first) / scale, dims) / h
            largest = torch.maximum(slope, curvature)
            guess = torch.where(
                largest <= 1e-15, (1e-3 * h).clamp(min=1e-6), (0.01 / largest) ** (1 / (self.method.order + 1))
            )
            guess = torch.minimum(100 * h, guess)
            return guess.min() if t.dim() == 0 else guess
