"""The Stiefel manifold of orthonormal frames."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.linalg.orthogonal import newton_to_orthogonal, skew
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.rotation_actions import RotationOfFrames
from manifoldnet.manifolds.special_orthogonal import SO
from manifoldnet.manifolds.stiefel_logarithm import logarithm

# of the series of exp(-M/2): its operator norm is below 3 between any two points
TRANSPORT_TERMS = 36


class Stiefel(Space):
    """Matrices (..., n, p) with orthonormal columns and the canonical metric <U, V>_X = tr(U'(1 - XX'/2)V).

    It is the metric for which the rotations of SO(n) map to the frames by a Riemannian submersion, up to scale that of
    the quotient SO(n)/SO(n-p) (Edelman, Arias and Smith 1998): a geodesic is exp(tA) X with the horizontal lift
    A = (1 - XX'/2)UX' - XU'(1 - XX'/2). For p = 1 this is the unit sphere, for p = n the group O(n) with the metric
    of :class:`SO`.

    ``logmap`` and with it ``dist`` and ``transp`` iterate a fixed number of times. They reach rounding well beyond the
    injectivity radius for most pairs, and return a geodesic, if not always the shortest, for the others. Their
    derivatives are exact to second order. Between the two components of O(n) they are NaN.

    Args:
        n: number of rows; None accepts every size.
        p: number of columns; None accepts every size.

    Raises:
        ValueError: for a size below 1, p > n, or one of the two sizes alone.
    """

    ndim = 2
    is_compact = True

    def __init__(self, n: int | None = None, p: int | None = None) -> None:
        super().__init__()
        if (n is None) != (p is None):
            raise ValueError(f"n, p: wanted both sizes or none, got n={n}, p={p}")
        if n is not None and p is not None and not 1 <= p <= n:
            raise ValueError(f"p: wanted 1 <= p <= n, got n={n}, p={p}")
        self.n = n
        self.p = p
        self.point_shape = None if n is None or p is None else (n, p)
        self.dim = None if n is None or p is None else n * p - p * (p + 1) // 2
        self.name = "Stiefel" if n is None else f"Stiefel({n}, {p})"

    @property
    def action(self) -> RotationOfFrames:
        return RotationOfFrames(self.n)

    def expmap(self, x: Float[Tensor, "*#batch n p"], u: Float[Tensor, "*#batch n p"]) -> Float[Tensor, "*#batch n p"]:
        return _turn(x, u, x)

    def logmap(self, x: Float[Tensor, "*#batch n p"], y: Float[Tensor, "*#batch n p"]) -> Float[Tensor, "*#batch n p"]:
        x, y = torch.broadcast_tensors(x, y)
        found = logarithm(x, y)
        u = found.u
        # each Newton step with the constant inverse makes one more order of derivative exact
        for _ in range(2):
            u = self.proju(x, u - found.pull(self.expmap(x, u) - y))
        return u

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Cayley's transform of the lift (Wen and Yin 2013), which agrees with the exponential map to second order.

        One Newton step to the orthonormal frames follows, so that 10^4 float32 steps do not drift.
        """
        return newton_to_orthogonal(_cayley(x, u, x))

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`retr`, and v turned by the same rotation: isometric, and no logarithm is needed."""
        y, moved = _cayley(x, u, torch.cat(torch.broadcast_tensors(x, v), -1)).tensor_split(2, -1)
        y = newton_to_orthogonal(y)
        return y, self.proju(y, moved)

    def transp_follow_retr(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return self.retr_transp(x, u, v)[1]

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.expmap(x, u), self.transp_follow_expmap(x, u, v)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        v = u if v is None else v
        return self._sum(u * v, keepdim) - 0.5 * self._sum((x.mT @ u) * (x.mT @ v), keepdim)

    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic with velocity u to its point at time 1.

        For a naturally reductive metric it is exp(A) exp(-M/2) v, M being v -> [A, B]_m x with the lift B of v and
        the horizontal part of the commutator (Kobayashi and Nomizu 1969, theorem X.3.3).
        """
        half_u = _half(x, u)
        total = term = self.proju(x, v)
        for k in range(1, TRANSPORT_TERMS):
            half_v = _half(x, term)
            bracket = half_u @ (x.mT @ term) - x @ (half_u.mT @ term) - half_v @ (x.mT @ u) + x @ (half_v.mT @ u)
            term = bracket * (-0.5 / k)
            total = total + term
        return _turn(x, u, total)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic of :meth:`logmap`."""
        return self.proju(y, self.transp_follow_expmap(x, self.logmap(x, y), v))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        w = x.mT @ u
        return u - 0.5 * x @ (w + w.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """u - x u'x (Edelman, Arias and Smith 1998, equation 2.53)."""
        return u - x @ (u.mT @ x)

    def projx(self, x: Tensor) -> Tensor:
        """The nearest orthonormal frame in the Frobenius norm, the polar factor."""
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        return u @ vh

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Uniform frames: the orthogonal factor of a normal matrix (Mezzadri 2007)."""
        q, r = torch.linalg.qr(torch.randn(self._size(*size), dtype=dtype, device=device, generator=generator))
        return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal in the canonical metric, which counts the turn within the frame once, not twice."""
        ambient = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        w = x.mT @ ambient
        return ambient - x @ (w - math.sqrt(2.0) * skew(w))

    def curvature_bounds(self) -> tuple[float, float]:
        """0 to 5/4 (Zimmermann and Stoye 2024); 1 on spheres and that of SO(n) for p >= n - 1."""
        if self.n is None or self.p is None:
            return 0.0, 1.25
        if self.n <= 2:
            return 0.0, 0.0
        if self.p == 1:
            return 1.0, 1.0
        return SO(self.n).curvature_bounds() if self.p >= self.n - 1 else (0.0, 1.25)

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi sqrt(4/5), a lower bound (Rentmeesters 2013; Absil and Mataigne 2024); pi for p = 1 and p >= n - 1."""
        if self.n is not None and self.p is not None and (self.p == 1 or self.p >= self.n - 1):
            return math.pi
        return math.pi * math.sqrt(0.8)

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        ok, reason = super()._check_shape(shape, name)
        if ok and shape[-1] > shape[-2]:
            return False, f"{name}: {self.name} wants no more columns than rows, got shape {tuple(shape)}"
        return ok, reason

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        gram = x.mT @ x
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(gram)
        return self._close(gram, eye, "x'x is not the identity", atol, rtol)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        w = x.mT @ u
        return self._close(w, -w.mT, "x'u is not skew", atol, rtol)


def _half(x: Tensor, u: Tensor) -> Tensor:
    return u - 0.5 * x @ (x.mT @ u)


def _factors(x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """(..., n, 2p) L and R with L R' = A, the lift of u at x."""
    w, x = torch.broadcast_tensors(_half(x, u), x)
    return torch.cat([w, x], -1), torch.cat([x, -w], -1)


def _cayley(x: Tensor, u: Tensor, y: Tensor) -> Tensor:
    """(1 - A/2)^-1 (1 + A/2) y for the lift A = L R' of u at x, by y + L (1 - R'L/2)^-1 R'y."""
    left, right = _factors(x, u)
    eye = torch.eye(left.shape[-1], dtype=left.dtype, device=left.device)
    return y + left @ (torch.linalg.inv_ex(eye - 0.5 * right.mT @ left)[0] @ (right.mT @ y))


def _turn(x: Tensor, u: Tensor, y: Tensor) -> Tensor:
    """exp(A) y for the lift A of u at x and y of shape (..., n, q), by the smaller of two exponentials.

    With A = L R' it is y + L f(R'L) R'y, where f(M) = (e^M - 1)/M.
    """
    left, right = _factors(x, u)
    n, rank, q = x.shape[-2], left.shape[-1], y.shape[-1]
    if n <= rank + q:
        return expm(left @ right.mT) @ y
    top = torch.cat([right.mT @ left, (right.mT @ y).expand(*left.shape[:-2], rank, q)], -1)
    big = torch.cat([top, top.new_zeros(*top.shape[:-2], q, rank + q)], -2)
    return y + left @ expm(big)[..., :rank, rank:]
