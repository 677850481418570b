"""Symmetric positive definite matrices with the affine-invariant metric."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.linalg import affine_exp, affine_log, affine_squared_distance, cholesky, sym, sym_sqrtm, whiten
from manifoldnet.manifolds.actions import Action, Congruence
from manifoldnet.manifolds.general_linear import GeneralLinear
from manifoldnet.manifolds.spd import SPD


class AffineInvariantSPD(SPD):
    """SPD(n) with the affine-invariant metric.

    Points that are not positive definite give NaN, not an error; :meth:`check_point_on_manifold` finds them.
    """

    metric = "affine-invariant"

    @property
    def action(self) -> Action:
        return Congruence(GeneralLinear(self.n))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return affine_exp(x, u)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return affine_log(x, y)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """x + u + u x^-1 u / 2: second order, positive definite for every u, and free of exponentials."""
        u = sym(u)
        half = torch.linalg.solve_triangular(cholesky(x), u, upper=False)
        return sym(x + u + 0.5 * half.mT @ half)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        total = affine_squared_distance(x, y)
        return total[..., None, None] if keepdim else total

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        factor = cholesky(x)
        a = whiten(factor, u)
        return self._sum(a * (a if v is None else whiten(factor, v)), keepdim)

    def _mean_step(self, mean: Tensor, velocities: Tensor, weights: Tensor) -> Tensor:
        # curvature >= -1/2, so the Hessian of d^2 / 2 lies between 1 and c coth c <= sqrt(1 + c^2) with c^2 = d^2 / 2;
        # a step of length 1 does not converge for points farther than about 3 from their mean
        bound = (weights * (1 + 0.5 * self.inner(mean, velocities, keepdim=True)).sqrt()).sum(-3)
        return 2 / (1 + bound)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport e v e' with e = (y x^-1)^(1/2)."""
        factor = cholesky(x)
        root = sym_sqrtm(whiten(factor, y))
        half = factor @ root
        return sym(half @ whiten(factor, v) @ half.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return sym(x @ sym(u) @ x)
