"""Groups of matrices: what follows from the linear map :meth:`hat` of coordinates to the algebra alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.manifolds.group import Group


class MatrixGroup(Group):
    """A group of n x n matrices under multiplication.

    A subclass brings ``hat``, which is linear from coordinates (..., dim) to its algebra of matrices (..., n, n), and
    ``vee``, its inverse there; it overrides what its matrices have a shorter formula for. Every method broadcasts and
    is differentiable to every order.
    """

    def exp(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
        return expm(self.hat(v))

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def inverse(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        a, b = self.hat(u), self.hat(v)
        return self.vee(a @ b - b @ a)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return self.vee(x @ self.hat(v) @ self.inverse(x))

    def ad_matrix(self, u: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The matrix of v -> [u, v] in coordinates."""
        basis = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        return self.bracket(u.unsqueeze(-2), basis).mT

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return (self._dexp_matrix(u) @ v.unsqueeze(-1)).squeeze(-1)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        # the forward derivative of torch.linalg.solve is NaN under vmap (torch 2.13), and inv waits for a GPU
        return (torch.linalg.inv_ex(self._dexp_matrix(u))[0] @ v.unsqueeze(-1)).squeeze(-1)

    def _dexp_matrix(self, u: Tensor) -> Tensor:
        """The operator (e^ad - 1)/ad, as a block of the exponential of [[ad, 1], [0, 0]] (Van Loan 1978)."""
        ad = self.ad_matrix(u)
        d = ad.shape[-1]
        big = torch.cat([ad, torch.eye(d, dtype=u.dtype, device=u.device).expand_as(ad)], -1)
        big = torch.cat([big, torch.zeros_like(big)], -2)
        return expm(big)[..., :d, d:]
