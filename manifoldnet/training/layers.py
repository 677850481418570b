"""Networks as optimal control sees them: layers, each a map of its state and its own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import geoopt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from manifoldnet.errors import InputError
from manifoldnet.fields import InTime, LayerField
from manifoldnet.nn import Flow

Parameters = dict[str, Tensor]
"""Values of a module's parameters by name."""

BEFORE_THE_END = 0.999
"""Stages before this share of a step see none of the next interval's parameters, whose start has some slack."""


class Steps(nn.Module):
    """The fixed steps of a flow as maps Phi_k(x, theta) of the state and of the field's parameters.

    Raises:
        InputError: if the flow's steps are adaptive or learned.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        if flow.steps == "adaptive" or flow.step_sizes is not None:
            kind = "adaptive" if flow.steps == "adaptive" else "learned"
            raise InputError(f"flow: wanted steps that are fixed, got {kind} ones")
        self.field = flow.field
        self.method = flow.method
        self.action = flow.method.action_on(flow.space)

    def forward(self, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
        return self.method.step(self.field, self.action, t, h, x)

    def with_parameters(self, theta: Parameters, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
        """The point at t + h from x at t, with theta in place of the field's parameters."""
        return functional_call(self, {f"field.{name}": value for name, value in theta.items()}, (t, h, x))


class Layers(ABC):
    """A stretch of L layers of one shape, each made of m steps.

    Attributes:
        theta: values of the parameters, (L, *shape) each, without graph.
        lengths: (L, m), the steps' lengths.
    """

    theta: Parameters
    lengths: Tensor

    @abstractmethod
    def run(self, x: Tensor) -> list[Tensor]:
        """The points after each of the L m steps from x, on the graph of x."""

    @abstractmethod
    def maps(self, theta: Parameters, x: Tensor) -> Tensor:
        """All steps at once: (L, m, *batch, *point) -> (L, m, *batch, *point), each from its own x."""

    @abstractmethod
    def store(self, theta: Parameters) -> None:
        """Make theta the values of the parameters."""


class FlowLayers(Layers):
    """The layers of a flow: the intervals of a piecewise constant field, or one layer of all steps and parameters.

    The latter where steps do not end at the jumps of parameters, or a step may see two intervals: methods with a stage
    at the step's end do (c = 1, as "heun2" and "rk4"), because parameters are continuous from the right. The steps of
    a :class:`LayerField` are batched; those of other fields run one after the other.

    Raises:
        InputError: if steps are not fixed, the flow returns its trajectory, or parameters lie on a manifold.
    """

    def __init__(self, flow: Flow, like: Tensor) -> None:
        if flow.trajectory:
            raise InputError("flow: wanted one that returns its last point, got trajectory=True")
        self.steps = Steps(flow)
        with torch.no_grad():
            intervals = flow.intervals(like)
        in_time: InTime = getattr(flow.field, "in_time", InTime())
        tableau = flow.method.tableau
        count = in_time.knots or 1
        self.is_joint = (
            in_time.kind != "piecewise-constant"
            or len(intervals) % count > 0
            or in_time.t1 != flow.t1
            or tableau is None
            or max(tableau.c) > BEFORE_THE_END
        )
        self.t = torch.stack([t for t, _ in intervals])
        self.lengths = torch.stack([h for _, h in intervals]).reshape(1 if self.is_joint else count, -1)
        self.theta = _values(flow.field, stacked=not self.is_joint)

    def _own(self, theta: Parameters) -> Parameters:
        return {name: value[0] for name, value in theta.items()} if self.is_joint else theta

    def run(self, x: Tensor) -> list[Tensor]:
        theta, points = self._own(self.theta), [x]
        for t, h in zip(self.t, self.lengths.flatten(), strict=True):
            points.append(self.steps.with_parameters(theta, t, h, points[-1]))
        return points[1:]

    def maps(self, theta: Parameters, x: Tensor) -> Tensor:
        own, h, flat = self._own(theta), self.lengths.flatten(), x.flatten(0, 1)

        def step(t: Tensor, h: Tensor, x: Tensor) -> Tensor:
            return self.steps.with_parameters(own, t, h, x)

        if isinstance(self.steps.field, LayerField):
            following = torch.vmap(step)(self.t, h, flat)
        else:
            following = torch.stack([step(*each) for each in zip(self.t, h, flat, strict=True)])
        return following.unflatten(0, self.lengths.shape)

    def store(self, theta: Parameters) -> None:
        _store(self.steps.field, self._own(theta))
        self.theta = theta


class ModuleLayer(Layers):
    """Any module as one layer of one step, x -> module(x).

    Raises:
        InputError: if a parameter lies on a manifold.
    """

    def __init__(self, module: nn.Module, like: Tensor) -> None:
        self.module = module
        self.lengths = like.new_ones(1, 1)
        self.theta = _values(module, stacked=False)

    def run(self, x: Tensor) -> list[Tensor]:
        return [functional_call(self.module, {name: value[0] for name, value in self.theta.items()}, (x,))]

    def maps(self, theta: Parameters, x: Tensor) -> Tensor:
        own = {name: value[0] for name, value in theta.items()}
        return functional_call(self.module, own, (x[0, 0],))[None, None]

    def store(self, theta: Parameters) -> None:
        _store(self.module, {name: value[0] for name, value in theta.items()})
        self.theta = theta


def layers_of(network: nn.Module, like: Tensor) -> list[Layers]:
    """The layers of a flow, or of an ``nn.Sequential`` of flows and other modules.

    Args:
        like: a tensor of the type and on the device of the states.

    Raises:
        InputError: for another module, or as :class:`FlowLayers`.
    """
    if isinstance(network, Flow):
        return [FlowLayers(network, like)]
    if not isinstance(network, nn.Sequential):
        raise InputError(f"flow: wanted a Flow or an nn.Sequential of layers, got {type(network).__name__}")
    found: list[Layers] = []
    for layer in network:
        is_known = isinstance(layer, Flow | nn.Sequential)
        found += layers_of(layer, like) if is_known else [ModuleLayer(layer, like)]
    return found


def _values(module: nn.Module, stacked: bool) -> Parameters:
    values = {}
    for name, parameter in module.named_parameters():
        if isinstance(parameter, geoopt.ManifoldParameter):
            raise InputError(f"flow: wanted parameters of vector spaces, got {name!r} on {parameter.manifold.name}")
        value = cast(Tensor, parameter).detach()
        values[name] = value if stacked else value[None]
    return values


def _store(module: nn.Module, values: Parameters) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(values[name])
