"""The rotation group SO(3)."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import (
    hat,
    rotation_expm,
    rotation_from_quaternion,
    rotation_logm,
    so3_dexp,
    so3_dexpinv,
    vee,
)
from manifoldnet.manifolds.group import LieGroup


class SO3(LieGroup):
    """Rotation matrices (..., 3, 3) with the bi-invariant metric tr(U'V)/2: the distance is the rotation angle.

    Coordinates of the algebra are rotation vectors (..., 3) in radians.
    """

    name = "SO3"
    ndim = 2
    is_compact = True
    dim = 3
    point_shape = (3, 3)

    def exp(self, v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
        return rotation_expm(v)

    def log(self, x: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
        return rotation_logm(x)

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def inverse(self, x: Tensor) -> Tensor:
        return x.mT

    def hat(self, v: Tensor) -> Tensor:
        return hat(v)

    def vee(self, m: Tensor) -> Tensor:
        return vee(m)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.linalg.cross(*torch.broadcast_tensors(u, v))

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return (x @ v.unsqueeze(-1)).squeeze(-1)

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        """The adjoint action itself: rotations keep the inner product of the coordinates."""
        return self.Ad(x, mu)

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        return self.bracket(u, mu)

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return so3_dexp(u, v)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return so3_dexpinv(u, v)

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.eye(3, dtype=dtype, device=device).expand(*shape, 3, 3)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return hat(v) @ x

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        return vee(u @ x.mT)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return x @ rotation_expm(vee(x.mT @ u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ hat(rotation_logm(x.mT @ y))

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map, then one Newton step to the orthogonal matrices: 10^4 float32 steps do not drift."""
        y = self.expmap(x, u)
        return 1.5 * y - 0.5 * y @ (y.mT @ y)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = 0.5 * u * (u if v is None else v)
        return self._sum(product.expand(torch.broadcast_shapes(product.shape, x.shape)), keepdim)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic from x to y = x exp(w): y exp(-w/2) x'v exp(w/2)."""
        half = rotation_expm(0.5 * rotation_logm(x.mT @ y))
        body = vee(x.mT @ v)
        return y @ hat((half.mT @ body.unsqueeze(-1)).squeeze(-1))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        w = x.mT @ u
        return 0.5 * x @ (w - w.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        w = x.mT @ u
        return x @ (w - w.mT)

    def projx(self, x: Tensor) -> Tensor:
        """The nearest rotation in the Frobenius norm."""
        u, _, vh = torch.linalg.svd(x)
        sign = torch.linalg.det(u @ vh).sign()
        return torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1) @ vh

    def curvature_bounds(self) -> tuple[float, float]:
        """1/4 everywhere: |[u, v]|^2 / 4 for orthonormal u, v in a bi-invariant metric (Milnor 1976)."""
        return 0.25, 0.25

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi: beyond it the other way round is shorter."""
        return math.pi

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        return x.detach().unsqueeze(-3) @ hat(torch.eye(3, dtype=x.dtype, device=x.device))

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """x hat(v) with standard normal v."""
        v = torch.randn(x.shape[:-1], dtype=x.dtype, device=x.device, generator=generator)
        return x @ hat(v)

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Rotations from the Haar measure."""
        shape = self._size(*size)
        return rotation_from_quaternion(torch.randn(*shape[:-2], 4, dtype=dtype, device=device, generator=generator))

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        eye = torch.eye(3, dtype=x.dtype, device=x.device).expand_as(x)
        ok, reason = self._close(x.mT @ x, eye, "x'x is not the identity", atol, rtol)
        if ok and not bool((torch.linalg.det(x) > 0).all()):
            return False, f"{self.name}: a matrix has determinant -1"
        return ok, reason

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        w = x.mT @ u
        return self._close(w, -w.mT, "x'u is not skew", atol, rtol)
