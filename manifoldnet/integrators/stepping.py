"""What the stepping rules of all families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manifoldnet.manifolds import Action

Field = Callable[[Tensor, Tensor], Tensor]
"""f(t, y) -> generator at time t and point y, in coordinates of the acting group.

t is a 0-dimensional tensor, or has the shape of the batch where every sample keeps its own time.
"""


class Step(NamedTuple):
    """What one step leaves behind.

    Attributes:
        y: the point at t + h.
        ks: the stages in the algebra, times h, from which the dense output is made.
        error: v - v^ where y1 = exp(v) y and the embedded method would have given exp(v^) y.
        rival: the embedded method's point, where the method has no such v.
        last: f(t + h, y1), where the first stage of the next step is known already.
    """

    y: Tensor
    ks: tuple[Tensor, ...] = ()
    error: Tensor | None = None
    rival: Tensor | None = None
    last: Tensor | None = None


class Start(NamedTuple):
    """Where a step starts, and what is wanted of it.

    Attributes:
        field: f(t, y), with what else the family wants of it.
        action: the action by which the method moves.
        t: 0-dimensional, or of the shape of the batch.
        h: length of the step, as t.
        y: the point at time t.
        first: f(t, y) if it is known.
        estimate: whether the error and all stages of the dense output are wanted.
    """

    field: Any
    action: Any
    t: Tensor
    h: Tensor
    y: Tensor
    first: Tensor | None = None
    estimate: bool = False

    def slope(self) -> Tensor:
        """f(t, y)."""
        return self.field(self.t, self.y) if self.first is None else self.first


StepRule = Callable[[Any, Start], Step]
"""The rule of a family of methods: one step with the coefficients of its first argument."""


def spread(h: Tensor, action: Action) -> Tensor:
    """h as a factor of generators, whose last ``coordinate_ndim`` dimensions are coordinates."""
    return h if h.dim() == 0 else h[(...,) + (None,) * action.group.coordinate_ndim]


def combination(coefficients: Sequence[Any], ks: Sequence[Tensor], base: Tensor | None = None) -> Tensor | None:
    """base + sum_j a_j k_j over the a_j that are not zero, or None if there is nothing to add."""
    total = base
    for a, k in zip(coefficients, ks, strict=False):
        if isinstance(a, Tensor):
            total = a * k if total is None else torch.addcmul(total, a, k)
        elif a:
            total = (k if a == 1.0 else a * k) if total is None else torch.add(total, k, alpha=a)
    return total
