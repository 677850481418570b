"""A loss as a function of coordinates around the parameters, for optimisers that look for their step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.manifolds import Space
from manifoldnet.training.kick_drift import curved_space


class _Part(NamedTuple):
    """A parameter; on a space with a basis at its start, and a ``probe``, the sum of that, to try the metric on."""

    parameter: Tensor
    space: Space | None
    start: Tensor
    basis: Tensor | None
    probe: Tensor | None
    scale: float


class LossInChart:
    """F(y) = E(x(y)), where x(y) has the coordinates y around the parameters as they were when this was made.

    A plain parameter is x + sqrt(lr) y. On a manifold it is the retraction from x along sqrt(lr) sum_i y_i b_i, b being
    an orthonormal basis of the tangent space. In these coordinates the gradient flow of F at 0 is that of E with
    ``lr`` for the unit of time, and |y|^2 is the squared Riemannian length of the step over lr.

    Where the closure returns the losses of a batch of independent problems, of shape (*batch), every parameter begins
    with these dimensions, and coordinates are (*batch, n). Otherwise they are (n).

    Args:
        groups: parameter groups with the option ``lr``.
        closure: the loss of the parameters as they are; if :meth:`gradient` is to be called it leaves the gradient in
            the parameters' ``grad``.

    Raises:
        InputError: if the groups are on different devices or of different dtypes, a space does not know its size, or
            the shape of the losses is not that of the first dimensions of the parameters.
    """

    def __init__(self, groups: list[dict[str, Any]], closure: Callable[[], Tensor]) -> None:
        self.closure = closure
        self.loss = self._evaluate()
        self.parts = [self._part(p, group["lr"]) for group in groups for p in group["params"]]
        like = self.parts[0].start
        for part in self.parts:
            if part.start.dtype != like.dtype or part.start.device != like.device:
                raise InputError(f"params: wanted one dtype and one device, got {like.dtype} on {like.device} and "
                                 f"{part.start.dtype} on {part.start.device}")  # fmt: skip
        self.sizes = [math.prod(self._coordinates(part)) // max(1, self.loss.numel()) for part in self.parts]
        self.origin = like.new_zeros(*self.loss.shape, sum(self.sizes))

    def _evaluate(self) -> Tensor:
        loss = self.closure()
        if not isinstance(loss, Tensor):
            raise InputError(f"closure: wanted one that returns the loss as a tensor, got {type(loss).__name__}")
        return loss.detach()

    def _part(self, parameter: Tensor, lr: float) -> _Part:
        space, start = curved_space(parameter), parameter.detach().clone()
        first = parameter.dim() - (space.ndim if space is not None else 0)
        batch = self.loss.shape
        if parameter.shape[:first][: len(batch)] != batch:
            raise InputError(f"closure: wanted a loss of shape () or of the first dimensions of every parameter, got "
                             f"{tuple(batch)} for a parameter of shape {tuple(parameter.shape)}")  # fmt: skip
        if space is None:
            return _Part(parameter, None, start, None, None, math.sqrt(lr))
        basis = space.orthonormal_basis(start)
        return _Part(parameter, space, start, basis, basis.sum(-(space.ndim + 1)), math.sqrt(lr))

    @staticmethod
    def _coordinates(part: _Part) -> torch.Size:
        """The shape of a parameter's coordinates."""
        if part.space is None or part.basis is None:
            return part.start.shape
        return part.basis.shape[: part.basis.dim() - part.space.ndim]

    def _split(self, y: Tensor) -> list[Tensor]:
        pieces = y.split(self.sizes, -1)
        return [part.scale * c.reshape(self._coordinates(part)) for part, c in zip(self.parts, pieces, strict=True)]

    @staticmethod
    def _place(part: _Part, c: Tensor, point: Tensor) -> None:
        """Set the parameter to the point; where the coordinates are 0 to the start itself, which rounding may miss."""
        if part.space is not None:
            moves = (c != 0).any(-1)[(...,) + (None,) * part.space.ndim]
            point = torch.where(moves, point.detach(), part.start)
        part.parameter.detach().copy_(point)

    def move(self, y: Tensor) -> None:
        """Set the parameters to x(y)."""
        for part, c in zip(self.parts, self._split(y), strict=True):
            self._place(part, c, _point(part, c))

    def value(self, y: Tensor) -> Tensor:
        """F(y), shape (*batch); moves the parameters there.

        Infinite where rounding leaves no point of the space, as for matrices whose eigenvalues differ too much.
        """
        self.move(y)
        loss = self._evaluate()
        for part in self.parts:
            if part.space is not None and part.probe is not None:
                length = part.space.inner(part.parameter.detach(), part.probe, part.probe, keepdim=True)
                has_metric = (length.isfinite() & (length > 0)).flatten(loss.dim()).all(-1)
                loss = torch.where(has_metric, loss, torch.inf)
        return loss

    def value_and_gradient(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """F(y) and its gradient (n), for a loss of shape (); moves the parameters there."""
        pieces = self._split(y)
        points, inputs = [], []
        for part, c in zip(self.parts, pieces, strict=True):
            with torch.enable_grad():
                inputs.append(c.requires_grad_() if part.space is not None else c)
                points.append(_point(part, inputs[-1]))
            self._place(part, c, points[-1])
        loss = self._evaluate()
        return loss, self._pull(points, inputs)

    def _pull(self, points: list[Tensor], inputs: list[Tensor]) -> Tensor:
        """The parameters' gradients as one of coordinates."""
        slopes = []
        for part, point, c in zip(self.parts, points, inputs, strict=True):
            slope = part.parameter.grad
            if slope is None:
                slope = torch.zeros_like(c)
            elif part.space is not None:
                (slope,) = torch.autograd.grad(point, c, slope)
            slopes.append(part.scale * slope.reshape(-1))
        return torch.cat(slopes)

    def gradient_at_start(self) -> Tensor:
        """The gradient (n) at y = 0 of the evaluation that came with the chart, of which the ``grad`` are left."""
        pieces = self._split(self.origin)
        with torch.enable_grad():
            inputs = [c.requires_grad_() for c in pieces]
            points = [_point(part, c) for part, c in zip(self.parts, inputs, strict=True)]
        return self._pull(points, inputs)


def _point(part: _Part, c: Tensor) -> Tensor:
    """The point with the coordinates c, which are scaled already."""
    if part.space is None or part.basis is None:
        return part.start + c
    weights = c[(...,) + (None,) * part.space.ndim]
    return part.space.retr(part.start, (weights * part.basis).sum(-(part.space.ndim + 1)))
