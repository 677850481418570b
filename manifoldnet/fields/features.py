"""Smooth features phi of the points of a space, and the generators of their Riemannian gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from manifoldnet.linalg import sym_dlogm, sym_from_vector, sym_logm, sym_to_vector, vee
from manifoldnet.manifolds import SO3, SPD, Circle, Euclidean, Hyperbolic, Power, Product, Space


class Features(ABC):
    """phi: space -> R^size.

    Attributes:
        size: None where only a point tells it.
        is_chart: whether phi is an isometry onto R^size.
    """

    size: int | None
    is_chart: bool = False

    @abstractmethod
    def value(self, y: Tensor) -> Tensor:
        """phi(y), shape (..., size)."""

    @abstractmethod
    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        """Generator of the Riemannian gradient at y of the function z -> <w, phi(z)>; w has shape (..., size)."""


class _Coordinates(Features):
    """The point itself, on R^d."""

    is_chart = True

    def __init__(self, space: Euclidean) -> None:
        if space.ndim != 1:
            raise ValueError(f"space: wanted Euclidean(ndim=1), got ndim={space.ndim}")
        self.size = space.dim

    def value(self, y: Tensor) -> Tensor:
        return y

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        return w


class _FirstHarmonic(Features):
    """(cos, sin) of an angle."""

    size = 2

    def value(self, y: Tensor) -> Tensor:
        return torch.stack([y.cos(), y.sin()], -1)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        return (w[..., 1] * y.cos() - w[..., 0] * y.sin()).unsqueeze(-1)


class _MatrixEntries(Features):
    """The nine entries of a rotation matrix; <W, hat(v) R> = 2 vee(W R') . v gives the gradient."""

    size = 9

    def value(self, y: Tensor) -> Tensor:
        return y.flatten(-2)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        return 2 * vee(w.unflatten(-1, (3, 3)) @ y.mT)


class _Logarithm(Features):
    """Orthonormal coordinates of the matrix logarithm."""

    def __init__(self, space: SPD) -> None:
        self.space = space
        self.size = space.dim
        self.is_chart = space.metric == "log-euclidean"

    def value(self, y: Tensor) -> Tensor:
        return sym_to_vector(sym_logm(y))

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        if self.space.metric == "log-euclidean":
            return w
        slope = sym_dlogm(y, sym_from_vector(w))
        if self.space.metric == "affine-invariant":  # y G y lifted to y G / 2
            return (0.5 * y @ slope).flatten(-2)
        return self.space.lift(y, self.space.egrad2rgrad(y, slope))


class _PoincareBall(Features):
    """The coordinates p = r x_s / (x_0 + r) of the Poincaré ball, whose gradients stay bounded far out."""

    def __init__(self, space: Hyperbolic) -> None:
        self.space = space
        self.size = space.n

    def value(self, y: Tensor) -> Tensor:
        return self.space.to_poincare(y)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        height = y[..., :1] + self.space.radius
        slope = (w * self.space.to_poincare(y)).sum(-1, keepdim=True)
        ambient = torch.cat([-slope, self.space.radius * w], -1) / height
        return self.space.lift(y, self.space.egrad2rgrad(y, ambient))


class _Entries(Features):
    """The entries of the point, on any other space embedded in R^N.

    With the tangent vector u = egrad2rgrad(y, W), the Riemannian gradient of z -> <W, z>, and the horizontal lift,
    the generator is the one that moves y along u.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.size = None if space.point_shape is None else int(torch.Size(space.point_shape).numel())

    def value(self, y: Tensor) -> Tensor:
        return y.flatten(-self.space.ndim)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        ambient = w.reshape((*w.shape[:-1], *y.shape[y.dim() - self.space.ndim :]))
        return self.space.lift(y, self.space.egrad2rgrad(y, ambient))


class _Blocks(Features):
    """The factors' features one after the other."""

    def __init__(self, space: Product) -> None:
        self.space = space
        self.parts = [features_of(factor) for factor in space.spaces]
        self.sizes = [part.size for part in self.parts if part.size is not None]  # a Product knows its shapes
        self.size = sum(self.sizes)
        self.is_chart = all(part.is_chart for part in self.parts)

    def value(self, y: Tensor) -> Tensor:
        points = self.space.split(y)
        return torch.cat([part.value(p) for part, p in zip(self.parts, points, strict=True)], -1)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        pairs = zip(self.parts, self.space.split(y), w.split(self.sizes, -1), strict=True)
        return torch.cat([part.gradient(p, q) for part, p, q in pairs], -1)


class _Copies(Features):
    """The copies' features one after the other."""

    def __init__(self, space: Power) -> None:
        self.one = features_of(space.space)
        self.n = space.n
        self.size = None if self.one.size is None else space.n * self.one.size
        self.is_chart = self.one.is_chart

    def value(self, y: Tensor) -> Tensor:
        return self.one.value(y).flatten(-2)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        return self.one.gradient(y, w.unflatten(-1, (self.n, -1))).flatten(-2)


def features_of(space: Space) -> Features:
    """The default features of a space.

    Coordinates on Euclidean spaces, (cos, sin) on the circle, log-coordinates on SPD matrices, those of the
    Poincaré ball on hyperbolic space, the features of the factors on products and powers, and the entries of the point
    everywhere else.
    """
    if isinstance(space, Euclidean):
        return _Coordinates(space)
    if isinstance(space, Circle):
        return _FirstHarmonic()
    if isinstance(space, SO3):
        return _MatrixEntries()
    # singular matrices are at a finite Bures-Wasserstein distance: the logarithm would drive flows into them
    if isinstance(space, SPD) and space.metric != "bures-wasserstein":
        return _Logarithm(space)
    if isinstance(space, Hyperbolic):
        return _PoincareBall(space)
    if isinstance(space, Product):
        return _Blocks(space)
    if isinstance(space, Power):
        return _Copies(space)
    return _Entries(space)
