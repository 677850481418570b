"""The circle S^1 = SO(2), a point being an angle."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import wrap_angle
from manifoldnet.manifolds.group import LieGroup

CORRECTIONS = 6


class Circle(LieGroup):
    """Angles in radians in (-pi, pi], one number a point (ndim = 0), with arc length as distance.

    Coordinates of the algebra have shape (..., 1): the angular velocity.
    """

    name = "Circle"
    ndim = 0
    dim = 1
    point_shape = ()
    is_compact = True

    def exp(self, v: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
        return wrap_angle(v.squeeze(-1))

    def log(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 1"]:
        return wrap_angle(x).unsqueeze(-1)

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return wrap_angle(x + y)

    def inverse(self, x: Tensor) -> Tensor:
        return wrap_angle(-x)

    def hat(self, v: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
        return v.squeeze(-1)

    def vee(self, m: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 1"]:
        return m.unsqueeze(-1)

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return v.squeeze(-1).expand(torch.broadcast_shapes(v.shape[:-1], x.shape))

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        return u.expand(torch.broadcast_shapes(u.shape, x.shape)).unsqueeze(-1)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return wrap_angle(x + u)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The shorter signed arc from x to y, in (-pi, pi]."""
        return wrap_angle(y - x)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = u * (u if v is None else v)
        return product.expand(torch.broadcast_shapes(product.shape, x.shape))

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return v.expand(torch.broadcast_shapes(v.shape, x.shape, y.shape))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return u.expand(torch.broadcast_shapes(u.shape, x.shape))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self.proju(x, u)

    def projx(self, x: Tensor) -> Tensor:
        return wrap_angle(x)

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean direction, then corrections by the weighted average of the arcs.

        The first correction is the last one unless it carries the mean past the antipode of an angle. Unique for
        angles within a half circle; derivatives are those of the weighted average.
        """
        weights = self._mean_weights(points, weights)
        mean = self._mean_guess(points, weights)
        for _ in range(CORRECTIONS):
            start = mean.detach()
            mean = self.expmap(start, (weights * self.logmap(start.unsqueeze(-1), points)).sum(-1))
        return mean

    def _mean_guess(self, points: Tensor, weights: Tensor) -> Tensor:
        # angles cannot be averaged as numbers: the direction of the mean phasor can
        return torch.atan2((weights * points.sin()).sum(-1), (weights * points.cos()).sum(-1))

    def curvature_bounds(self) -> tuple[float, float]:
        """0: a curve has no sections."""
        return 0.0, 0.0

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi."""
        return math.pi

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        return torch.ones_like(x).unsqueeze(-1)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal velocities."""
        return torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Uniform angles."""
        uniform = torch.rand(self._size(*size), dtype=dtype, device=device, generator=generator)
        return math.pi - 2 * math.pi * uniform

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        return self._close(x.clamp(-math.pi, math.pi), x, "an angle lies outside (-pi, pi]", atol, rtol)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return True, None
