"""Symmetric positive definite matrices under the affine-invariant and the log-Euclidean metric."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from manifoldnet.linalg import (
    sym,
    sym_dexpm,
    sym_dlogm,
    sym_expm,
    sym_from_vector,
    sym_logm,
    sym_sqrtm,
    sym_squared_log_norm,
    sym_to_vector,
)
from manifoldnet.manifolds.actions import Action, Congruence, LogarithmicTranslation
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.general_linear import GeneralLinear


class SPD(Space):
    """Symmetric positive definite n x n matrices (..., n, n).

    ``SPD(metric)`` makes the space with one of

    * ``"affine-invariant"``: <U, V>_X = tr(X^-1 U X^-1 V), invariant under X -> G X G' and inversion; generators
      are n x n matrices acting by congruence (Pennec, Fillard and Ayache 2006);
    * ``"log-euclidean"``: <U, V>_X = <Dlog U, Dlog V>, flat, invariant under similarity; generators are symmetric
      matrices added to the logarithm (Arsigny et al. 2007).

    Args:
        metric: name of the metric.
        n: size of the matrices, needed only inside a Product; None accepts every size.

    Raises:
        ValueError: for an unknown metric.
    """

    ndim = 2
    metric: str

    def __new__(cls, metric: str = "affine-invariant", n: int | None = None) -> SPD:
        if cls is SPD:
            if metric not in METRICS:
                raise ValueError(f"metric: wanted one of {', '.join(map(repr, METRICS))}, got {metric!r}")
            cls = METRICS[metric]
        return super().__new__(cls)

    def __init__(self, metric: str = "affine-invariant", n: int | None = None) -> None:
        super().__init__()
        self.n = n
        self.point_shape = None if n is None else (n, n)
        self.dim = None if n is None else n * (n + 1) // 2
        self.name = f"SPD({self.metric})"

    @abstractmethod
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor: ...

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return sym(u).expand(torch.broadcast_shapes(u.shape, x.shape))

    def projx(self, x: Tensor) -> Tensor:
        """Symmetric part with eigenvalues raised to at least 1e3 machine epsilons of the largest one."""
        values, vectors = torch.linalg.eigh(sym(x))
        floor = 1e3 * torch.finfo(x.dtype).eps * values.abs().amax(-1, keepdim=True)
        floor = floor.clamp_min(torch.finfo(x.dtype).tiny)
        return sym((vectors * torch.maximum(values, floor)[..., None, :]) @ vectors.mT)

    def _mean_guess(self, points: Tensor, weights: Tensor) -> Tensor:
        return sym_expm((weights * sym_logm(points)).sum(-3))

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Matrix exponentials of symmetric matrices with independent standard normal coordinates."""
        shape = self._size(*size)
        d = shape[-1] * (shape[-1] + 1) // 2
        return sym_expm(sym_from_vector(torch.randn(*shape[:-2], d, dtype=dtype, device=device, generator=generator)))

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        ok, reason = super()._check_shape(shape, name)
        if ok and shape[-1] != shape[-2]:
            return False, f"{name}: {self.name} wants square matrices, got shape {tuple(shape)}"
        return ok, reason

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        ok, reason = self._close(x, x.mT, "a matrix is not symmetric", atol, rtol)
        if not ok:
            return ok, reason
        smallest = torch.linalg.eigvalsh(x)[..., 0]
        bad = ~(smallest > 0)
        if bool(bad.any()):
            return False, f"{self.name}: {int(bad.sum())} matrices are not positive definite"
        return True, None

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return self._close(u, u.mT, "a tangent vector is not symmetric", atol, rtol)


class AffineInvariantSPD(SPD):
    """SPD(n) with the affine-invariant metric.

    With x = L L' every map is L (the map at the identity, conjugated by L^-1) L', so one Cholesky factor stands
    where other codes take a square root, and no gradient passes through eigenvectors.
    """

    metric = "affine-invariant"

    @property
    def action(self) -> Action:
        return Congruence(GeneralLinear(self.n))

    @staticmethod
    def _whiten(factor: Tensor, y: Tensor) -> Tensor:
        """L^-1 y L^-T for symmetric y."""
        half = torch.linalg.solve_triangular(factor, y, upper=False)
        return sym(torch.linalg.solve_triangular(factor, half.mT, upper=False))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(x)
        return sym(factor @ sym_expm(self._whiten(factor, sym(u))) @ factor.mT)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(x)
        return sym(factor @ sym_logm(self._whiten(factor, y)) @ factor.mT)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """x + u + u x^-1 u / 2: second order, positive definite for every u, and free of exponentials."""
        u = sym(u)
        half = torch.linalg.solve_triangular(torch.linalg.cholesky(x), u, upper=False)
        return sym(x + u + 0.5 * half.mT @ half)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        total = sym_squared_log_norm(self._whiten(torch.linalg.cholesky(x), y))
        return total[..., None, None] if keepdim else total

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        factor = torch.linalg.cholesky(x)
        a = self._whiten(factor, u)
        return self._sum(a * (a if v is None else self._whiten(factor, v)), keepdim)

    def _mean_step(self, mean: Tensor, velocities: Tensor, weights: Tensor) -> Tensor:
        # curvature >= -1/2, so the Hessian of d^2 / 2 lies between 1 and c coth c <= sqrt(1 + c^2) with c^2 = d^2 / 2;
        # a step of length 1 does not converge for points farther than about 3 from their mean
        bound = (weights * (1 + 0.5 * self.inner(mean, velocities, keepdim=True)).sqrt()).sum(-3)
        return 2 / (1 + bound)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport e v e' with e = (y x^-1)^(1/2)."""
        factor = torch.linalg.cholesky(x)
        root = sym_sqrtm(self._whiten(factor, y))
        half = factor @ root
        return sym(half @ self._whiten(factor, v) @ half.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return sym(x @ sym(u) @ x)


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


METRICS: dict[str, type[SPD]] = {space.metric: space for space in (AffineInvariantSPD, LogEuclideanSPD)}
