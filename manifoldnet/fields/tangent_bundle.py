"""Tangent bundles as spaces, and the geodesic flow on them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from manifoldnet.manifolds import SE3, SPD, Circle, Euclidean, Grassmann, LieGroup, Power, Product, Space, Sphere
from manifoldnet.manifolds.hyperbolic import Hyperbolic
from manifoldnet.manifolds.rotations import Rotations
from manifoldnet.manifolds.stiefel import Stiefel


class Bundle(ABC):
    """Points x of a space with momenta p, which the metric identifies with velocities at x.

    Attributes:
        base: the space.
        space: the Product of it and a Euclidean space, in which y = (x, p) is one flat point.
    """

    def __init__(self, base: Space, fibre: int) -> None:
        self.base = base
        self.space = Product([base, Euclidean(1, shape=(fibre,))])

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x and p."""
        x, p = self.space.split(y)
        return x, p

    @abstractmethod
    def momentum(self, x: Tensor, v: Tensor) -> Tensor:
        """p of shape (..., fibre) that belongs to the tangent vector v at x."""

    @abstractmethod
    def velocity(self, x: Tensor, p: Tensor) -> Tensor:
        """The tangent vector at x that belongs to p."""

    @abstractmethod
    def kinetic(self, x: Tensor, p: Tensor) -> Tensor:
        """Half of the squared length of the velocity, shape of the batch."""

    @abstractmethod
    def force(self, x: Tensor, generator: Tensor) -> Tensor:
        """p' for the tangent vector of a generator at x."""

    @abstractmethod
    def geodesic_field(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Generator of x' and p' of the geodesic flow."""

    @abstractmethod
    def geodesic_flow(self, h: Tensor, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """The point at time h, exactly; h is 0-dimensional or of the shape of the batch."""


class LeftTrivialised(Bundle):
    """T*G of a Lie group with a metric that is invariant on both sides: p has coordinates in the body's frame.

    Geodesics are x exp(h p) with constant p (Arnold 1966; Marsden and Ratiu 1999, section 13.8).
    """

    base: LieGroup

    def __init__(self, group: LieGroup) -> None:
        assert group.dim is not None
        super().__init__(group, group.dim)

    def momentum(self, x: Tensor, v: Tensor) -> Tensor:
        return self.base.Ad(self.base.inverse(x), self.base.coordinates_of(x, v))

    def velocity(self, x: Tensor, p: Tensor) -> Tensor:
        return self.base.tangent_of(self.base.Ad(x, p), x)

    def kinetic(self, x: Tensor, p: Tensor) -> Tensor:
        return 0.5 * p.square().sum(-1)

    def force(self, x: Tensor, generator: Tensor) -> Tensor:
        return self.base.Ad(self.base.inverse(x), generator)

    def geodesic_field(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.Ad(x, p), torch.zeros_like(p)

    def geodesic_flow(self, h: Tensor, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.compose(x, self.base.exp(h[..., None] * p)), p


class Translated(Bundle):
    """The bundle of a space on which a vector space of isometries acts simply: p is the generator of the velocity."""

    def __init__(self, base: Space) -> None:
        assert base.dim is not None
        super().__init__(base, base.dim)

    def momentum(self, x: Tensor, v: Tensor) -> Tensor:
        return self.base.lift(x, v)

    def velocity(self, x: Tensor, p: Tensor) -> Tensor:
        return self.base.action.tangent(p, x)

    def kinetic(self, x: Tensor, p: Tensor) -> Tensor:
        return 0.5 * p.square().sum(-1)

    def force(self, x: Tensor, generator: Tensor) -> Tensor:
        return generator

    def geodesic_field(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return p, torch.zeros_like(p)

    def geodesic_flow(self, h: Tensor, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.action.act_exp(h[..., None] * p, x), p


class Embedded(Bundle):
    """TM of any other space: p is the tangent vector itself, with the entries that the space gives it, flattened."""

    def __init__(self, base: Space) -> None:
        assert base.point_shape is not None
        super().__init__(base, torch.Size(base.point_shape).numel())

    def momentum(self, x: Tensor, v: Tensor) -> Tensor:
        return v.reshape((*v.shape[: v.dim() - self.base.ndim], -1))

    def velocity(self, x: Tensor, p: Tensor) -> Tensor:
        return p.reshape((*p.shape[:-1], *self.space.shapes[0]))

    def kinetic(self, x: Tensor, p: Tensor) -> Tensor:
        return 0.5 * self.base.inner(x, self.velocity(x, p))

    def force(self, x: Tensor, generator: Tensor) -> Tensor:
        return self.momentum(x, self.base.action.tangent(generator, x))

    def geodesic_field(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        v = self.velocity(x, p)
        return self.base.lift(x, v), self.momentum(x, acceleration(self.base, x, v))

    def geodesic_flow(self, h: Tensor, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        x1, v1 = geodesic(self.base, h, x, self.velocity(x, p))
        return x1, self.momentum(x1, v1)


def bundle_of(space: Space) -> Bundle:
    """The tangent bundle of the space, in the coordinates that suit it best.

    Raises:
        ValueError: if the space does not know its size.
    """
    if space.point_shape is None or space.dim is None:
        raise ValueError(f"space: wanted one of known size, such as SPD(n=3), got {space.name} without")
    if isinstance(space, LieGroup) and _is_bi_invariant(space):
        return LeftTrivialised(space)
    if isinstance(space, SPD) and space.metric in ("log-euclidean", "log-cholesky"):
        return Translated(space)
    return Embedded(space)


def _is_bi_invariant(group: Space) -> bool:
    if isinstance(group, Product):
        return all(map(_is_bi_invariant, group.spaces))
    if isinstance(group, Power):
        return _is_bi_invariant(group.space)
    return isinstance(group, Rotations | Circle) or (isinstance(group, Euclidean) and group.ndim == 1)


def acceleration(space: Space, x: Tensor, v: Tensor) -> Tensor:
    """The second derivative at s = 0 of s -> exp_x(s v) in the entries of points, shape of the points.

    A geodesic is exp(s g).x with the horizontal lift g of v on all spaces whose action is linear in the point, which
    gives the tangent of g at v; the others are differentiated.
    """
    if isinstance(space, Product):
        parts = zip(space.spaces, space.split(x), space.split(v), strict=True)
        return space.join([acceleration(*part) for part in parts])
    if isinstance(space, Power):
        return acceleration(space.space, x, v)
    if isinstance(space, Euclidean | Circle):
        return torch.zeros_like(v)
    linear = isinstance(space, Rotations | Sphere | Hyperbolic | Grassmann | Stiefel)
    if linear or (isinstance(space, SPD) and space.metric == "affine-invariant"):
        return space.action.tangent(space.lift(x, v), v)
    return _derivative(lambda s: _derivative(lambda r: space.expmap(x, r * v), s), torch.zeros_like(x))


def geodesic(space: Space, h: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """exp_x(h v) and the velocity there, for h of shape () or of the batch.

    Parallel transport follows the shortest geodesic, which is the one travelled where the injectivity radius is
    infinite. Elsewhere the generator of the geodesic still moves the end point, or else the point is differentiated.
    """
    size = h[(...,) + (None,) * space.ndim]
    x1 = space.expmap(x, size * v)
    if _is_orbit(space):
        radius = space.injectivity_radius()
        far = isinstance(radius, float) and math.isinf(radius)
        return x1, space.transp(x, x1, v) if far else space.action.tangent(space.lift(x, v), x1)
    return x1, _derivative(lambda s: space.expmap(x, s * v), size * torch.ones_like(x))


def _is_orbit(space: Space) -> bool:
    """Whether geodesics are orbits of one-parameter groups, of the horizontal lifts of their velocities."""
    if isinstance(space, Product):
        return all(map(_is_orbit, space.spaces))
    if isinstance(space, Power):
        return _is_orbit(space.space)
    return not isinstance(space, SE3) and not (isinstance(space, SPD) and space.metric == "bures-wasserstein")


def _derivative(f: Callable[[Tensor], Tensor], s: Tensor) -> Tensor:
    """The derivative of the curve f at s, whose entries are all the same time."""
    value: Tensor = torch.func.jvp(f, (s,), (torch.ones_like(s),))[1]
    return value
