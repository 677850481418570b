"""Actions of Lie groups on spaces: what turns a generator into motion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from manifoldnet.linalg import sym_expm, sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.linalg.symmetric import sym_dexpm, sym_dlogm
from manifoldnet.manifolds.group import Group, LieGroup


class Action(ABC):
    """A left action of ``group`` on a space.

    Attributes:
        is_isometric: whether every element of the group moves the space by an isometry.
    """

    group: Group
    is_isometric: bool = True

    @abstractmethod
    def act(self, x: Tensor, y: Tensor) -> Tensor:
        """The point x.y for x in the group and y in the space."""

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        """exp(v).y for a generator v in coordinates."""
        return self.act(self.group.exp(v), y)

    def settle(self, y: Tensor) -> Tensor:
        """y without what the rounding of a step has moved it off the space; y itself where nothing can drift."""
        return y

    @abstractmethod
    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        """Tangent vector d/de exp(e v).y at e = 0."""

    @abstractmethod
    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        """A right inverse of :meth:`tangent` in v: the horizontal lift."""


class LeftMultiplication(Action):
    """A Lie group acting on itself, x.y = x y; on Euclidean space this is translation."""

    def __init__(self, group: LieGroup) -> None:
        self.group: LieGroup = group

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return self.group.compose(x, y)

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        return self.group.exp_compose(v, y)

    def settle(self, y: Tensor) -> Tensor:
        return self.group.settle(y)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return self.group.tangent_of(v, y)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return self.group.coordinates_of(y, tangent)


class RightMultiplication(Action):
    """A Lie group acting on itself from the right, x.y = y x^-1; the inverse makes it a left action.

    Generators are body-frame velocities with the opposite sign: y' = -y hat(v).
    """

    def __init__(self, group: LieGroup) -> None:
        self.group: LieGroup = group

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return self.group.compose(y, self.group.inverse(x))

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        return self.group.compose(y, self.group.exp(-v))

    def settle(self, y: Tensor) -> Tensor:
        return self.group.settle(y)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return self.group.tangent_of(-self.group.Ad(y, v), y)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return -self.group.Ad(self.group.inverse(y), self.group.coordinates_of(y, tangent))


class Congruence(Action):
    """GL(n) acting on symmetric positive definite matrices by x.y = x y x'."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        z = x @ y @ x.mT
        return 0.5 * (z + z.mT)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        w = self.group.hat(v) @ y
        return w + w.mT

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        """v = u y^-1 / 2, for which t -> exp(t v).y is the affine-invariant geodesic."""
        factor = torch.linalg.cholesky(y)
        return self.group.vee(0.5 * torch.cholesky_solve(tangent.mT, factor).mT)


class LogarithmicTranslation(Action):
    """Symmetric matrices acting on SPD(n) by x.y = expm(x + logm y); generators are orthonormal coordinates.

    The group is the vector space of symmetric matrices in the coordinates of ``sym_to_vector`` (Arsigny et al.
    2007): every such map is an isometry of the log-Euclidean metric.
    """

    def __init__(self, group: Group) -> None:
        self.group = group

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return sym_expm(sym_logm(y) + sym_from_vector(x))

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return sym_dexpm(sym_logm(y), sym_from_vector(v))

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return sym_to_vector(sym_dlogm(y, tangent))


class BlockAction(Action):
    """Actions side by side on the blocks of flattened points and of coordinates (for Product)."""

    def __init__(
        self, group: Group, actions: Sequence[Action], shapes: Sequence[tuple[int, ...]], dims: Sequence[int]
    ) -> None:
        self.group = group
        self.actions = list(actions)
        self.is_isometric = all(action.is_isometric for action in self.actions)
        self.shapes = list(shapes)
        self.dims = list(dims)

    def _points(self, y: Tensor) -> list[Tensor]:
        return split_points(y, self.shapes)

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        xs = self.group.split(x)  # type: ignore[attr-defined]
        return join_points(
            [a.act(p, q) for a, p, q in zip(self.actions, xs, self._points(y), strict=True)], self.shapes
        )

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        vs = v.split(self.dims, -1)
        return join_points(
            [a.act_exp(p, q) for a, p, q in zip(self.actions, vs, self._points(y), strict=True)], self.shapes
        )

    def settle(self, y: Tensor) -> Tensor:
        return join_points([a.settle(q) for a, q in zip(self.actions, self._points(y), strict=True)], self.shapes)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        vs = v.split(self.dims, -1)
        return join_points(
            [a.tangent(p, q) for a, p, q in zip(self.actions, vs, self._points(y), strict=True)], self.shapes
        )

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        us = self._points(tangent)
        return torch.cat([a.lift(p, u) for a, p, u in zip(self.actions, self._points(y), us, strict=True)], -1)


class PowerAction(Action):
    """The same action on each of n copies; coordinates are (..., n * dim), copy by copy."""

    def __init__(self, group: Group, action: Action, n: int) -> None:
        self.group = group
        self.one = action
        self.is_isometric = action.is_isometric
        self.n = n

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return self.one.act(x, y)

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        return self.one.act_exp(v.unflatten(-1, (self.n, -1)), y)

    def settle(self, y: Tensor) -> Tensor:
        return self.one.settle(y)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return self.one.tangent(v.unflatten(-1, (self.n, -1)), y)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return self.one.lift(y, tangent).flatten(-2)


def split_points(y: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The points of shapes ``shapes`` that lie flattened one after the other in the last dimension of y."""
    sizes = [int(torch.Size(shape).numel()) for shape in shapes]
    return [part.reshape((*part.shape[:-1], *shape)) for part, shape in zip(y.split(sizes, -1), shapes, strict=True)]


def join_points(points: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
    """Inverse of :func:`split_points`; batch dimensions are broadcast against each other."""
    batch = torch.broadcast_shapes(*(p.shape[: p.dim() - len(s)] for p, s in zip(points, shapes, strict=True)))
    pairs = zip(points, shapes, strict=True)
    flat = [p.expand((*batch, *s)).reshape((*batch, torch.Size(s).numel())) for p, s in pairs]
    return torch.cat(flat, -1)
