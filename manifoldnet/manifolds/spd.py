"""Symmetric positive definite matrices; each metric is a subclass in a file of its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from manifoldnet.linalg import (
    sym,
    sym_expm,
    sym_from_vector,
    sym_logm,
)
from manifoldnet.manifolds.base import Space

METRICS: dict[str, type[SPD]] = {}


class SPD(Space):
    """Symmetric positive definite n x n matrices (..., n, n).

    ``SPD(metric)`` makes the space with one of

    * ``"affine-invariant"``: <U, V>_X = tr(X^-1 U X^-1 V), invariant under X -> G X G' and inversion; generators
      are n x n matrices acting by congruence (Pennec, Fillard and Ayache 2006);
    * ``"log-euclidean"``: <U, V>_X = <Dlog U, Dlog V>, flat, invariant under similarity; generators are symmetric
      matrices added to the logarithm (Arsigny et al. 2007);
    * ``"log-cholesky"``: flat in the entries of the Cholesky factor and the logarithms of its diagonal, which are
      also the generators; its mean has a closed form without eigenvalues (Lin 2019);
    * ``"bures-wasserstein"``: the distance of optimal transport between centred normal distributions, of curvature
      >= 0 and finite up to singular matrices; generators act by congruence (Bhatia, Jain and Lim 2019).

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

    def __init_subclass__(cls) -> None:
        METRICS[cls.metric] = cls

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
        # errors of eigenvalues grow with the largest; Cholesky's pivots tell of graded matrices as well
        bad = torch.linalg.cholesky_ex(x).info != 0
        if bool(bad.any()):
            return False, f"{self.name}: {int(bad.sum())} matrices are not positive definite"
        return True, None

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return self._close(u, u.mT, "a tangent vector is not symmetric", atol, rtol)
