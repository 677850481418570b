"""The Grassmann manifold of subspaces."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm, sym
from manifoldnet.linalg.orthogonal import skew
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.rotation_actions import RotationByConjugation


class Grassmann(Space):
    """The p-dimensional subspaces of R^n as orthogonal projectors (..., n, n), with the metric tr(UV)/2.

    A projector is symmetric with P^2 = P and trace p, the only one onto its subspace; :meth:`from_basis` and
    :meth:`to_basis` translate. The distance is the 2-norm of the principal angles. The geodesic from P with velocity U
    is exp(tW) P exp(-tW) with W = UP - PU (Bendokat, Zimmermann and Absil 2024, section 3).

    The derivatives of ``logmap`` and with it of ``dist`` and ``transp`` are exact to second order.

    Args:
        n: dimension of the ambient space.
        p: dimension of the subspaces.

    Raises:
        ValueError: unless 1 <= p < n.
    """

    ndim = 2
    is_compact = True

    def __init__(self, n: int, p: int) -> None:
        super().__init__()
        if not 1 <= p < n:
            raise ValueError(f"p: wanted 1 <= p < n, got n={n}, p={p}")
        self.n = n
        self.p = p
        self.point_shape = (n, n)
        self.dim = p * (n - p)
        self.name = f"Grassmann({n}, {p})"

    @property
    def action(self) -> RotationByConjugation:
        return RotationByConjugation(self.n)

    def from_basis(self, basis: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch n n"]:
        """Projector onto the span of the columns, which must be linearly independent."""
        if tuple(basis.shape[-2:]) != (self.n, self.p):
            raise ValueError(f"basis: wanted shape (..., {self.n}, {self.p}), got {tuple(basis.shape)}")
        q = torch.linalg.qr(basis)[0]
        return q @ q.mT

    def to_basis(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n p"]:
        """An orthonormal basis of the subspace, one of many, for use without gradients."""
        return torch.linalg.eigh(sym(x))[1][..., self.n - self.p :]

    def expmap(self, x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
        turn = expm(_lift(x, u))
        return sym(turn @ x @ turn.mT)

    def logmap(self, x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
        """Tangent vector at x of the shortest geodesic to y; one of several where a principal angle is pi/2."""
        x, y = torch.broadcast_tensors(x, y)
        # torch.compile traces no function that has a forward-mode rule
        function = _Solve if torch.compiler.is_compiling() else _ForwardSolve
        u, values, vectors = function.apply(self, x, y)
        # each Newton step with the constant inverse makes one more order of derivative exact
        for _ in range(2):
            u = self.proju(x, u - _pull(x, values, vectors, self.expmap(x, u) - y))
        return u

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map, then McWeeny's purification 3P^2 - 2P^3, so that 10^4 float32 steps do not drift."""
        return _purified(self.expmap(x, self.proju(x, u)))

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        u = self.proju(x, u)
        y = self.retr(x, u)
        return y, self.proju(y, self.transp_follow_expmap(x, u, v))

    def transp_follow_retr(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return self.retr_transp(x, u, v)[1]

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.expmap(x, u), self.transp_follow_expmap(x, u, v)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = 0.5 * u * (u if v is None else v)
        return self._sum(product.expand(torch.broadcast_shapes(product.shape, x.shape)), keepdim)

    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic exp(tW) x exp(-tW) with velocity u: exp(W) v exp(-W)."""
        turn = expm(_lift(x, u))
        return sym(turn @ self.proju(x, v) @ turn.mT)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic of :meth:`logmap`."""
        return self.transp_follow_expmap(x, self.logmap(x, y), v)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """The part of the symmetric part that maps the subspace to its complement and back."""
        w = sym(u)
        return 2 * sym((w - x @ w) @ x)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return 2 * self.proju(x, u)

    def projx(self, x: Tensor) -> Tensor:
        """The nearest projector in the Frobenius norm: onto the eigenvectors of the p largest eigenvalues."""
        basis = self.to_basis(x)
        return basis @ basis.mT

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Uniform subspaces: the spans of normal matrices."""
        shape = self._size(*size)
        return self.from_basis(torch.randn(*shape[:-1], self.p, dtype=dtype, device=device, generator=generator))

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal: (1 - x) g x and its transpose for a standard normal matrix g."""
        g = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        return 2 * sym((g - x @ g) @ x)

    def curvature_bounds(self) -> tuple[float, float]:
        """0 to 2 (Wong 1968); 1 on the projective spaces p = 1 and p = n - 1, and 0 on the circle that is n = 2."""
        if self.n == 2:
            return 0.0, 0.0
        return (1.0, 1.0) if self.p in (1, self.n - 1) else (0.0, 2.0)

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi/2, the principal angle at which two geodesics meet (Kozlov 2000)."""
        return math.pi / 2

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        ok, reason = self._close(x, x.mT, "a matrix is not symmetric", atol, rtol)
        if ok:
            ok, reason = self._close(x @ x, x, "x^2 is not x", atol, rtol)
        trace = x.diagonal(dim1=-2, dim2=-1).sum(-1)
        if ok and bool((trace.round() != self.p).any()):
            return False, f"{self.name}: a projector has another rank than {self.p}"
        return ok, reason

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        ok, reason = self._close(u, u.mT, "a tangent vector is not symmetric", atol, rtol)
        if ok:
            return self._close(x @ u + u @ x, u, "a tangent vector moves the subspace in itself", atol, rtol)
        return ok, reason


def _purified(y: Tensor) -> Tensor:
    square = y @ y
    return sym(3 * square - 2 * square @ y)


def _lift(x: Tensor, u: Tensor) -> Tensor:
    w = u @ x
    return w - w.mT


def _solve(space: Grassmann, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logarithm u of y at x, and the eigenvalues and eigenvectors of iW for its lift W.

    With bases X and Y and X'Y = V1 cos(angles) V2' it is Z + Z' for Z = (1 - x) Y V2 (angles/sines) V1' X', which
    divides by no gap between angles and has no pole at pi/2.
    """
    first, second = space.to_basis(x), space.to_basis(y)
    left, cosine, right = torch.linalg.svd(first.mT @ second)
    turned = second @ right.mT
    across = turned - x @ turned
    sine = across.norm(dim=-2)
    some = sine > 0
    ratio = torch.where(some, torch.atan2(sine, cosine) / torch.where(some, sine, 1.0), 1.0)
    u = 2 * sym((across * ratio[..., None, :]) @ left.mT @ first.mT)
    values, vectors = torch.linalg.eigh(1j * _lift(x, u))
    return u, values, vectors


def _pull(x: Tensor, values: Tensor, vectors: Tensor, r: Tensor) -> Tensor:
    """The tangent vector at x that moves exp_x(u) by r: in coordinates of the eigenvectors, division by sinc.

    Directions in which exp_x shrinks to nothing, at conjugate points, are left out.
    """
    gap = values[..., :, None] - values[..., None, :]
    some = gap.abs() > 1e-4
    sinc = torch.where(some, gap.sin() / torch.where(some, gap, 1.0), 1 - gap * gap / 6)
    regular = sinc.abs() > torch.finfo(gap.dtype).eps ** 0.5
    weights = torch.where(regular, 1 / torch.where(regular, sinc, 1.0), 0.0)
    turn = (vectors * torch.exp(-1j * values)[..., None, :]) @ vectors.mH
    lifted = _lift(x, (turn.mH @ r.to(turn.dtype) @ turn).real)
    divided = (vectors @ (weights * (vectors.mH @ lifted.to(turn.dtype) @ vectors)) @ vectors.mH).real
    return 2 * sym(skew(divided) @ x)


class _Solve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(space: Grassmann, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _solve(space, x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[None, None, None]:
        return None, None, None


class _ForwardSolve(_Solve):
    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[None, None, None]:
        return None, None, None
