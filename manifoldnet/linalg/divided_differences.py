"""Scalar functions with divided differences of every order that do not cancel at close arguments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldnet.linalg.scalar import polynomial

SERIES_GAP = 0.05
SERIES_TERMS = 9


@dataclass(frozen=True)
class SpectralFunction(ABC):
    """A smooth scalar function f that is applied to symmetric matrices through their eigenvalues.

    To bring one of your own, write :meth:`value`, :meth:`first` and :meth:`taylor` and hand an instance to
    :func:`manifoldnet.linalg.sym_function`. Equal instances share compiled code, so make it a frozen dataclass.
    """

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """f(x), entrywise."""

    @abstractmethod
    def first(self, x: Tensor, y: Tensor) -> Tensor:
        """f[x, y] = (f(x) - f(y)) / (x - y), which is f'(x) at x = y, without cancellation."""

    def slope(self, x: Tensor) -> Tensor:
        """f'(x) = f[x, x]."""
        return self.first(x, x)

    @abstractmethod
    def taylor(self, m: Tensor, k: int) -> Tensor:
        """k-th Taylor coefficient f^(k)(m) / k!."""

    def close(self, gap: Tensor, smallest: Tensor) -> Tensor:
        """Where arguments within ``gap`` of each other, ``smallest`` the least, are served by a Taylor series."""
        return gap < SERIES_GAP * smallest.abs()

    def divided_difference(self, nodes: Sequence[Tensor]) -> Tensor:
        """f[x_0, ..., x_k], from differences over the widest pair, or a Taylor series when all nodes are close."""
        k = len(nodes) - 1
        if k == 0:
            return self.value(nodes[0])
        if k == 1:
            return self.first(*nodes)
        x = torch.stack(torch.broadcast_tensors(*nodes), -1).sort(-1).values.unbind(-1)
        gap = x[-1] - x[0]
        close = self.close(gap, x[0])
        rise = self.divided_difference(x[1:]) - self.divided_difference(x[:-1])
        wide = rise / torch.where(close, 1.0, gap)
        m = sum(x[1:], x[0]) / (k + 1)
        # complete homogeneous symmetric polynomials of the first 1, ..., k + 1 deviations, by their recursion
        deviations = [torch.where(close, t - m, 0.0) for t in x]
        sums = [torch.ones_like(m)] * (k + 1)
        series = self.taylor(m, k)
        for degree in range(1, SERIES_TERMS):
            previous = torch.zeros_like(m)
            for i, deviation in enumerate(deviations):
                previous = sums[i] = deviation * sums[i] + previous
            series = series + self.taylor(m, k + degree) * previous
        return torch.where(close, series, wide)


@dataclass(frozen=True)
class Log(SpectralFunction):
    """The natural logarithm, for x > 0."""

    def value(self, x: Tensor) -> Tensor:
        return x.log()

    def first(self, x: Tensor, y: Tensor) -> Tensor:
        """2 atanh(r) / (r (x + y)) with r = (x - y) / (x + y) for close arguments, the quotient for others."""
        total = x + y
        r2 = ((x - y) / total) ** 2
        apart = r2 > 0.01
        quotient = (x.log() - y.log()) / torch.where(apart, x - y, 1.0)
        close = 2 / total * polynomial(r2, [1 / (2 * k + 1) for k in range(9)])
        return torch.where(apart, quotient, close)

    def slope(self, x: Tensor) -> Tensor:
        return 1 / x

    def taylor(self, m: Tensor, k: int) -> Tensor:
        return (-1.0) ** (k + 1) / (k * m**k)


@dataclass(frozen=True)
class Exp(SpectralFunction):
    """The exponential function."""

    def value(self, x: Tensor) -> Tensor:
        return x.exp()

    def first(self, x: Tensor, y: Tensor) -> Tensor:
        """exp((x + y) / 2) sinhc((x - y) / 2) for close arguments, the quotient for others."""
        difference = x - y
        s = 0.25 * difference * difference
        apart = s > 0.25
        quotient = (x.exp() - y.exp()) / torch.where(apart, difference, 1.0)
        close = torch.exp(0.5 * (x + y)) * polynomial(s, [1 / math.factorial(2 * k + 1) for k in range(9)])
        return torch.where(apart, quotient, close)

    def slope(self, x: Tensor) -> Tensor:
        return x.exp()

    def taylor(self, m: Tensor, k: int) -> Tensor:
        return m.exp() / math.factorial(k)

    def close(self, gap: Tensor, smallest: Tensor) -> Tensor:
        return gap < SERIES_GAP


@dataclass(frozen=True)
class Power(SpectralFunction):
    """x^p for x > 0 and real p."""

    p: float

    def value(self, x: Tensor) -> Tensor:
        if self.p == 0.5:
            return x.sqrt()
        return 1 / x.sqrt() if self.p == -0.5 else x**self.p

    def first(self, x: Tensor, y: Tensor) -> Tensor:
        """By (x^p - y^p) / (p log x - p log y) times p log[x, y]; for square roots by their sum."""
        p = self.p
        if abs(p) == 0.5:
            a, b = x.sqrt(), y.sqrt()
            return 1 / (a + b) if p > 0 else -1 / (a * b * (a + b))
        if p == -1:
            return -1 / (x * y)
        return p * Exp().first(p * x.log(), p * y.log()) * Log().first(x, y)

    def taylor(self, m: Tensor, k: int) -> Tensor:
        binomial = math.prod(self.p - j for j in range(k)) / math.factorial(k)
        return binomial * m ** (self.p - k)
