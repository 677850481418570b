"""The rotation group SO(3)."""

from __future__ import annotations

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
from manifoldnet.linalg.turn import rotation_turn
from manifoldnet.manifolds.rotations import Rotations


class SO3(Rotations):
    """Rotation matrices (..., 3, 3) with the bi-invariant metric tr(U'V)/2: the distance is the rotation angle.

    Coordinates of the algebra are rotation vectors (..., 3) in radians.
    """

    name = "SO3"
    dim = 3
    point_shape = (3, 3)

    def exp(self, v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
        return rotation_expm(v)

    def exp_compose(self, v: Float[Tensor, "*#batch 3"], y: Float[Tensor, "*#batch 3 3"]) -> Tensor:
        return rotation_turn(v, y)

    def log(self, x: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
        return rotation_logm(x)

    def hat(self, v: Tensor) -> Tensor:
        return hat(v)

    def vee(self, m: Tensor) -> Tensor:
        return vee(m)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.linalg.cross(u, v) if u.dim() == v.dim() else torch.linalg.cross(*torch.broadcast_tensors(u, v))

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return (x @ v.unsqueeze(-1)).squeeze(-1)

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

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return x @ rotation_expm(vee(x.mT @ u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ hat(rotation_logm(x.mT @ y))

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic from x to y = x exp(w): y exp(-w/2) x'v exp(w/2)."""
        half = rotation_expm(0.5 * rotation_logm(x.mT @ y))
        body = vee(x.mT @ v)
        return y @ hat((half.mT @ body.unsqueeze(-1)).squeeze(-1))

    def curvature_bounds(self) -> tuple[float, float]:
        """1/4 everywhere: |[u, v]|^2 / 4 for orthonormal u, v in a bi-invariant metric (Milnor 1976)."""
        return 0.25, 0.25

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
