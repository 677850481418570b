"""Training from few layers to many."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from manifoldnet.errors import InputError
from manifoldnet.fields import InTime
from manifoldnet.nn.flow import Flow
from manifoldnet.training.batches import Batch, Data
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.fit import fit
from manifoldnet.training.loop import Loss

Model = TypeVar("Model", bound=nn.Module)


def prolong(model: Model, factor: int = 2) -> Model:
    """A copy with ``factor`` times the steps, and the knots to suit, whose parameters theta(t) are the same functions.

    "piecewise-constant" parameters of K knots get factor K of them, by repetition, and stay equal to the last bit at
    all times; "piecewise-linear" ones get factor (K - 1) + 1, on the lines between the old ones, and are equal up to
    rounding. The field is therefore the same function of (t, y), every step is cut into ``factor`` equal ones
    (learned ones too), and y(t1) changes by the error of the steps alone, O(h). It is O(h^p) for a method of order p
    and "piecewise-linear" parameters whose knots are ends of steps; for "piecewise-constant" ones the method must
    have no stage at the end of a step, which sees the next piece ("midpoint", "gauss4").

    Args:
        model: a :class:`Flow` or a network with some; all are prolonged, what is not part of a flow is copied.
        factor: at least 1.

    Returns:
        With new parameters: an optimizer must be made anew.

    Raises:
        InputError: for factor < 1, no flow, or one without a number of steps.
    """
    if factor < 1:
        raise InputError(f"factor: wanted at least 1, got {factor}")
    fine = copy.deepcopy(model)
    flows = _flows(fine)
    if not flows:
        raise InputError("model: wanted a Flow or a network with some, got none")
    for flow in flows:
        if isinstance(flow.steps, str):
            raise InputError(f"model: wanted flows with a number of steps, got steps={flow.steps!r}")
        flow.steps = factor * flow.steps
        if flow.step_sizes is not None:
            flow.step_sizes.raw = _like(flow.step_sizes.raw, _cut(flow.step_sizes.raw, flow.step_sizes.kind, factor))
    # one field may move several flows
    for field in {id(part): part for flow in flows for part in flow.field.modules()}.values():
        in_time = getattr(field, "in_time", None)
        if isinstance(in_time, InTime) and in_time.knots is not None:
            _refine(field, in_time, factor)
    return fine


def _flows(model: nn.Module) -> list[Flow]:
    return [part for part in model.modules() if isinstance(part, Flow)]


def _cut(raw: Tensor, kind: str, factor: int) -> Tensor:
    """The raw numbers of learned steps, each cut into equal ones."""
    raw = raw.repeat_interleave(factor)
    return {"free": raw / factor, "positive": raw - math.log(factor), "simplex": raw}[kind]


def _refine(field: nn.Module, in_time: InTime, factor: int) -> None:
    assert in_time.knots is not None
    last = 0 if in_time.kind == "piecewise-constant" else 1  # the last knot begins no interval
    knots = factor * (in_time.knots - last) + last
    field.in_time = dataclasses.replace(in_time, knots=knots)  # type: ignore[assignment]  # no module, no tensor
    for name, parameter in field.named_parameters(recurse=False):
        if not isinstance(parameter, UninitializedParameter):
            setattr(field, name, _like(parameter, _values(in_time, parameter.detach(), factor)))


def _values(in_time: InTime, values: Tensor, factor: int) -> Tensor:
    if in_time.kind == "piecewise-constant":
        return values.repeat_interleave(factor, 0)
    share = torch.arange(factor, dtype=values.dtype, device=values.device) / factor
    share = share.reshape(factor, *[1] * (values.dim() - 1))
    between = torch.lerp(values[:-1, None], values[1:, None], share)
    return torch.cat([between.flatten(0, 1), values[-1:]])


def _like(parameter: nn.Parameter, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=parameter.requires_grad)


class Level(NamedTuple):
    """What was done at one depth.

    Attributes:
        model: as it was at the end; that of the last level is the result.
        depth: number of steps of all its flows together.
        losses: at each step of the optimizer.
        evaluations: of layers, for one sample and a step of the optimizer each: depth times the number of steps.
    """

    model: nn.Module
    depth: int
    losses: list[float]
    evaluations: int


def fit_multilevel(
    model: nn.Module,
    data: Data,
    loss: Loss,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    steps: Sequence[int],
    factor: int = 2,
    checkpoints: str | Path | Checkpoints | None = None,
    **options: Any,
) -> list[Level]:
    """Train a coarse model, :func:`prolong` it, train that, and so on (Haber, Ruthotto, Holtham and Jun 2018).

    Most steps are taken where they cost least. Every level has a new optimizer and a cycle of the learning rate of its
    own: momenta are not prolonged, because a knot of the finer level stands for less time, so that gradients and
    moments are smaller by ``factor``. Plain SGD wants rates that grow by it, Adam does not.

    Args:
        model: the coarsest one, trained in place.
        data: as for :func:`fit`. A function of the step goes on counting from level to level, and so does an iterator.
        loss: as for :func:`fit`.
        optimizer: makes that of a level's model.
        steps: number of steps at every level, the coarsest first.
        factor: by which depth grows from level to level.
        checkpoints: a folder that gets one of its own for every level. A resume wants data that are no iterator.
        options: of every :func:`fit`.

    Returns:
        One item a level.

    Raises:
        InputError: as :func:`fit` and :func:`prolong`; for no steps.
    """
    if not steps:
        raise InputError("steps: wanted a number for every level, got none")
    saves = checkpoints if isinstance(checkpoints, Checkpoints | None) else Checkpoints(checkpoints)
    levels: list[Level] = []
    for number, count in enumerate(steps):
        model = prolong(model, factor) if number else model
        depth = sum(flow.steps for flow in _flows(model) if isinstance(flow.steps, int))
        own = None if saves is None else Checkpoints(saves.folder / f"level-{number}", saves.every, saves.keep)
        part = _from(data, _drawn(steps[:number], options.get("accumulate", 1)))
        losses = fit(model, part, loss, optimizer(model), steps=count, checkpoints=own, **options)
        levels.append(Level(model, depth, losses, depth * count))
    return levels


def _drawn(steps: Sequence[int], accumulate: int) -> int:
    """Number of batches that the levels so far have drawn, all processes together."""
    return sum(steps) * accumulate * PartialState().num_processes if steps else 0


def _from(data: Data, first: int) -> Data:
    """``data`` from a step on, where they are a function of it."""
    if isinstance(data, Iterable):
        return data

    def later(step: int) -> Batch:
        return data(first + step)

    return later
