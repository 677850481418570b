"""Symmetric positive definite matrices with the Bures-Wasserstein metric."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldnet.linalg import cholesky, sym, sym_sqrtm
from manifoldnet.linalg.lyapunov import lyapunov
from manifoldnet.manifolds.actions import Action, Congruence
from manifoldnet.manifolds.general_linear import GeneralLinear
from manifoldnet.manifolds.horizontal_transport import horizontal_transport
from manifoldnet.manifolds.spd import SPD


class BuresWassersteinSPD(SPD):
    """SPD(n) with the metric of optimal transport between centred normal distributions.

    dist(x, y)^2 = tr x + tr y - 2 tr (x^1/2 y x^1/2)^1/2 and <U, V>_x = tr(L_x(U) V) / 2, where g = L_x(U) is the
    symmetric solution of x g + g x = U (Malagò, Montrucchio and Pistone 2018; Bhatia, Jain and Lim 2019). It is the
    metric for which m -> m m' is a Riemannian submersion from the invertible matrices with the Frobenius metric.

    The space is not complete: from x along u the geodesic (1 + t g) x (1 + t g) leaves it where 1 + t g becomes
    singular, after a length of at least sqrt of the smallest eigenvalue of x. ``expmap`` beyond that is the same
    formula, whose values no longer are at distance |u|; ``retr`` is positive definite for every u.

    Points that are not positive definite give NaN, not an error; :meth:`check_point_on_manifold` finds them.
    """

    metric = "bures-wasserstein"
    reversible = False

    @property
    def action(self) -> Action:
        return WassersteinCongruence(GeneralLinear(self.n))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        x, u = sym(x), sym(u)
        g = lyapunov(x, u)
        return sym(x + u + g @ x @ g)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """The geodesic plus g^2 x g^2 / 4: third order, and positive definite for every u."""
        x, u = sym(x), sym(u)
        g = lyapunov(x, u)
        square = g @ g
        return sym(x + u + g @ x @ g + 0.25 * square @ x @ square.mT)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """(x y)^1/2 + (y x)^1/2 - 2 x."""
        factor, velocity = _lifted_log(x, y)
        return 2 * sym(velocity @ factor.mT)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        return self._sum(_lifted_log(x, y)[1].square(), keepdim)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        factor = cholesky(sym(x))
        a = lyapunov(x, u) @ factor
        return self._sum(a * (a if v is None else lyapunov(x, v) @ factor), keepdim)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic, by collocation: see :func:`horizontal_transport`."""
        factor, velocity = _lifted_log(x, y)
        end = factor + velocity
        return 2 * sym(horizontal_transport(factor, velocity, lyapunov(x, v) @ factor) @ end.mT)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return 4 * sym(sym(u) @ sym(x))

    def curvature_bounds(self) -> tuple[float, float]:
        """(0, inf): not negative, and without bound towards singular matrices (Takatsu 2011); 0 for n = 1."""
        return 0.0, 0.0 if self.n == 1 else math.inf

    def injectivity_radius(self, x: Tensor | None = None) -> float | Tensor:
        """At x the square root of its smallest eigenvalue, shape of the batch; of the whole space 0."""
        return 0.0 if x is None else torch.linalg.eigvalsh(sym(x))[..., 0].sqrt()

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """z f' + f z' with standard normal z and x = f f': the vertical part of z has no influence."""
        z = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        return 2 * sym(z @ cholesky(sym(x)).mT)


class WassersteinCongruence(Congruence):
    """GL(n) acting by x.y = x y x', with the horizontal lift of the Bures-Wasserstein metric.

    Only the orthogonal matrices act by isometries, and the motion exp(t v).y with a lifted v is tangent to the
    geodesic at t = 0 without following it.
    """

    is_isometric = False

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        """The symmetric v with v y + y v = tangent, for which the motion of f, y = f f', is horizontal."""
        return self.group.vee(lyapunov(y, tangent))


def _lifted_log(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """f with x = f f', and the velocity of the straight line from f to the nearest m with m m' = y.

    With k = f'f and s = (f'y f)^1/2 the velocity is f^-T (s - k). The difference d of the two roots solves
    d (s + k) + (s + k) d = 2 f'(y - x) f, which keeps the relative precision of small distances. Of a badly
    conditioned y the root s has half the digits; a Newton step for (f + velocity)(f + velocity)' = y restores them.
    """
    x, y = torch.broadcast_tensors(sym(x), sym(y))
    factor, change = cholesky(x), y - x
    root = sym_sqrtm(factor.mT @ y @ factor)
    difference = lyapunov(root + factor.mT @ factor, 2 * factor.mT @ change @ factor)
    velocity = torch.linalg.solve_triangular(factor.mT, difference, upper=True)
    residual = change - 2 * sym(factor @ velocity.mT) - velocity @ velocity.mT
    correction = lyapunov(root, factor.mT @ residual @ factor)
    return factor, velocity + torch.linalg.solve_triangular(factor.mT, correction, upper=True)
