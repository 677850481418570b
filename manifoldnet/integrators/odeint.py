"""Integrate y' = f(t, y) on a space."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from manifoldnet.integrators.methods import Method, method_named
from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Action, Euclidean, Space

Gradient = Literal["autograd", "checkpoint"]


def odeint(
    field: Field,
    y0: Float[Tensor, "*shape"],
    t: Float[Tensor, "times"],
    *,
    space: Space | None = None,
    method: str = "rkmk4",
    step_size: float | None = None,
    steps: int | None = None,
    gradient: Gradient = "autograd",
) -> Float[Tensor, "times *shape"]:
    """Solution of y' = hat(f(t, y)) y, y(t[0]) = y0, at the times t.

    Args:
        field: f(t, y) -> generator in coordinates of the group that acts on the space; on Euclidean space that is
            the tangent vector.
        y0: initial points (..., *point).
        t: strictly increasing or strictly decreasing times.
        space: where y lives; Euclidean space of vectors when None.
        method: a name in ``METHODS``.
        step_size: longest step; each interval between two times is cut into equal steps no longer than it.
        steps: number of equal steps in each interval, instead of ``step_size``; 1 when neither is given.
        gradient: "autograd" keeps every stage, "checkpoint" keeps the steps' ends and computes stages again.

    Returns:
        (len(t), *y0.shape); the first entry is y0.

    Raises:
        ValueError: for an unknown method or gradient, a classical method on a curved space, times that are not
            strictly monotone, a wrong shape of y0, or step_size and steps together or not positive.
    """
    space = Euclidean(1) if space is None else space
    chosen = method_named(method)
    check(chosen, space, gradient)
    space._assert_check_shape(tuple(y0.shape), "y0")
    # in the higher precision of the two, so that neither float32 times nor float32 points round the step length
    t = t.to(device=y0.device, dtype=torch.promote_types(t.dtype, y0.dtype))
    times = t.tolist()
    increments = [b - a for a, b in itertools.pairwise(times)]
    if not times:
        raise ValueError("t: wanted at least one time, got none")
    if not y0.is_floating_point():
        raise ValueError(f"y0: wanted real numbers, got {y0.dtype}")
    if not (all(d > 0 for d in increments) or all(d < 0 for d in increments)):
        raise ValueError(f"t: wanted strictly increasing or strictly decreasing times, got {times}")
    counts = _counts(increments, step_size, steps)
    action = space.action
    solution = [y0]
    for index, count in enumerate(counts):
        h = (t[index + 1] - t[index]) / count
        y = solution[-1]
        for k in range(count):
            y = one_step(chosen, field, action, t[index] + k * h, h, y, gradient)
        solution.append(y)
    return torch.stack(solution)


def one_step(
    method: Method, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor, gradient: Gradient
) -> Tensor:
    """One step of ``method``, its stages kept for the backward pass or not."""
    if gradient == "checkpoint":
        return checkpoint(method.step, field, action, t, h, y, use_reentrant=False)
    return method.step(field, action, t, h, y)


def check(method: Method, space: Space, gradient: str) -> None:
    """Raise a ValueError if the method cannot run on the space or the gradient mode is unknown."""
    if not method.is_lie and not isinstance(space, Euclidean):
        raise ValueError(
            f"method: {method.name!r} adds vectors and would leave {space.name}; wanted a Lie-group method there"
        )
    if gradient not in ("autograd", "checkpoint"):
        raise ValueError(f"gradient: wanted 'autograd' or 'checkpoint', got {gradient!r}")


def _counts(increments: list[float], step_size: float | None, steps: int | None) -> list[int]:
    if step_size is not None and steps is not None:
        raise ValueError(f"step_size, steps: wanted one of the two, got {step_size} and {steps}")
    if step_size is not None:
        if not step_size > 0:
            raise ValueError(f"step_size: wanted a positive length, got {step_size}")
        return [max(1, math.ceil(abs(d) / step_size - 1e-9)) for d in increments]
    if steps is not None and steps < 1:
        raise ValueError(f"steps: wanted at least 1, got {steps}")
    return [steps or 1] * len(increments)
