"""Products of different spaces; a point is the points of the factors, flattened one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from manifoldnet.manifolds.actions import Action, BlockAction, join_points, split_points
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.group import Group, LieGroup


def _known(value: Any, space: Space, what: str) -> Any:
    if value is None:
        raise ValueError(f"spaces: {space.name} must be made with a known {what} to stand in a Product")
    return value


def _side_by_side(coordinates: Sequence[Tensor]) -> Tensor:
    """Concatenation in the last dimension with the batch dimensions broadcast."""
    batch = torch.broadcast_shapes(*(v.shape[:-1] for v in coordinates))
    return torch.cat([v.expand(*batch, v.shape[-1]) for v in coordinates], -1)


class BlockGroup(Group):
    """Direct product of groups; elements are flattened like the points of a Product."""

    def __init__(self, groups: Sequence[Group], shapes: Sequence[tuple[int, ...]], dims: Sequence[int]) -> None:
        self.groups = list(groups)
        self.element_shapes = list(shapes)
        self.dims = list(dims)
        self.dim = sum(dims)
        self.point_shape = (sum(int(torch.Size(shape).numel()) for shape in shapes),)

    def split(self, x: Tensor) -> list[Tensor]:
        """The factors' elements."""
        return split_points(x, self.element_shapes)

    def join(self, elements: Sequence[Tensor]) -> Tensor:
        """Inverse of :meth:`split`."""
        return join_points(elements, self.element_shapes)

    def exp(self, v: Tensor) -> Tensor:
        return self.join([g.exp(w) for g, w in zip(self.groups, v.split(self.dims, -1), strict=True)])

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.groups, self.split(x), self.split(y), strict=True)
        return self.join([g.compose(a, b) for g, a, b in parts])

    def exp_compose(self, v: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.groups, v.split(self.dims, -1), self.split(y), strict=True)
        return self.join([g.exp_compose(w, p) for g, w, p in parts])

    @property
    def is_commutative(self) -> bool:
        return all(group.is_commutative for group in self.groups)

    def inverse(self, x: Tensor) -> Tensor:
        return self.join([g.inverse(a) for g, a in zip(self.groups, self.split(x), strict=True)])

    def _algebra(self, name: str, u: Tensor, v: Tensor) -> Tensor:
        parts = zip(self.groups, u.split(self.dims, -1), v.split(self.dims, -1), strict=True)
        return _side_by_side([getattr(g, name)(a, b) for g, a, b in parts])

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        return self._algebra("bracket", u, v)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        parts = zip(self.groups, self.split(x), v.split(self.dims, -1), strict=True)
        return _side_by_side([g.Ad(a, w) for g, a, w in parts])

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        parts = zip(self.groups, self.split(x), mu.split(self.dims, -1), strict=True)
        return _side_by_side([g.coAd(a, w) for g, a, w in parts])

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        return self._algebra("coad", u, mu)

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return self._algebra("dexp", u, v)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return self._algebra("_dexpinv", u, v)


