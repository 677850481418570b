"""The unit sphere, with formulas that are exact at every distance."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from manifoldnet.linalg.scalar import away_from_zero, even_function, safe_sqrt
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.rotation_actions import RotationOfVectors

SMALL = 0.02
# in powers of s = sin^2(angle / 2): (angle / (2 sin(angle / 2)))^2 and angle / sin(angle)
SQUARED_ARC = [2 ** (2 * k + 1) / ((k + 1) ** 2 * math.comb(2 * k + 2, k + 1)) for k in range(10)]
ARC = [4**k * math.factorial(k) ** 2 / math.factorial(2 * k + 1) for k in range(10)]
SMALL_ANGLE = 0.25
# in powers of the squared angle: its cosine, and its sine over itself
COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(9)]
SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)]


class Sphere(Space):
    """Unit vectors (..., n) of R^n with the metric of R^n; distances are angles in radians, up to pi.

    Args:
        n: number of entries of a vector, at least 2; ``Sphere()`` is the two-dimensional sphere S^2 in R^3.

    Raises:
        ValueError: for n < 2.

    At the antipode of x, which every geodesic of length pi reaches, ``logmap`` takes the direction of the projection
    of the first coordinate axis that is least in line with x, and ``transp`` follows the same geodesic; a few
    rounding errors around the antipode count as it. There derivatives are finite, those of a point fixed at the
    antipode; near it those of ``logmap`` grow without bound, as they do for the exact function.
    """

    ndim = 1
    is_compact = True

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"n: wanted at least 2 entries, got {n}")
        self.n = n
        self.dim = n - 1
        self.point_shape = (n,)
        self.name = f"Sphere({n})"

    @property
    def action(self) -> Action:
        return RotationOfVectors(self.n)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """cos|u| x + sin|u| u/|u|."""
        s = _dot(u, u)
        angle = away_from_zero(s, SMALL_ANGLE).sqrt()
        cosine = even_function(s, angle.cos(), COSINE, SMALL_ANGLE)
        return cosine * x + even_function(s, angle.sin() / angle, SINC, SMALL_ANGLE) * u

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """x + u, made tangent and normalised: second order, and without drift."""
        y = x + self.proju(x, u)
        return y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """4 atan2(|x - y|, |x + y|)^2 (Kahan 2006), smooth at x = y."""
        a, b = _squares(x, y)
        s = a / (a + b)
        total = 4 * s * even_function(s, _half_angle(a, b, s).square() / away_from_zero(s, SMALL), SQUARED_ARC, SMALL)
        return total if keepdim else total.squeeze(-1)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """angle/sin(angle) (y - <x, y> x); at the antipode see the class."""
        a, b = _squares(x, y)
        s = a / (a + b)
        # subtracted from the nearer of x and -x, so that little is lost to cancellation
        v = self.proju(x, torch.where(b < a, x + y, y - x))
        length2 = _dot(v, v)
        antipodal = (b < a) & (length2 < _rounding2(x))
        v = torch.where(antipodal, self._normal(x), v)
        length = torch.where(antipodal | (s <= SMALL), 1.0, length2).sqrt()
        return v * even_function(s, 2 * _half_angle(a, b, s) / length, ARC, SMALL)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """v - 2 <m, v> m, the reflection that exchanges x and -y, m being the midpoint of the geodesic."""
        m = x + y
        length2 = _dot(m, m)
        antipodal = length2 < _rounding2(x)
        m = torch.where(antipodal, self._normal(x), m) / torch.where(antipodal, 1.0, length2).sqrt()
        return v - 2 * _dot(m, v) * m

    def _normal(self, x: Tensor) -> Tensor:
        """A unit vector perpendicular to x, the same one for -x."""
        index = torch.arange(self.n, device=x.device)
        axis = (index == x.detach().abs().argmin(-1, keepdim=True)).to(x.dtype)
        u = self.proju(x, axis)
        return u / torch.linalg.vector_norm(u, dim=-1, keepdim=True)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        product = u * (u if v is None else v)
        return self._sum(product.expand(torch.broadcast_shapes(product.shape, x.shape)), keepdim)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return u - _dot(x, u) * x

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self.proju(x, u)

    def projx(self, x: Tensor) -> Tensor:
        """x / |x|; the zero vector becomes the first unit vector."""
        scale = x.detach().abs().amax(-1, keepdim=True)
        zero = scale == 0
        first = torch.zeros_like(x)
        first[..., 0] = 1.0
        # the scale cancels; without it squares of small or large entries leave the range of the dtype
        scaled = torch.where(zero, first, x / torch.where(zero, 1.0, scale))
        return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)

    def curvature_bounds(self) -> tuple[float, float]:
        """1 everywhere; 0 on the circle n = 2, which has no sections."""
        curvature = 0.0 if self.n == 2 else 1.0
        return curvature, curvature

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi."""
        return math.pi

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Uniformly distributed points: normal vectors, normalised (Muller 1959)."""
        return self.projx(torch.randn(self._size(*size), dtype=dtype, device=device, generator=generator))

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        norm = torch.linalg.vector_norm(x, dim=-1)
        return self._close(norm, torch.ones_like(norm), "a vector has not norm 1", atol, rtol)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        product = _dot(x, u)
        # rounding is relative to the length of u
        scale = torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(1.0).expand_as(product)
        wanted = torch.zeros_like(product)
        return self._close(product / scale, wanted, "a vector is not perpendicular to its point", atol, rtol)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """|x - y|^2 and |x + y|^2."""
    return _dot(x - y, x - y), _dot(x + y, x + y)


def _half_angle(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """Half the angle between vectors with :func:`_squares` a and b; pi / 4 where s is small, where it is not used."""
    apart = s > SMALL
    return torch.atan2(torch.where(apart, a, 1.0).sqrt(), safe_sqrt(torch.where(apart, b, 1.0)))


def _rounding2(x: Tensor) -> float:
    return float((4 * torch.finfo(x.dtype).eps) ** 2)
