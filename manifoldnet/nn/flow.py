"""A layer that is the flow of a vector field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manifoldnet.integrators.attempts import Gradient, one_step
from manifoldnet.integrators.methods import method_named
from manifoldnet.integrators.odeint import check
from manifoldnet.manifolds import Euclidean, Space


class Flow(nn.Module):
    """y0 -> y(t1) for y' = field(t, y), y(0) = y0, by equal steps of an integrator.

    Args:
        field: a module (t, y) -> generator.
        method: a name in ``METHODS``; on a curved space a Lie-group method such as "rkmk4".
        steps: number of steps.
        t1: final time; negative values run backwards.
        space: where y lives; the field's own ``space`` when None, else Euclidean space.
        gradient: "autograd" or "checkpoint" (stages are computed again in the backward pass).

    Raises:
        ValueError: for an unknown method or gradient, a classical method on a curved space, or steps < 1.
    """

    def __init__(
        self,
        field: nn.Module,
        method: str = "rk4",
        steps: int = 8,
        t1: float = 1.0,
        space: Space | None = None,
        gradient: Gradient = "autograd",
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps: wanted at least 1, got {steps}")
        own = getattr(field, "space", None)
        self.field = field
        self.space: Space = space if space is not None else own if own is not None else Euclidean(1)
        self.method = method_named(method)
        self.steps = steps
        self.t1 = t1
        self.gradient: Gradient = gradient
        check(self.method, self.space, gradient)

    def forward(self, y0: Tensor) -> Tensor:
        """The points y(t1), same shape as y0."""
        action = self.method.action_on(self.space)
        h = torch.full((), self.t1 / self.steps, dtype=y0.dtype, device=y0.device)
        y = y0
        for k in range(self.steps):
            y = one_step(self.method, self.field, action, k * h, h, y, self.gradient)
        return y

    def extra_repr(self) -> str:
        return f"method={self.method.name!r}, steps={self.steps}, t1={self.t1}, space={self.space.name}"
