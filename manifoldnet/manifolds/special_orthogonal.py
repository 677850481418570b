"""The rotation groups SO(n)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.linalg import hat as rotation_hat
from manifoldnet.linalg import vee as rotation_vee
from manifoldnet.linalg.orthogonal import rotation_logm_value, skew, skew_from_vector, skew_to_vector
from manifoldnet.manifolds.matrix_group import MatrixGroup
from manifoldnet.manifolds.rotations import Rotations
from manifoldnet.manifolds.so3 import SO3


class SO(Rotations, MatrixGroup):
    """Rotation matrices (..., n, n) with the bi-invariant metric tr(U'V)/2, where a turn in a plane by t has length t.

    Coordinates of the algebra are the n(n-1)/2 entries below the diagonal by rows, in radians, which are orthonormal:
    hat(v)[i, j] = v_k and hat(v)[j, i] = -v_k for the k-th pair i > j of (1,0), (2,0), (2,1), (3,0), ... Only those
    of 3 x 3 matrices are rotation vectors, and ``SO(3)`` is :class:`SO3`.

    Args:
        n: size of the matrices, at least 2; None reads it off the tensors.

    Raises:
        ValueError: for n < 2.
    """

    def __new__(cls, n: int | None = None) -> Any:
        if n is not None and n < 2:
            raise ValueError(f"n: wanted a size of at least 2 or None, got {n}")
        return SO3() if n == 3 else super().__new__(cls)

    def __init__(self, n: int | None = None) -> None:
        super().__init__()
        self.n = n
        self.dim = None if n is None else n * (n - 1) // 2
        self.point_shape = None if n is None else (n, n)
        self.name = "SO" if n is None else f"SO({n})"

    def log(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
        """Principal logarithm up to and at angle pi, differentiable to every order.

        Where a rotation turns planes by exactly pi it has several logarithms, of which one is returned. Where two
        angles reach pi together the derivative has no bound; it is taken to be large but finite.
        """
        # torch.compile traces no function that has a forward-mode rule
        function = _Log if torch.compiler.is_compiling() else _ForwardLog
        return function.apply(self, x)

    def hat(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
        return rotation_hat(v) if v.shape[-1] == 3 else skew_from_vector(v)

    def vee(self, m: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
        return rotation_vee(m) if m.shape[-1] == 3 else skew_to_vector(m)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        return self.vee(x @ self.hat(v) @ x.mT)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        """By dexp_u = sinhc(ad/2) e^(ad/2), whose first factor is symmetric and singular only at conjugate points."""
        half = self._dexp_matrix(0.5 * u)
        factor = 0.5 * (half + half.mT)
        root = torch.finfo(u.dtype).eps ** 0.5
        smallest = torch.linalg.eigvalsh(factor.detach()).abs().amin(-1)
        shift = torch.where(smallest < root / 16, root, 0.0).to(u.dtype)
        factor = factor + shift[..., None, None] * torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        return (torch.linalg.inv_ex(factor)[0] @ self.Ad(self.exp(-0.5 * u), v).unsqueeze(-1)).squeeze(-1)

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        if self.n is None:
            raise ValueError("shape: the identity of SO(n) needs n, which SO() does not know")
        return torch.eye(self.n, dtype=dtype, device=device).expand(*shape, self.n, self.n)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return x @ expm(skew(x.mT @ u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return self.hat(self.log(y @ x.mT)) @ x

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        square = self.log(y @ x.mT).square().sum(-1)
        return square[..., None, None] if keepdim else square

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic from x to y = exp(w) x: exp(w/2) v x' exp(-w/2) y."""
        half = self.exp(0.5 * self.log(y @ x.mT))
        return half @ skew(v @ x.mT) @ half.mT @ y

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Rotations from the Haar measure: the orthogonal factor of a normal matrix (Mezzadri 2007)."""
        shape = self._size(*size)
        q, r = torch.linalg.qr(torch.randn(shape, dtype=dtype, device=device, generator=generator))
        q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
        return torch.cat([q[..., :1] * torch.linalg.det(q).sign()[..., None, None], q[..., 1:]], -1)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """x hat(v) with standard normal v."""
        n = x.shape[-1]
        v = torch.randn(*x.shape[:-2], n * (n - 1) // 2, dtype=x.dtype, device=x.device, generator=generator)
        return x @ self.hat(v)

    def curvature_bounds(self) -> tuple[float, float]:
        """0 to 1/2, from K(X, Y) = |[X, Y]|^2 / 4 of orthonormal X and Y and the bound of Ge (2014) for skew matrices.

        The greatest commutators are those of matrices that turn two planes, which need n >= 4; SO(2) is flat.
        """
        return (0.0, 0.0) if self.n == 2 else (0.0, 0.5)

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        ok, reason = super()._check_shape(shape, name)
        if ok and shape[-1] != shape[-2]:
            return False, f"{name}: {self.name} wants square matrices, got shape {tuple(shape)}"
        return ok, reason


class _Log(torch.autograd.Function):
    """log R, with d log R = dexpinv_(log R)(dR R'); the transpose of dexpinv_u is dexpinv_(-u), as ad_u is skew."""

    generate_vmap_rule = True

    @staticmethod
    def forward(group: SO, r: Tensor) -> Tensor:
        return group.vee(rotation_logm_value(r))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.group, r = inputs
        ctx.save_for_backward(r, output)
        ctx.save_for_forward(r, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:
        r, v = ctx.saved_tensors
        return None, 0.5 * ctx.group.hat(ctx.group.dexpinv(-v, g)) @ r


class _ForwardLog(_Log):
    @staticmethod
    def jvp(ctx: Any, _: None, dr: Tensor) -> Tensor:
        r, v = ctx.saved_tensors
        out: Tensor = ctx.group.dexpinv(v, ctx.group.vee(dr @ r.mT))
        return out
