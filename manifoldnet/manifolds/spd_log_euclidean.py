"""Symmetric positive definite matrices with the log-Euclidean metric."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldnet.linalg import (
    sym_dexpm,
    sym_dlogm,
    sym_expm,
    sym_from_vector,
    sym_logm,
    sym_to_vector,
)
from manifoldnet.manifolds.actions import Action, LogarithmicTranslation
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.spd import SPD


class LogEuclideanSPD(SPD):
    """SPD(n) with the metric that makes the matrix logarithm an isometry onto the symmetric matrices."""

    metric = "log-euclidean"

    @property
    def action(self) -> Action:
        shape = None if self.dim is None else (self.dim,)
        return LogarithmicTranslation(Euclidean(1, shape))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return sym_expm(sym_logm(x) + sym_dlogm(x, u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        log_x = sym_logm(x)
        return sym_dexpm(log_x, sym_logm(y) - log_x)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        return self._sum((sym_logm(y) - sym_logm(x)).square(), keepdim)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        a = sym_dlogm(x, u)
        return self._sum(a * (a if v is None else sym_dlogm(x, v)), keepdim)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return sym_dexpm(sym_logm(y), sym_dlogm(x, v))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        # Dexp is self-adjoint, so the inverse metric is Dexp applied twice
        log_x = sym_logm(x)
        return sym_dexpm(log_x, sym_dexpm(log_x, u))

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The closed form exp(sum_i w_i log x_i)."""
        logs = sym_to_vector(sym_logm(points))
        if weights is None:
            return sym_expm(sym_from_vector(logs.mean(-2)))
        weights = weights / weights.sum(-1, keepdim=True)
        return sym_expm(sym_from_vector((weights.unsqueeze(-1) * logs).sum(-2)))

    def curvature_bounds(self) -> tuple[float, float]:
        """0 everywhere: the space is flat."""
        return 0.0, 0.0

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """Infinite."""
        return math.inf

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Symmetric matrices with standard normal coordinates, carried from the logarithm to x."""
        d = x.shape[-1] * (x.shape[-1] + 1) // 2
        z = torch.randn(*x.shape[:-2], d, dtype=x.dtype, device=x.device, generator=generator)
        return sym_dexpm(sym_logm(x), sym_from_vector(z))
