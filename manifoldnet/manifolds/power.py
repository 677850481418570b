"""n copies of one space: joints of a body, pixels of an image, the torus as a power of the circle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manifoldnet.manifolds.actions import Action, PowerAction
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.group import Group, LieGroup


class PowerGroup(Group):
    """n copies of one group; elements (..., n, *element), coordinates (..., n * dim), copy by copy."""

    def __init__(self, group: Group, n: int) -> None:
        self.one = group
        self.n = n
        self.dim = None if group.dim is None else n * group.dim
        shape = group.point_shape
        self.point_shape = None if shape is None else (n, *shape)

    def _copies(self, v: Tensor) -> Tensor:
        return v.unflatten(-1, (self.n, -1))

    def exp(self, v: Tensor) -> Tensor:
        return self.one.exp(self._copies(v))

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return self.one.compose(x, y)

    def exp_compose(self, v: Tensor, y: Tensor) -> Tensor:
        return self.one.exp_compose(self._copies(v), y)

    @property
    def is_commutative(self) -> bool:
        return self.one.is_commutative

    def inverse(self, x: Tensor) -> Tensor:
        return self.one.inverse(x)

    def hat(self, v: Tensor) -> Tensor:
        return self.one.hat(self._copies(v))

    def vee(self, m: Tensor) -> Tensor:
        return self.one.vee(m).flatten(-2)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        return self.one.bracket(self._copies(u), self._copies(v)).flatten(-2)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return self.one.Ad(x, self._copies(v)).flatten(-2)

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        return self.one.coAd(x, self._copies(mu)).flatten(-2)

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        return self.one.coad(self._copies(u), self._copies(mu)).flatten(-2)

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return self.one.dexp(self._copies(u), self._copies(v)).flatten(-2)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return self.one._dexpinv(self._copies(u), self._copies(v)).flatten(-2)


class Power(Space):
    """space^n with the product metric; points have shape (..., n, *point).

    A power of a Lie group is a Lie group with coordinates of shape (..., n * dim).

    Args:
        space: the space that is repeated; of Euclidean spaces only those with ndim 1.
        n: number of copies, at least 1.

    Raises:
        ValueError: if n < 1 or the space is Euclidean with ndim other than 1.
    """

    def __new__(cls, space: Space | None = None, n: int = 1) -> Power:
        # copying and unpickling make an object without arguments
        if cls is Power and isinstance(space, LieGroup):
            cls = GroupPower
        return super().__new__(cls)

    def __init__(self, space: Space, n: int) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"n: wanted at least 1 copy, got {n}")
        if space.name == "Euclidean" and space.ndim != 1:
            raise ValueError(
                f"space: wanted Euclidean(ndim=1), got ndim={space.ndim}; use one Euclidean of higher ndim"
            )
        self.space = space
        self.n = n
        self.ndim = space.ndim + 1
        self.dim = None if space.dim is None else n * space.dim
        self.point_shape = None if space.point_shape is None else (n, *space.point_shape)
        self.name = f"Power({space.name}, {n})"
        self.reversible = space.reversible
        self.is_compact = space.is_compact

    @property
    def action(self) -> Action:
        one = self.space.action
        return PowerAction(PowerGroup(one.group, self.n), one, self.n)

    def _total(self, x: Tensor, keepdim: bool) -> Tensor:
        """Sum over the copies of a quantity of shape (..., n), giving (...) or (..., 1, 1, ...)."""
        total = x.sum(-1)
        return total[(...,) + (None,) * self.ndim] if keepdim else total

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return self.space.expmap(x, u)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return self.space.logmap(x, y)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        return self.space.retr(x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return self.space.transp(x, y, v)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return self.space.proju(x, u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self.space.egrad2rgrad(x, u)

    def projx(self, x: Tensor) -> Tensor:
        return self.space.projx(x)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        return self._total(self.space.dist2(x, y), keepdim)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        return self._total(self.space.inner(x, u, v), keepdim)

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of each copy."""
        # the copies become a batch dimension in front of the points that are averaged
        moved = points.movedim(-self.ndim, -(self.ndim + 1))
        return self.space.frechet_mean(moved, None if weights is None else weights.unsqueeze(-2))

    def curvature_bounds(self) -> tuple[float, float]:
        """Those of one copy, and 0 for more than one: planes that mix copies are flat."""
        low, high = self.space.curvature_bounds()
        return (low, high) if self.n == 1 else (min(low, 0.0), max(high, 0.0))

    def injectivity_radius(self, x: Tensor | None = None) -> float | Tensor:
        """The smallest of the copies'."""
        radius = self.space.injectivity_radius(x)
        return radius.amin(-1) if isinstance(radius, Tensor) else radius

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        # copy j's vectors stand in row j and are 0 for the other copies
        one = self.space.orthonormal_basis(x).unsqueeze(-(self.space.ndim + 1))
        rows = torch.eye(self.n, dtype=x.dtype, device=x.device)[(slice(None), None, slice(None))]
        first = one.dim() - self.ndim - 2
        return (rows[(...,) + (None,) * self.space.ndim] * one).flatten(first, first + 1)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.space.random_tangent(x, generator=generator)

    def log_volume_density(self, x: Tensor, u: Tensor) -> Tensor:
        """The sum over the copies."""
        return self.space.log_volume_density(x, u).sum(-1)

    def random_normal(
        self,
        mean: Tensor,
        std: Tensor | float = 1.0,
        *,
        size: tuple[int, ...] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent Riemannian Gaussians in the copies."""
        scale = std.unsqueeze(-1) if isinstance(std, Tensor) else std
        return self.space.random_normal(mean, scale, size=size, generator=generator)

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.space.random(self._size(*size), dtype=dtype, device=device, generator=generator)

    def _plain(self, point: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
        return self.space._plain(point[1:], dtype, device).expand(point)

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        ok, reason = super()._check_shape(shape, name)
        if ok and shape[len(shape) - self.ndim] != self.n:
            return False, f"{name}: {self.name} wants {self.n} copies, got shape {tuple(shape)}"
        return ok, reason

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        return self.space._check_point_on_manifold(x, atol=atol, rtol=rtol)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return self.space._check_vector_on_tangent(x, u, atol=atol, rtol=rtol)


class GroupPower(PowerGroup, LieGroup, Power):
    """n copies of a Lie group."""

    space: LieGroup

    def __init__(self, space: LieGroup, n: int) -> None:
        Power.__init__(self, space, n)

    @property
    def one(self) -> LieGroup:  # type: ignore[override]
        return self.space

    def log(self, x: Tensor) -> Tensor:
        return self.space.log(x).flatten(-2)

    def settle(self, x: Tensor) -> Tensor:
        return self.space.settle(x)

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return self.space.identity((*shape, self.n), dtype, device)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return self.space.tangent_of(self._copies(v), x)

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        return self.space.coordinates_of(x, u).flatten(-2)
