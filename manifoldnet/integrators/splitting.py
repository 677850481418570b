"""Splitting of a field into parts whose flows are known or easy: Lie-Trotter and Strang; shears as parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from manifoldnet.integrators.explicit_tableaux import RK4
from manifoldnet.integrators.rkmk import rkmk_step
from manifoldnet.integrators.stepping import Field, Start, Step, spread
from manifoldnet.manifolds import Action


@dataclass(frozen=True)
class Splitting:
    """Whether the parts are run through once, or by half steps there and back; and if once, whether last part first."""

    is_symmetric: bool
    stages: int = 1
    reverse: bool = False

    @property
    def order(self) -> int:
        return 2 if self.is_symmetric else 1

    @property
    def adjoint(self) -> Splitting:
        """The scheme whose step of -h undoes a step of h, if the flows of the parts do that."""
        return self if self.is_symmetric else replace(self, reverse=not self.reverse)


LIE_TROTTER = Splitting(is_symmetric=False)
STRANG = Splitting(is_symmetric=True)


class SplitField:
    """The sum of fields, each of which is one part of a splitting.

    A part that has ``flow(t, h, y, action)`` is asked for its exact flow from t to t + h; of another, one step of
    ``rkmk4`` stands in for it.
    """

    def __init__(self, parts: Sequence[Field]) -> None:
        if not parts:
            raise ValueError("parts: wanted at least one field, got none")
        self.parts = list(parts)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        total = self.parts[0](t, y)
        for part in self.parts[1:]:
            total = total + part(t, y)
        return total


class Shear:
    """The part of a field on a vector space that moves some coordinates by what it sees of the others.

    Its flow y -> y + h f is exact for a field that does not depend on time (of order 2 in time otherwise) and keeps
    volume whatever f is, because f is shown zeros in place of the coordinates that it moves.

    Args:
        field: f(t, y) of the shape of y.
        moved: boolean mask of the coordinates that move, which broadcasts against y.
    """

    def __init__(self, field: Field, moved: Tensor) -> None:
        if moved.dtype is not torch.bool:
            raise ValueError(f"moved: wanted a mask of booleans, got {moved.dtype}")
        self.field = field
        self.moved = moved

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        moved = self.moved.to(y.device)
        seen = y.masked_fill(moved, 0.0)
        return self.field(t, seen).masked_fill(~moved, 0.0)

    def flow(self, t: Tensor, h: Tensor, y: Tensor, action: Action) -> Tensor:
        """The point at t + h."""
        return y + spread(h, action) * self(t + 0.5 * h, y)


def shears(field: Field, dim: int) -> SplitField:
    """A field on R^dim as one shear for every coordinate; it is the field itself if f_i does not depend on y_i."""
    return SplitField([Shear(field, row) for row in torch.eye(dim, dtype=torch.bool)])


def _flow(part: Any, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    if hasattr(part, "flow"):
        return part.flow(t, h, y, action)
    return rkmk_step(RK4, Start(part, action, t, h, y)).y


def splitting_step(scheme: Splitting, start: Start) -> Step:
    """One step over the ``parts`` of the field.

    Lie-Trotter: every part from t to t + h. Strang 1968: the parts from t to t + h / 2 in their order, then from
    t + h / 2 to t + h in the reversed order; the last part's two halves are one step.
    """
    field, action, t, h, y, *_ = start
    parts = list(field.parts)
    if not scheme.is_symmetric:
        for part in reversed(parts) if scheme.reverse else parts:
            y = _flow(part, action, t, h, y)
        return Step(y)
    half = 0.5 * h
    for part in parts[:-1]:
        y = _flow(part, action, t, half, y)
    y = _flow(parts[-1], action, t, h, y)
    for part in reversed(parts[:-1]):
        y = _flow(part, action, t + half, half, y)
    return Step(y)
