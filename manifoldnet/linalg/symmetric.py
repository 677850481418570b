"""Functions of symmetric matrices with exact first and second derivatives, also at repeated eigenvalues.

f(A) = V f(L) V' has the derivative V (F o (V'EV)) V' with the divided differences F_ij = f[l_i, l_j]
(Daleckii and Krein 1965); differentiating once more takes f[l_i, l_k, l_j]. Differences of close eigenvalues are
evaluated by formulas or series that do not cancel, so nothing divides by an eigenvalue gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from manifoldnet.linalg.scalar import away_from_zero, even_function

SERIES_GAP = 0.05
SERIES_TERMS = 9


def sym(a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Symmetric part (a + a') / 2."""
    return 0.5 * (a + a.mT)


def _sinhc(x: Tensor) -> Tensor:
    s = x * x
    y = away_from_zero(s, 0.25).sqrt()
    series = [1 / math.factorial(2 * k + 1) for k in range(9)]
    return even_function(s, torch.sinh(y) / y, series, 0.25)


def _log_difference(x: Tensor, y: Tensor) -> Tensor:
    """(log x - log y) / (x - y) = 2 atanh(r) / (r (x + y)) with r = (x - y) / (x + y)."""
    r2 = ((x - y) / (x + y)) ** 2
    r = away_from_zero(r2, 0.01).sqrt()
    # atanh from the two logarithms: 1 - r cancels when one eigenvalue is far below the other
    closed = 0.5 * (torch.maximum(x, y).log() - torch.minimum(x, y).log()) / r
    ratio = even_function(r2, closed, [1 / (2 * k + 1) for k in range(9)], 0.01)
    return 2 * ratio / (x + y)


def _exp_difference(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(0.5 * (x + y)) * _sinhc(0.5 * (x - y))


@dataclass(frozen=True)
class _Function:
    """A scalar function with its divided differences; ``power`` is p for x^p, else the name says it all."""

    name: str
    power: float = 0.0

    def value(self, x: Tensor) -> Tensor:
        if self.name == "log":
            return x.log()
        return x.exp() if self.name == "exp" else x**self.power

    def first(self, x: Tensor, y: Tensor) -> Tensor:
        """f[x, y]."""
        if self.name == "log":
            return _log_difference(x, y)
        if self.name == "exp":
            return _exp_difference(x, y)
        p = self.power
        return p * _exp_difference(p * x.log(), p * y.log()) * _log_difference(x, y)

    def _taylor(self, m: Tensor, k: int) -> Tensor:
        """k-th Taylor coefficient f^(k)(m) / k!."""
        if self.name == "log":
            return (-1.0) ** (k + 1) / (k * m**k)
        if self.name == "exp":
            return m.exp() / math.factorial(k)
        binomial = math.prod(self.power - j for j in range(k)) / math.factorial(k)
        return binomial * m ** (self.power - k)

    def second(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """f[x, y, z]: from first differences over the widest pair, or a Taylor series when all three are close."""
        high = torch.maximum(torch.maximum(x, y), z)
        low = torch.minimum(torch.minimum(x, y), z)
        middle = x + y + z - high - low
        gap = high - low
        scale = 1.0 if self.name == "exp" else low.abs()
        close = gap < SERIES_GAP * scale
        wide = (self.first(high, middle) - self.first(middle, low)) / torch.where(close, 1.0, gap)
        m = (x + y + z) / 3
        # complete homogeneous symmetric polynomials of the deviations, by their recursion in one, two, three variables
        a, b, c = (torch.where(close, t - m, 0.0) for t in (x, y, z))
        one = two = three = torch.ones_like(m)
        series = self._taylor(m, 2)
        for k in range(1, SERIES_TERMS):
            one = a * one
            two = b * two + one
            three = c * three + two
            series = series + self._taylor(m, k + 2) * three
        return torch.where(close, series, wide)


def _eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(a)
    return values, vectors


class _Derivative(torch.autograd.Function):
    """(A, E) -> Df(A)[E] for symmetric A and E."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, e: Tensor, f: _Function) -> Tensor:
        values, v = _eigh(a)
        weights = f.first(values[..., :, None], values[..., None, :])
        return v @ (weights * (v.mT @ sym(e) @ v)) @ v.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, e, ctx.f = inputs
        ctx.save_for_backward(a, e)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        a, e = ctx.saved_tensors
        values, v = _eigh(a)
        second = ctx.f.second(values[..., :, None, None], values[..., None, :, None], values[..., None, None, :])
        e, g = v.mT @ sym(e) @ v, v.mT @ sym(g) @ v
        # <G, D2f[E, H]> = sum_ikj G_ij f[i,k,j] (E_ik H_kj + H_ik E_kj), read as a linear form in H
        grad = torch.einsum("...ij,...ikj,...ik->...kj", g, second, e)
        weights = ctx.f.first(values[..., :, None], values[..., None, :])
        return v @ (grad + grad.mT) @ v.mT, v @ (weights * g) @ v.mT, None


class _Value(torch.autograd.Function):
    """A -> f(A) for symmetric A."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, f: _Function) -> Tensor:
        values, v = _eigh(a)
        return (v * f.value(values)[..., None, :]) @ v.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, ctx.f = inputs
        ctx.save_for_backward(a)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return _Derivative.apply(a, sym(g), ctx.f), None


def sym_logm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix logarithm of symmetric positive definite x; NaN where x has a negative eigenvalue."""
    return _Value.apply(sym(x), _Function("log"))


def sym_expm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix exponential of symmetric x."""
    return _Value.apply(sym(x), _Function("exp"))


def sym_powm(x: Float[Tensor, "*batch n n"], p: float) -> Float[Tensor, "*batch n n"]:
    """x^p of symmetric positive definite x for real p."""
    return _Value.apply(sym(x), _Function("power", p))


def sym_sqrtm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric positive definite square root of symmetric positive definite x."""
    return sym_powm(x, 0.5)


def sym_dlogm(x: Float[Tensor, "*batch n n"], u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Derivative of the matrix logarithm at SPD x in the symmetric direction u."""
    return _Derivative.apply(sym(x), u, _Function("log"))


def sym_dexpm(x: Float[Tensor, "*batch n n"], u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Derivative of the matrix exponential at symmetric x in the symmetric direction u."""
    return _Derivative.apply(sym(x), u, _Function("exp"))


def _lower(n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = torch.tril_indices(n, n, device=like.device)
    weights = torch.where(rows == columns, 1.0, math.sqrt(2.0)).to(like.dtype)
    return rows, columns, weights


def sym_to_vector(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
    """Coordinates (d = n(n+1)/2, lower triangle by rows) in the orthonormal basis: |vector| = Frobenius norm."""
    rows, columns, weights = _lower(x.shape[-1], x)
    return x[..., rows, columns] * weights


def sym_from_vector(v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
    """Inverse of :func:`sym_to_vector`.

    Raises:
        ValueError: if the last dimension is not n(n+1)/2 for any n.
    """
    d = v.shape[-1]
    n = (math.isqrt(8 * d + 1) - 1) // 2
    if n * (n + 1) // 2 != d:
        raise ValueError(f"v: the last dimension must be n(n+1)/2 for some n, got shape {tuple(v.shape)}")
    rows, columns, weights = _lower(n, v)
    index = torch.zeros(n, n, dtype=torch.long, device=v.device)
    index[rows, columns] = index[columns, rows] = torch.arange(d, device=v.device)
    return (v / weights)[..., index.flatten()].unflatten(-1, (n, n))
