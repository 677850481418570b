"""What optimisers share that kick momenta with gradients and then let parameters drift along geodesics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from manifoldnet.errors import InputError
from manifoldnet.fields.tangent_bundle import geodesic
from manifoldnet.manifolds import Space
from manifoldnet.training.moves import is_flat, space_of

Moving = tuple[Space | None, Tensor, Tensor]
"""The space, None for a plain parameter, the point and its momentum."""


class KickDrift(torch.optim.Optimizer):
    """p <- a p - b grad E(x), then x and p move along the geodesic with velocity p at x, for a time s.

    Subclasses say what a, b and s are. Momenta p are tangent vectors at x, which the metric identifies with covectors,
    and the geodesic carries p along by parallel transport; a plain parameter moves on the straight line x + s p.
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                curved_space(parameter)

    @abstractmethod
    def kick(self, group: dict[str, Any]) -> tuple[float, float]:
        """a and b; called once a step, with the options of the group, which it may update."""

    def time(self, group: dict[str, Any], moving: list[Moving]) -> float | Tensor:
        """s, a number or of shape (), after the kick; the step h unless a subclass says otherwise."""
        lr: float = group["lr"]
        return lr

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step with the gradients that are there, or those that ``closure`` makes; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            decay, push = self.kick(group)
            moving: list[Moving] = []
            for x in parameters:
                space, old = curved_space(x), self.state[x].get("momentum")
                momentum = kicked(space, x, torch.zeros_like(x) if old is None else old, x.grad, decay, push)
                moving.append((space, x, momentum))
            time = self.time(group, moving)
            for x, part in zip(parameters, moving, strict=True):
                point, self.state[x]["momentum"] = drifted(*part, time)
                x.copy_(point)
        return loss


def kicked(space: Space | None, x: Tensor, p: Tensor, slope: Tensor, decay: float, push: float) -> Tensor:
    """decay p - push grad E(x), where ``slope`` are the partial derivatives of E; all of the shape of x."""
    gradient = slope if space is None else space.egrad2rgrad(x, slope)
    return decay * p - push * gradient


def drifted(space: Space | None, x: Tensor, p: Tensor, time: float | Tensor) -> tuple[Tensor, Tensor]:
    """The point and the velocity after ``time``, of shape (), on the geodesic that starts at x with velocity p."""
    if space is None:
        return x + time * p, p
    y, moved = geodesic(space, torch.as_tensor(time, dtype=x.dtype, device=x.device), x, p)
    # a retraction along the zero vector takes off the manifold's normal space what rounding has added
    y = space.retr(y, torch.zeros_like(y))
    return y, space.proju(y, moved)


def curved_space(parameter: Tensor) -> Space | None:
    """The space of a ManifoldParameter; None for a plain parameter, and where the space is Euclidean.

    Raises:
        InputError: for a manifold that is none of this package's spaces.
    """
    manifold = space_of(parameter)
    if is_flat(manifold):
        return None
    if not isinstance(manifold, Space):
        raise InputError(f"params: wanted parameters on spaces of manifoldnet or plain ones, got one on {manifold}")
    return manifold


def check_positive(**options: float) -> None:
    """Raise an InputError that names the first option which is not positive and finite."""
    for name, value in options.items():
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: wanted a positive number, got {value}")
