"""Smooth features phi of the points of a space, and the generators of their Riemannian gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from manifoldnet.linalg import sym_dlogm, sym_from_vector, sym_logm, sym_to_vector, vee
from manifoldnet.manifolds import SO3, SPD, Circle, Euclidean, Power, Product, Space


class Features(ABC):
    """phi: space -> R^size; the size is None where only a point tells it."""

    size: int | None

    @abstractmethod
    def value(self, y: Tensor) -> Tensor:
        """phi(y), shape (..., size)."""

    @abstractmethod
    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        """Generator of the Riemannian gradient at y of the function z -> <w, phi(z)>; w has shape (..., size)."""


class _Coordinates(Features):
    """The point itself, on R^d."""

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
        self.size = space.dim
        self.flat = space.metric == "log-euclidean"

    def value(self, y: Tensor) -> Tensor:
        return sym_to_vector(sym_logm(y))

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        if self.flat:
            return w
        # affine-invariant gradient y G y with G = Dlog_y(W), lifted to y G / 2
        return (0.5 * y @ sym_dlogm(y, sym_from_vector(w))).flatten(-2)


class _Blocks(Features):
    """The factors' features one after the other."""

    def __init__(self, space: Product) -> None:
        self.space = space
        self.parts = [features_of(factor) for factor in space.spaces]
        self.sizes = [part.size for part in self.parts if part.size is not None]  # a Product knows its shapes
        self.size = sum(self.sizes)

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

    def value(self, y: Tensor) -> Tensor:
        return self.one.value(y).flatten(-2)

    def gradient(self, y: Tensor, w: Tensor) -> Tensor:
        return self.one.gradient(y, w.unflatten(-1, (self.n, -1))).flatten(-2)


def features_of(space: Space) -> Features:
    """The default features of a space: coordinates, (cos, sin), matrix entries, log-coordinates, or their products.

    Raises:
        ValueError: for a space without default features.
    """
    if isinstance(space, Euclidean):
        return _Coordinates(space)
    if isinstance(space, Circle):
        return _FirstHarmonic()
    if isinstance(space, SO3):
        return _MatrixEntries()
    if isinstance(space, SPD):
        return _Logarithm(space)
    if isinstance(space, Product):
        return _Blocks(space)
    if isinstance(space, Power):
        return _Copies(space)
    raise ValueError(f"space: no default features on {space.name}")
