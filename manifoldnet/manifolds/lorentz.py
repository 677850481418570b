"""SO+(1, n), the group of boosts and rotations, and its action on the hyperboloid."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.linalg.orthogonal import skew_from_vector, skew_to_vector
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.matrix_group import MatrixGroup


class LorentzGroup(MatrixGroup):
    """Matrices (..., n+1, n+1) that keep -x_0 y_0 + x_1 y_1 + ... + x_n y_n, the direction of x_0 and orientation.

    Coordinates of the algebra, shape (..., n(n+1)/2): the n rapidities of boosts along the axes, then the n(n-1)/2
    angular velocities below the diagonal by rows, in radians, as for ``SO(n)`` with n other than 3.

    Args:
        n: dimension of the space, at least 1; the matrices have n + 1 rows.

    Raises:
        ValueError: for n < 1.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n: wanted a dimension of at least 1, got {n}")
        self.n = n
        self.dim = n * (n + 1) // 2
        self.point_shape = (n + 1, n + 1)

    def hat(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch m m"]:
        boost = v[..., : self.n]
        turn = torch.zeros_like(boost).unsqueeze(-1) if self.n == 1 else skew_from_vector(v[..., self.n :])
        first = torch.cat([torch.zeros_like(boost[..., :1]), boost], -1).unsqueeze(-2)
        return torch.cat([first, torch.cat([boost.unsqueeze(-1), turn], -1)], -2)

    def vee(self, m: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch d"]:
        return torch.cat([0.5 * (m[..., 0, 1:] + m[..., 1:, 0]), skew_to_vector(m[..., 1:, 1:])], -1)

    def inverse(self, x: Tensor) -> Tensor:
        """J x' J with J = diag(-1, 1, ..., 1)."""
        sign = torch.ones(self.n + 1, dtype=x.dtype, device=x.device)
        sign[0] = -1.0
        return sign.unsqueeze(-1) * x.mT * sign


class LorentzAction(Action):
    """SO+(1, n) acting on the hyperboloid -x_0^2 + |x_s|^2 = -radius^2 by x.y = x y."""

    def __init__(self, n: int, radius: float) -> None:
        self.group: LorentzGroup = LorentzGroup(n)
        self.radius = radius

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        space = (x[..., 1:, :] @ y.unsqueeze(-1)).squeeze(-1)
        return with_time(space, self.radius)

    def act_exp(self, v: Tensor, y: Tensor) -> Tensor:
        """exp(v) y = b exp(b^-1 v b) (r, 0, ..., 0) with the boost b from the origin to y.

        The conjugated generator is as small as the motion is short, the given one up to y_0^2 / r^2 times larger.
        """
        boost = self._boost(y)
        moved = expm(self.group.inverse(boost) @ self.group.hat(v) @ boost)[..., :1]
        return with_time(self.radius * (boost[..., 1:, :] @ moved).squeeze(-1), self.radius)

    def _boost(self, y: Tensor) -> Tensor:
        """The boost that moves the origin (r, 0, ..., 0) to y."""
        r, y0, ys = self.radius, y[..., :1], y[..., 1:]
        eye = torch.eye(ys.shape[-1], dtype=y.dtype, device=y.device)
        space = eye + ys.unsqueeze(-1) * (ys / (r * (y0 + r))).unsqueeze(-2)
        return torch.cat([y.unsqueeze(-2) / r, torch.cat([ys.unsqueeze(-1) / r, space], -1)], -2)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return (self.group.hat(v) @ y.unsqueeze(-1)).squeeze(-1)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        """The transvection along ``tangent``, (y u' - u y') J / radius^2, whose motion is the geodesic."""
        y0, ys, u0, us = y[..., :1], y[..., 1:], tangent[..., :1], tangent[..., 1:]
        boost = us * y0 - ys * u0
        outer = ys.unsqueeze(-1) * us.unsqueeze(-2)
        turn = skew_to_vector(outer - outer.mT)
        return torch.cat([boost, turn], -1) / self.radius**2


def with_time(space: Float[Tensor, "*batch n"], radius: float) -> Float[Tensor, "*batch m"]:
    """The point (x_0, x_s) of the hyperboloid with the spatial part x_s."""
    time = (space.square().sum(-1, keepdim=True) + radius**2).sqrt()
    return torch.cat([time, space], -1)
