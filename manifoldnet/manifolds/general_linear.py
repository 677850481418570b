"""GL(n), the group that moves SPD(n) by congruence."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.manifolds.group import Group


class GeneralLinear(Group):
    """Invertible n x n matrices; coordinates of the algebra are matrices flattened to (..., n * n).

    Args:
        n: size of the matrices; None reads it off the tensors.
    """

    closed_dexpinv = False

    def __init__(self, n: int | None = None) -> None:
        self.dim = None if n is None else n * n
        self.point_shape = None if n is None else (n, n)

    def hat(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
        n = math.isqrt(v.shape[-1])
        if n * n != v.shape[-1]:
            raise ValueError(f"v: the last dimension must be n*n for some n, got shape {tuple(v.shape)}")
        return v.unflatten(-1, (n, n))

    def vee(self, m: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
        return m.flatten(-2)

    def exp(self, v: Tensor) -> Tensor:
        return expm(self.hat(v))

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def inverse(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        a, b = self.hat(u), self.hat(v)
        return self.vee(a @ b - b @ a)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return self.vee(torch.linalg.solve(x, x @ self.hat(v), left=False))

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return (self._dexp_matrix(u) @ v.unsqueeze(-1)).squeeze(-1)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.linalg.solve(self._dexp_matrix(u), v.unsqueeze(-1)).squeeze(-1)

    def _dexp_matrix(self, u: Tensor) -> Tensor:
        """The operator (e^ad - 1)/ad, as a block of the exponential of [[ad, 1], [0, 0]]."""
        a = self.hat(u)
        n = a.shape[-1]
        eye = torch.eye(n, dtype=u.dtype, device=u.device)
        left = torch.einsum("...ik,jl->...ijkl", a, eye)
        right = torch.einsum("ik,...lj->...ijkl", eye, a)
        ad = (left - right).flatten(-4, -3).flatten(-2)
        big = torch.cat([ad, torch.eye(n * n, dtype=u.dtype, device=u.device).expand_as(ad)], -1)
        big = torch.cat([big, torch.zeros_like(big)], -2)
        return expm(big)[..., : n * n, n * n :]
