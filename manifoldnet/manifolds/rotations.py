"""What all rotation groups have in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldnet.linalg.orthogonal import newton_to_orthogonal, skew
from manifoldnet.manifolds.group import LieGroup


class Rotations(LieGroup):
    """Rotation matrices (..., n, n) with the bi-invariant metric tr(U'V)/2."""

    ndim = 2
    is_compact = True

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def inverse(self, x: Tensor) -> Tensor:
        return x.mT

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        """The adjoint action itself: rotations keep the inner product of the coordinates."""
        return self.Ad(x, mu)

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        return self.bracket(u, mu)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return self.hat(v) @ x

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        return self.vee(u @ x.mT)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map, then one Newton step to the orthogonal matrices: 10^4 float32 steps do not drift."""
        return newton_to_orthogonal(self.expmap(x, u))

    def settle(self, x: Tensor) -> Tensor:
        """In float32 and below, one Newton step to the orthogonal matrices."""
        return newton_to_orthogonal(x) if torch.finfo(x.dtype).eps > 1e-10 else x

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = 0.5 * u * (u if v is None else v)
        return self._sum(product.expand(torch.broadcast_shapes(product.shape, x.shape)), keepdim)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return x @ skew(x.mT @ u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return 2 * x @ skew(x.mT @ u)

    def projx(self, x: Tensor) -> Tensor:
        """The nearest rotation in the Frobenius norm."""
        u, _, vh = torch.linalg.svd(x)
        sign = torch.linalg.det(u @ vh).sign()
        return torch.cat([u[..., :-1], u[..., -1:] * sign[..., None, None]], -1) @ vh

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi: a half turn in a plane is reached from both sides."""
        return math.pi

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(x)
        ok, reason = self._close(x.mT @ x, eye, "x'x is not the identity", atol, rtol)
        if ok and not bool((torch.linalg.det(x) > 0).all()):
            return False, f"{self.name}: a matrix has determinant -1"
        return ok, reason

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        w = x.mT @ u
        return self._close(w, -w.mT, "x'u is not skew", atol, rtol)
