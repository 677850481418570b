"""Euclidean space, the group of translations."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.manifolds.group import LieGroup


class Euclidean(LieGroup):
    """R^d, or arrays with ``ndim`` dimensions, under addition.

    A generator is the tangent vector itself and has the shape of the point, so on this space every Lie-group
    integrator is its classical namesake.

    Args:
        ndim: number of trailing dimensions that make one point.
        shape: their sizes, needed only inside a Product; None accepts every size.
    """

    name = "Euclidean"

    def __init__(self, ndim: int = 1, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        if shape is not None and len(shape) != ndim:
            raise ValueError(f"shape: wanted {ndim} sizes because ndim={ndim}, got {shape}")
        self.ndim = self.coordinate_ndim = ndim
        self.point_shape = shape
        self.dim = None if shape is None else int(torch.Size(shape).numel())

    def exp(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return v

    def log(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def inverse(self, x: Tensor) -> Tensor:
        return -x

    def left_jacobian(self, u: Tensor) -> Tensor:
        """The identity (..., d, d), d the number of entries of a point; so are the other three."""
        first = u.dim() - self.ndim
        d = u.shape[first:].numel()
        return torch.eye(d, dtype=u.dtype, device=u.device).expand(*u.shape[:first], d, d)

    right_jacobian = left_jacobian_inverse = right_jacobian_inverse = left_jacobian

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Zeros of shape (*shape, *point_shape).

        Raises:
            ValueError: if the space was made without ``shape``.
        """
        if self.point_shape is None:
            raise ValueError("identity: make the space with Euclidean(ndim, shape=...) so that its size is known")
        return torch.zeros(*shape, *self.point_shape, dtype=dtype, device=device)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return v.expand(torch.broadcast_shapes(v.shape, x.shape))

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        return u.expand(torch.broadcast_shapes(u.shape, x.shape))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return y - x

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = u * (u if v is None else v)
        return self._sum(product.expand(torch.broadcast_shapes(product.shape, x.shape)), keepdim)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return v.expand(torch.broadcast_shapes(v.shape, x.shape, y.shape))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return u.expand(torch.broadcast_shapes(u.shape, x.shape))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self.proju(x, u)

    def projx(self, x: Tensor) -> Tensor:
        return x

    def curvature_bounds(self) -> tuple[float, float]:
        """0 everywhere."""
        return 0.0, 0.0

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """Infinite."""
        return math.inf

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        point = x.shape[x.dim() - self.ndim :]
        size = point.numel()
        basis = torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, *point)
        return basis.expand(*x.shape[: x.dim() - self.ndim], *basis.shape)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal entries."""
        return torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The weighted average."""
        axis = -(self.ndim + 1)
        return points.mean(axis) if weights is None else (self._mean_weights(points, weights) * points).sum(axis)

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Standard normal entries."""
        return torch.randn(self._size(*size), dtype=dtype, device=device, generator=generator)

    def _plain(self, point: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
        return torch.zeros(point, dtype=dtype, device=device)

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        return True, None

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return True, None
