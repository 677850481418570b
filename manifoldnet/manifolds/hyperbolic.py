"""Hyperbolic space as a hyperboloid, with formulas that neither cancel nearby nor far out."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.scalar import away_from_zero, even_function
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.lorentz import LorentzAction, with_time

SMALL = 0.02
# in powers of s = sinh^2(d / 2): (d / (2 sinh(d / 2)))^2 and d / sinh(d)
SQUARED_ARC = [(-1) ** k * 2 ** (2 * k + 1) / ((k + 1) ** 2 * math.comb(2 * k + 2, k + 1)) for k in range(10)]
ARC = [(-4) ** k * math.factorial(k) ** 2 / math.factorial(2 * k + 1) for k in range(10)]
SMALL_LENGTH = 0.25
# in powers of the squared length: its cosh, and its sinh over itself
COSH = [1 / math.factorial(2 * k) for k in range(9)]
SINHC = [1 / math.factorial(2 * k + 1) for k in range(9)]


class Hyperbolic(Space):
    """The hyperboloid -x_0^2 + x_1^2 + ... + x_n^2 = 1/curvature, x_0 > 0, of points (..., n+1).

    The metric is the Minkowski form restricted to tangent vectors, of constant negative curvature; its radius is
    r = 1/sqrt(-curvature) (Ratcliffe 2019, chapter 3). The spatial part x_1, ..., x_n alone decides the point and the
    tangent vector: the methods read x_0 and u_0 off it, so that rounding never takes a point off the hyperboloid.

    geoopt's ``Lorentz`` is not used: it subtracts numbers of size x_0^2 before it takes an arcosh. In float64 the
    gradient of its distance is 7e7 at x = y, a distance of 1e-7 is wrong by 70 %, and of two points 20 from the origin
    and 1 apart it says -17. Here distances are exact to 1e-8 relative up to 20 r from the origin, whatever their
    length. What the numbers of a point leave open remains: a rounding error displaces x by x_0 times the machine
    epsilon, 3e-8 at 20 r from the origin in float64 and 1e-4 at 8 r in float32, and turns a tangent vector by as much,
    so that ``expmap`` along it misses by that times sinh of its length.

    Args:
        n: dimension, at least 1.
        curvature: of every section, negative.

    Raises:
        ValueError: for n < 1 or a curvature that is not negative and finite.
    """

    ndim = 1

    def __init__(self, n: int, curvature: float = -1.0) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"n: wanted a dimension of at least 1, got {n}")
        if not -math.inf < curvature < 0:
            raise ValueError(f"curvature: wanted a negative number, got {curvature}")
        self.n = n
        self.curvature = float(curvature)
        self.radius = 1 / math.sqrt(-curvature)
        self.dim = n
        self.point_shape = (n + 1,)
        self.name = f"Hyperbolic({n})"

    @property
    def action(self) -> Action:
        return LorentzAction(self.n, self.radius)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        x0, xs = self._parts(x)
        e = self._to_frame(x, u)
        s = _dot(e, e) / self.radius**2
        length = away_from_zero(s, SMALL_LENGTH).sqrt()
        z0 = self.radius * even_function(s, length.cosh(), COSH, SMALL_LENGTH)
        z = even_function(s, length.sinh() / length, SINHC, SMALL_LENGTH) * e
        return with_time(z + (z0 + _dot(xs, z) / (x0 + self.radius)) / self.radius * xs, self.radius)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        x0, xs = self._parts(x)
        y0, ys = self._parts(y)
        s = self._half_chord2(x, y)
        rise = _rise(x0, xs, y0, ys)
        # y as seen from x, whose length is r sinh(d / r)
        z = (ys - xs) - (rise + 2 * self.radius * s) / (x0 + self.radius) * xs
        apart = s > SMALL
        length = torch.where(apart, _dot(z, z), 1.0).sqrt()
        ratio = even_function(s, self.radius * 2 * _asinh_root(s) / length, ARC, SMALL)
        return self._from_frame(x, ratio * z)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """4 r^2 asinh(q)^2, where 2 r q is the length of the chord in Minkowski space; smooth at x = y."""
        s = self._half_chord2(x, y)
        arc2 = even_function(s, _asinh_root(s).square() / away_from_zero(s, SMALL), SQUARED_ARC, SMALL)
        total = 4 * self.radius**2 * s * arc2
        return total if keepdim else total.squeeze(-1)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        a = self._to_frame(x, u)
        return self._sum(a * (a if v is None else self._to_frame(x, v)), keepdim)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic: carried to the origin and back it is a rotation, Thomas' (1926).

        With the points p, q of the Poincaré ball and the angle t of the rotation in their plane, tan(t / 2) is
        |p ^ q| / (1 - <p, q>) (Ungar 2008).
        """
        x0, xs = self._parts(x)
        y0, ys = self._parts(y)
        e = self._to_frame(x, v)
        xt, yt = x0 + self.radius, y0 + self.radius
        p = xs / xt
        step = ((ys - xs) - _rise(x0, xs, y0, ys) * p) / yt
        # 1 - <p, q> without cancellation at the boundary
        sigma = self.radius / xt + self.radius / yt + 0.5 * _dot(step, step)
        area2 = _dot(p, p) * _dot(step, step) - _dot(p, step).square()
        turned = _wedge(p, step, e)
        turn = sigma * turned + _wedge(p, step, turned)
        return self._from_frame(y, e + 2 * turn / (sigma.square() + area2))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """The Minkowski-orthogonal projection of a vector of the ambient space."""
        x0, xs = self._parts(x)
        u0, us = u[..., :1], u[..., 1:]
        product = (_dot(xs, us) - x0 * u0) / self.radius**2
        return self._with_time_of(x, us + product * xs)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        # the transpose of :meth:`_from_frame`, then that map itself
        x0, xs = self._parts(x)
        u0, us = u[..., :1], u[..., 1:]
        along = (u0 + _dot(xs, us) / (x0 + self.radius)) / self.radius
        return self._from_frame(x, us + along * xs)

    def projx(self, x: Tensor) -> Tensor:
        """The point with the same spatial part."""
        return with_time(x[..., 1:], self.radius)

    def curvature_bounds(self) -> tuple[float, float]:
        """The curvature, twice; 0 for n = 1, which has no sections."""
        curvature = 0.0 if self.n == 1 else self.curvature
        return curvature, curvature

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """Infinite: the space is complete, simply connected and of negative curvature."""
        return math.inf

    def to_poincare(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n"]:
        """Points of the Poincaré ball of radius r, by projection from (-r, 0, ..., 0); an isometry for its metric."""
        x0, xs = self._parts(x)
        return self.radius * xs / (x0 + self.radius)

    def from_poincare(self, p: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        """Inverse of :meth:`to_poincare`; |p| < r, and next to r the ball has few numbers left for the point."""
        return with_time(2 * self.radius**2 * p / (self.radius**2 - _dot(p, p)), self.radius)

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """exp at the origin of standard normal tangent vectors, the wrapped normal of Nagano et al. (2019)."""
        shape = self._size(*size)
        u = torch.randn(*shape[:-1], self.n, dtype=dtype, device=device, generator=generator)
        start = self.origin(*shape, dtype=u.dtype, device=u.device)
        return self.expmap(start, torch.cat([torch.zeros_like(u[..., :1]), u], -1))

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """A standard normal vector at the origin, carried to x."""
        e = torch.randn(*x.shape[:-1], self.n, dtype=x.dtype, device=x.device, generator=generator)
        return self._from_frame(x, e)

    def _mean_guess(self, points: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean in Minkowski space, scaled back to the hyperboloid (Law et al. 2019)."""
        centre = (weights * points).sum(-2)
        m0, ms = centre[..., :1], centre[..., 1:]
        # it lies beyond the hyperboloid; rounding could say otherwise for points far out
        square = (m0.square() - _dot(ms, ms)).clamp_min(self.radius**2)
        return with_time(self.radius * ms / square.sqrt(), self.radius)

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        return self._close(x[..., 0], self.projx(x)[..., 0], "x_0 is not sqrt(r^2 + |x_s|^2)", atol, rtol)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        wanted = self._with_time_of(x, u[..., 1:])[..., 0]
        return self._close(u[..., 0], wanted, "u_0 is not <x_s, u_s> / x_0", atol, rtol)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and x_s."""
        xs = x[..., 1:]
        return (_dot(xs, xs) + self.radius**2).sqrt(), xs

    def _with_time_of(self, x: Tensor, us: Tensor) -> Tensor:
        """The tangent vector at x with the spatial part us."""
        x0, xs = self._parts(x)
        u0 = _dot(xs, us) / x0
        return torch.cat([u0, us.expand(*u0.shape[:-1], self.n)], -1)

    def _to_frame(self, x: Tensor, u: Tensor) -> Tensor:
        """u carried along the geodesic from x to the origin; (..., n), with the norm of R^n."""
        x0, xs = self._parts(x)
        us = u[..., 1:]
        return us - _dot(xs, us) / (x0 * (x0 + self.radius)) * xs

    def _from_frame(self, x: Tensor, e: Tensor) -> Tensor:
        """Inverse of :meth:`_to_frame`."""
        x0, xs = self._parts(x)
        along = _dot(xs, e) / self.radius
        us = e + along / (x0 + self.radius) * xs
        return torch.cat([along.expand(*us.shape[:-1], 1), us], -1)

    def _half_chord2(self, x: Tensor, y: Tensor) -> Tensor:
        """sinh^2(d / 2r), as a sum of positive terms: one form for <x_s, y_s> >= 0, another one for the rest."""
        x0, xs = self._parts(x)
        y0, ys = self._parts(y)
        r2 = self.radius**2
        product, d = _dot(xs, ys), ys - xs
        chord2, along = _dot(d, d), _dot(xs, d)
        # |x_s ^ y_s|^2 = |x_s ^ d|^2, from the part of d across x_s where the difference of squares would cancel
        x2, y2 = _dot(xs, xs), _dot(ys, ys)
        far = x2 > r2
        across = d - along / torch.where(far, x2, 1.0) * xs
        area2 = torch.where(far, x2 * _dot(across, across), x2 * chord2 - along.square())
        acute = (r2 * chord2 + area2) / (r2 + x0 * y0 + product.clamp_min(0.0))
        obtuse = (r2 * (x2 + y2) + x2 * y2) / (x0 * y0 + r2) - product
        return torch.where(product >= 0, acute, obtuse) / (2 * r2)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _rise(x0: Tensor, xs: Tensor, y0: Tensor, ys: Tensor) -> Tensor:
    """y_0 - x_0, from the difference of the spatial parts."""
    return _dot(ys - xs, ys + xs) / (x0 + y0)


def _wedge(p: Tensor, q: Tensor, e: Tensor) -> Tensor:
    """(p q' - q p') e."""
    return _dot(q, e) * p - _dot(p, e) * q


def _asinh_root(s: Tensor) -> Tensor:
    """asinh(sqrt(s)) where s is not small."""
    return torch.asinh(away_from_zero(s, SMALL).sqrt())