class Product(Space):
    """Product manifold with the product metric; points have shape (..., D), D the total number of entries.

    A product of Lie groups is a Lie group, with the factors' coordinates one after the other.

    Args:
        spaces: the factors; each must know the shape of its points (``Euclidean(1, shape=(3,))``, ``SPD(n=3)``).

    Raises:
        ValueError: if there is no factor or one does not know its shape.
    """

    ndim = 1

    def __new__(cls, spaces: Sequence[Space] = ()) -> Product:
        # copying and unpickling make an object without arguments
        if cls is Product and spaces and all(isinstance(space, LieGroup) for space in spaces):
            cls = GroupProduct
        return super().__new__(cls)

    def __init__(self, spaces: Sequence[Space]) -> None:
        super().__init__()
        if not spaces:
            raise ValueError("spaces: wanted at least one space, got none")
        self.spaces = tuple(spaces)
        self.shapes: list[tuple[int, ...]] = [_known(space.point_shape, space, "shape") for space in spaces]
        self.dims: list[int] = [_known(space.dim, space, "dimension") for space in spaces]
        self.dim = sum(self.dims)
        self.point_shape = (sum(int(torch.Size(shape).numel()) for shape in self.shapes),)
        self.name = "Product(" + ", ".join(space.name for space in spaces) + ")"
        self.reversible = all(space.reversible for space in spaces)
        self.is_compact = all(space.is_compact for space in spaces)

    @property
    def action(self) -> Action:
        actions = [space.action for space in self.spaces]
        groups = [a.group for a in actions]
        dims: list[int] = [_known(g.dim, self, "dimension of the acting group") for g in groups]
        shapes = [_known(g.point_shape, self, "shape of the acting group's elements") for g in groups]
        return BlockAction(BlockGroup(groups, shapes, dims), actions, self.shapes, dims)

    def split(self, x: Tensor) -> list[Tensor]:
        """The factors' points (or tangent vectors)."""
        return split_points(x, self.shapes)

    def join(self, points: Sequence[Tensor]) -> Tensor:
        """Inverse of :meth:`split`; batch dimensions broadcast."""
        return join_points(points, self.shapes)

    def _map(self, name: str, *tensors: Tensor) -> Tensor:
        parts = zip(self.spaces, *map(self.split, tensors), strict=True)
        return self.join([getattr(space, name)(*arguments) for space, *arguments in parts])

    def _total(self, name: str, keepdim: bool, *tensors: Tensor) -> Tensor:
        parts = zip(self.spaces, *map(self.split, tensors), strict=True)
        total: Tensor = sum(getattr(space, name)(*arguments) for space, *arguments in parts)
        return total.unsqueeze(-1) if keepdim else total

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map("expmap", x, u)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return self._map("logmap", x, y)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map("retr", x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return self._map("transp", x, y, v)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map("proju", x, u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map("egrad2rgrad", x, u)

    def projx(self, x: Tensor) -> Tensor:
        return self._map("projx", x)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        return self._total("dist2", keepdim, x, y)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        return self._total("inner", keepdim, x, u, u if v is None else v)

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The factors' means side by side."""
        parts = zip(self.spaces, self.split(points), strict=True)
        return self.join([space.frechet_mean(p, weights) for space, p in parts])

    def curvature_bounds(self) -> tuple[float, float]:
        """The least and the largest of the factors' bounds, and 0 for more than one: planes that mix them are flat."""
        lows, highs = zip(*(space.curvature_bounds() for space in self.spaces), strict=True)
        mixed = () if len(self.spaces) == 1 else (0.0,)
        return min(*lows, *mixed, lows[0]), max(*highs, *mixed, highs[0])

    def injectivity_radius(self, x: Tensor | None = None) -> float | Tensor:
        """The smallest of the factors'."""
        points = [None] * len(self.spaces) if x is None else self.split(x)
        radii = [space.injectivity_radius(p) for space, p in zip(self.spaces, points, strict=True)]
        tensors = [r for r in radii if isinstance(r, Tensor)]
        least = min((r for r in radii if not isinstance(r, Tensor)), default=math.inf)
        if not tensors:
            return least
        return torch.stack(torch.broadcast_tensors(*tensors)).amin(0).clamp_max(least)

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        rows: list[Tensor] = []
        for index, (space, point) in enumerate(zip(self.spaces, self.split(x), strict=True)):
            basis = space.orthonormal_basis(point)
            factors = [basis.new_zeros((*x.shape[:-1], self.dims[index], *shape)) for shape in self.shapes]
            factors[index] = basis
            rows.append(self.join(factors))
        return torch.cat(rows, -2)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        parts = zip(self.spaces, self.split(x), strict=True)
        return self.join([space.random_tangent(p, generator=generator) for space, p in parts])

    def log_volume_density(self, x: Tensor, u: Tensor) -> Tensor:
        """The sum over the factors."""
        return self._total("log_volume_density", False, x, u)

    def random_normal(
        self,
        mean: Tensor,
        std: Tensor | float = 1.0,
        *,
        size: tuple[int, ...] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent Riemannian Gaussians in the factors."""
        parts = zip(self.spaces, self.split(mean), strict=True)
        return self.join([space.random_normal(p, std, size=size, generator=generator) for space, p in parts])

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        batch = self._size(*size)[:-1]
        parts = zip(self.spaces, self.shapes, strict=True)
        make: dict[str, Any] = {"dtype": dtype, "device": device, "generator": generator}
        return self.join([space.random((*batch, *shape), **make) for space, shape in parts])

    def _plain(self, point: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
        parts = zip(self.spaces, self.shapes, strict=True)
        return self.join([space._plain(shape, dtype, device) for space, shape in parts])

    def _check_parts(self, check: Callable[..., tuple[bool, str | None]]) -> tuple[bool, str | None]:
        for index, space in enumerate(self.spaces):
            ok, reason = check(space, index)
            if not ok:
                return False, f"factor {index}: {reason}"
        return True, None

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        points = self.split(x)
        return self._check_parts(lambda s, i: s._check_point_on_manifold(points[i], atol=atol, rtol=rtol))

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        points, vectors = self.split(x), self.split(u)
        return self._check_parts(lambda s, i: s._check_vector_on_tangent(points[i], vectors[i], atol=atol, rtol=rtol))


class GroupProduct(BlockGroup, LieGroup, Product):
    """Direct product of Lie groups."""

    spaces: tuple[LieGroup, ...]

    def __init__(self, spaces: Sequence[LieGroup]) -> None:
        Product.__init__(self, spaces)
        BlockGroup.__init__(self, self.spaces, self.shapes, self.dims)

    def log(self, x: Tensor) -> Tensor:
        return torch.cat([g.log(p) for g, p in zip(self.spaces, self.split(x), strict=True)], -1)

    def settle(self, x: Tensor) -> Tensor:
        return self.join([g.settle(p) for g, p in zip(self.spaces, self.split(x), strict=True)])

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return self.join([g.identity(shape, dtype, device) for g in self.spaces])

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        parts = zip(self.spaces, v.split(self.dims, -1), self.split(x), strict=True)
        return self.join([g.tangent_of(w, p) for g, w, p in parts])

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        parts = zip(self.spaces, self.split(x), self.split(u), strict=True)
        return torch.cat([g.coordinates_of(p, w) for g, p, w in parts], -1)
