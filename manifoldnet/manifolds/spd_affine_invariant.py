"""Symmetric positive definite matrices with the affine-invariant metric."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldnet.linalg import (
    affine_exp,
    affine_log,
    affine_squared_distance,
    cholesky,
    sym,
    sym_from_vector,
    sym_sqrtm,
    whiten,
)
from manifoldnet.manifolds.actions import Action, Congruence
from manifoldnet.manifolds.general_linear import GeneralLinear
from manifoldnet.manifolds.spd import SPD
from manifoldnet.manifolds.volume import log_sinhc


class AffineInvariantSPD(SPD):
    """SPD(n) with the affine-invariant metric.

    Points that are not positive definite give NaN, not an error; :meth:`check_point_on_manifold` finds them.
    """

    metric = "affine-invariant"
    reversible = False

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

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport e v e' with e = (y x^-1)^(1/2)."""
        factor = cholesky(x)
        root = sym_sqrtm(whiten(factor, y))
        half = factor @ root
        return sym(half @ whiten(factor, v) @ half.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return sym(x @ sym(u) @ x)

    def curvature_bounds(self) -> tuple[float, float]:
        """-1/2 and 0: K(u, v) = |[u, v]|^2 / -4 at the identity, at least -1/2 for orthonormal u and v; 0 for n = 1.

        The commutator of orthonormal symmetric matrices has a norm of at most sqrt(2) (Böttcher and Wenzel 2008).
        """
        return (0.0, 0.0) if self.n == 1 else (-0.5, 0.0)

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """Infinite: the space is complete, simply connected and not positively curved."""
        return math.inf

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        factor = cholesky(x.detach()).unsqueeze(-3)
        d = x.shape[-1] * (x.shape[-1] + 1) // 2
        return factor @ sym_from_vector(torch.eye(d, dtype=x.dtype, device=x.device)) @ factor.mT

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """f z f' with standard normal coordinates of z and x = f f'."""
        factor = cholesky(x)
        d = x.shape[-1] * (x.shape[-1] + 1) // 2
        z = torch.randn(*x.shape[:-2], d, dtype=x.dtype, device=x.device, generator=generator)
        return sym(factor @ sym_from_vector(z) @ factor.mT)

    def log_volume_density(self, x: Tensor, u: Tensor) -> Tensor:
        """sum_{i<j} log(sinh(a_ij) / a_ij), a_ij half the difference of eigenvalues of x^-1 u (Said et al. 2017).

        Derivatives of first order; those of second order are not finite where eigenvalues repeat.
        """
        values = torch.linalg.eigvalsh(whiten(cholesky(x), u))
        rows, columns = torch.tril_indices(x.shape[-1], x.shape[-1], -1, device=x.device)
        return log_sinhc(0.25 * (values[..., rows] - values[..., columns]).square()).sum(-1)

    def _volume_bound(self) -> tuple[int, float]:
        # the a_ij^2 sum up to at most n/4 |u|^2, and a sum of n(n-1)/2 values of a concave function is at most that
        # many times its value at their mean
        if self.n is None:
            raise ValueError(f"space: {self.name} must be made with n=... to have a bound of its volume density")
        return self.n * (self.n - 1) // 2, 0.5 / max(1, self.n - 1)
