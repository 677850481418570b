"""Functions of symmetric matrices with exact derivatives of every order, also at repeated eigenvalues.

f(A) = V f(L) V' has the derivative V (F o (V'EV)) V' with the divided differences F_ij = f[l_i, l_j]
(Daleckii and Krein 1965); differentiating once more takes f[l_i, l_k, l_j], and so on. Differences of close
eigenvalues are evaluated by formulas or series that do not cancel, so nothing divides by an eigenvalue gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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

    def divided_difference(self, nodes: Sequence[Tensor]) -> Tensor:
        """f[x_0, ..., x_k], from differences over the widest pair, or a Taylor series when all nodes are close."""
        k = len(nodes) - 1
        if k == 0:
            return self.value(nodes[0])
        if k == 1:
            return self.first(*nodes)
        x = torch.stack(torch.broadcast_tensors(*nodes), -1).sort(-1).values.unbind(-1)
        gap = x[-1] - x[0]
        close = gap < SERIES_GAP * (1.0 if self.name == "exp" else x[0].abs())
        rise = self.divided_difference(x[1:]) - self.divided_difference(x[:-1])
        wide = rise / torch.where(close, 1.0, gap)
        m = sum(x[1:], x[0]) / (k + 1)
        # complete homogeneous symmetric polynomials of the first 1, ..., k + 1 deviations, by their recursion
        deviations = [torch.where(close, t - m, 0.0) for t in x]
        sums = [torch.ones_like(m)] * (k + 1)
        series = self._taylor(m, k)
        for degree in range(1, SERIES_TERMS):
            previous = torch.zeros_like(m)
            for i, deviation in enumerate(deviations):
                previous = sums[i] = deviation * sums[i] + previous
            series = series + self._taylor(m, k + degree) * previous
        return torch.where(close, series, wide)


class _Derivative(torch.autograd.Function):
    """(A, E) -> D^k f(A)[E_1, ..., E_k] for E of shape (k, ..., n, n), which is f(A) for k = 0; batches broadcast.

    The form (G, E_1, ..., E_k) -> <G, D^k f(A)[E_1, ..., E_k]> is symmetric, because f(A) is itself a gradient. So
    the derivatives of this function are the same function with G among the directions, to every order.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, e: Tensor, f: _Function) -> Tensor:
        values, v = torch.linalg.eigh(a)
        k = e.shape[0]
        nodes = [values[(..., *[None] * i, slice(None), *[None] * (k - i))] for i in range(k + 1)]
        weights = f.divided_difference(nodes)
        directions = (v.mT @ sym(e) @ v).unbind(0)
        if k == 0:
            return (v * weights[..., None, :]) @ v.mT
        if k == 1:
            return v @ (weights * directions[0]) @ v.mT
        letters = "ijklmnopq"[: k + 1]
        factors = ",".join(f"...{p}{q}" for p, q in pairwise(letters))
        product = f"...{letters},{factors}->...{letters[0]}{letters[-1]}"
        terms = [torch.einsum(product, weights, *order) for order in permutations(directions)]
        return v @ sum(terms[1:], terms[0]) @ v.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, e, ctx.f = inputs
        ctx.save_for_backward(a, e)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, e = ctx.saved_tensors

        def and_g(others: Tensor) -> Tensor:
            return _Derivative.apply(a, torch.cat([others.expand(-1, *g.shape), g[None]]), ctx.f)

        grad_a = and_g(e).sum_to_size(a.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_a, None, None
        others = [torch.cat([e[:i], e[i + 1 :]]) for i in range(len(e))]
        return grad_a, torch.stack([and_g(rest) for rest in others]).sum_to_size(e.shape), None


def _value(x: Tensor, name: str, power: float = 0.0) -> Tensor:
    x = sym(x)
    return _Derivative.apply(x, x.new_empty(0, *x.shape), _Function(name, power))


class _SquaredLogNorm(torch.autograd.Function):
    """A -> |log A|^2 from eigenvalues alone; its gradient 2 A^-1 log A needs no eigenvalue gaps."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(a).log().square().sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return 2 * g[..., None, None] * sym(torch.linalg.solve(a, sym_logm(a)))


def sym_logm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix logarithm of symmetric positive definite x; NaN where x has a negative eigenvalue."""
    return _value(x, "log")


def sym_squared_log_norm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Squared Frobenius norm of the logarithm of symmetric positive definite x; half the work of the logarithm."""
    return _SquaredLogNorm.apply(sym(x))


def sym_expm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix exponential of symmetric x."""
    return _value(x, "exp")


def sym_powm(x: Float[Tensor, "*batch n n"], p: float) -> Float[Tensor, "*batch n n"]:
    """x^p of symmetric positive definite x for real p."""
    return _value(x, "power", p)


def sym_sqrtm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric positive definite square root of symmetric positive definite x."""
    return sym_powm(x, 0.5)


def sym_dlogm(x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """Derivative of the matrix logarithm at SPD x in the symmetric direction u."""
    return _Derivative.apply(sym(x), u[None], _Function("log"))


def sym_dexpm(x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """Derivative of the matrix exponential at symmetric x in the symmetric direction u."""
    return _Derivative.apply(sym(x), u[None], _Function("exp"))


def _lower(n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = torch.tril_indices(n, n, device=like.device)
    weights = torch.where(rows == columns, 1.0, like.new_tensor(math.sqrt(2.0)))  # of two numbers where makes float32
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
