"""What every Lie group offers, as something that acts and as a space."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
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
    coordinate_ndim: int = 1  # trailing dimensions of generators that are coordinates

    def exp(self, v: Tensor) -> Tensor:
        """The group element at time 1 of the one-parameter subgroup with velocity v."""
        raise NotImplementedError

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        """The product x y."""
        raise NotImplementedError

    def exp_compose(self, v: Tensor, y: Tensor) -> Tensor:
        """exp(v) y, in one go where that is cheaper."""
        return self.compose(self.exp(v), y)

    @property
    def is_commutative(self) -> bool:
        """Whether every bracket is 0, which a group says by leaving :meth:`bracket` as it is here."""
        return type(self).bracket is Group.bracket

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

    def ad(self, u: Tensor, v: Tensor) -> Tensor:
        """ad_u(v) = [u, v], the derivative of Ad(exp(e u), v) at e = 0: :meth:`bracket` by its other name."""
        return self.bracket(u, v)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        """Adjoint action: coordinates of x hat(v) x^-1; v itself on commutative groups."""
        return v

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        """Coadjoint action on the dual of the algebra: <coAd(x, mu), v> = <mu, Ad(x^-1, v)> for every v.

        Dual vectors have the coordinates (..., dim) for which the pairing <mu, v> is the sum of products, and the
        inverse makes coAd(x y, mu) = coAd(x, coAd(y, mu)) (Marsden and Ratiu 1999, section 9.3).
        """
        backward = self.inverse(x)
        return _transpose(lambda v: self.Ad(backward, v), mu)

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        """Derivative of coAd(exp(e u), mu) at e = 0: <coad(u, mu), v> = -<mu, [u, v]> for every v."""
        return -_transpose(lambda v: self.bracket(u, v), mu)

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
                total = torch.add(total, term, alpha=BERNOULLI[k] / math.factorial(k))
        return total

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return v

    def left_jacobian(self, u: Tensor) -> Tensor:
        """Matrix (..., dim, dim) of :meth:`dexp`, column k being dexp_u(e_k).

        In the convention of Chirikjian (2011) and of Solà, Deray and Atchuthan (2018), to first order in e,
        exp(u + e v) = exp(e J_l v) exp(u) = exp(u) exp(e J_r v).
        """
        return matrix_of(self.dexp, u)

    def right_jacobian(self, u: Tensor) -> Tensor:
        """Matrix (..., dim, dim) with columns dexp_{-u}(e_k): J_r in :meth:`left_jacobian`, J_r(u) = J_l(-u)."""
        return matrix_of(self.dexp, -u)

    def left_jacobian_inverse(self, u: Tensor) -> Tensor:
        """Inverse of :meth:`left_jacobian`, with columns dexpinv_u(e_k): log(exp(e v) exp(u)) = u + e J_l^-1 v."""
        return matrix_of(self.dexpinv, u)

    def right_jacobian_inverse(self, u: Tensor) -> Tensor:
        """Inverse of :meth:`right_jacobian`, with columns dexpinv_{-u}(e_k): log(exp(u) exp(e v)) = u + e J_r^-1 v."""
        return matrix_of(self.dexpinv, -u)


def matrix_of(f: Callable[[Tensor, Tensor], Tensor], u: Tensor) -> Tensor:
    """The matrix (..., m, dim) of f(u, .), which is linear in its second argument, for u of shape (..., dim)."""
    eye = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    rows = f(u.unsqueeze(-2), eye)
    return rows.expand(*u.shape, rows.shape[-1]).mT


def _transpose(f: Callable[[Tensor], Tensor], mu: Tensor) -> Tensor:
    """The transpose of the linear map f, which acts on the last dimension and may widen the batch, applied to mu."""
    batch = f(torch.zeros_like(mu)).shape
    wide = mu.expand(batch)
    (value,) = torch.func.vjp(f, torch.zeros_like(wide))[1](wide)
    return value


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

    def settle(self, x: Tensor) -> Tensor:
        """x without what rounding has moved it off the group; x itself where nothing can drift.

        Ten thousand products in float32 leave a rotation by 1e-5 unless each is settled; float64 needs no help.
        """
        return x

    @abstractmethod
    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        """The tangent vector hat(v) x at x."""

    @abstractmethod
    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        """Inverse of :meth:`tangent_of`: coordinates v of the tangent vector u = hat(v) x."""
