"""What every Lie group offers, as something that acts and as a space."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.manifolds.base import Space

if TYPE_CHECKING:
    from manifoldnet.manifolds.actions import Action


class Group:
    """A Lie group as what acts: exponential, composition and the algebra, in coordinates of shape (..., dim).

    Convention: y' = hat(f) y and y = exp(u) y0, so dexpinv_u(v) = v - [u,v]/2 + [u,[u,v]]/12 - ...
    """

    dim: int | None = None
    point_shape: tuple[int, ...] | None = None
    closed_dexpinv: bool = True  # else integrators prefer its series to :meth:`dexpinv` without ``order``

    def exp(self, v: Tensor) -> Tensor:
        """The group element at time 1 of the one-parameter subgroup with velocity v."""
        raise NotImplementedError

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        """The product x y."""
        raise NotImplementedError

    def inverse(self, x: Tensor) -> Tensor:
        """The inverse element."""
        raise NotImplementedError

    def hat(self, v: Tensor) -> Tensor:
        """Coordinates to the algebra's own form (a matrix for matrix groups)."""
        return v

    def vee(self, m: Tensor) -> Tensor:
        """Inverse of :meth:`hat`."""
        return m

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        """Lie bracket [u, v] in coordinates, with the sign of the matrix commutator; 0 on commutative groups."""
        return torch.zeros_like(u + v)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        """Adjoint action: coordinates of x hat(v) x^-1; v itself on commutative groups."""
        return v

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        """dexp_u(v) with d/de exp(u + e v) = hat(dexp_u(v)) exp(u) at e = 0."""
        return v

    def dexpinv(self, u: Tensor, v: Tensor, order: int | None = None) -> Tensor:
        """Inverse of :meth:`dexp` in v.

        Args:
            order: number of nested brackets kept of sum_k B_k/k! ad_u^k v; None for the exact inverse.
        """
        if order is None:
            return self._dexpinv(u, v)
        if order < 0:
            raise ValueError(f"order: wanted a number of brackets >= 0 or None, got {order}")
        total, term = v, v
        for k in range(1, order + 1):
            term = self.bracket(u, term)
            if BERNOULLI[k]:
                total = total + BERNOULLI[k] / math.factorial(k) * term
        return total

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return v


def _bernoulli(count: int) -> tuple[float, ...]:
    numbers: list[float] = []
    for m in range(count):
        total = sum(math.comb(m + 1, k) * b for k, b in enumerate(numbers))
        numbers.append(1.0 if m == 0 else 0.0 if m > 1 and m % 2 else -total / (m + 1))
    return tuple(numbers)


BERNOULLI = _bernoulli(24)


class LieGroup(Group, Space):
    """A Lie group that is itself a space; it acts on itself by left multiplication."""

    @property
    def action(self) -> Action:
        from manifoldnet.manifolds.actions import LeftMultiplication

        return LeftMultiplication(self)

    def log(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Coordinates v of shape (..., dim) with exp(v) = x; the principal one where there are several."""
        raise NotImplementedError

    @abstractmethod
    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Identity elements with the batch shape ``shape``."""

    @abstractmethod
    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        """The tangent vector hat(v) x at x."""

    @abstractmethod
    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        """Inverse of :meth:`tangent_of`: coordinates v of the tangent vector u = hat(v) x."""
