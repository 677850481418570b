"""Butcher tableaux: coefficients that check themselves and know what they preserve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from manifoldnet.integrators.rooted_trees import Tree, density, rooted_trees, size
from manifoldnet.integrators.shu_osher import ShuOsher, shu_osher

HIGHEST_CHECKED_ORDER = 6
ROUNDING = 1e-11


@dataclass(frozen=True)
class Tableau:
    """Runge-Kutta coefficients A (s x s), b, c with the order that is claimed for them.

    Attributes:
        b_embedded: weights of a second method on the same stages, whose difference estimates the error.
        embedded_order: its order.
        dense: row i holds the coefficients of b_i(theta) = dense[i][0] theta + dense[i][1] theta^2 + ..., the weights
            of the solution at t + theta h; None for a method without.
        dense_order: the order of that solution at every theta.

    Raises:
        ValueError: if shapes disagree, a row of A does not sum to its c, an order condition
            sum_i b_i Phi_i(tree) = theta^|tree| / density(tree) up to the claimed order (at most 6) fails, b and
            b_embedded agree, or b_i(1) is not b_i.
    """

    A: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    b_embedded: tuple[float, ...] | None = None
    embedded_order: int | None = None
    dense: tuple[tuple[float, ...], ...] | None = None
    dense_order: int | None = None

    def __post_init__(self) -> None:
        s = len(self.b)
        if len(self.c) != s or [len(row) for row in self.A] != [s] * s:
            raise ValueError(f"tableau: wanted A {s} x {s} and {s} entries in c, as in b")
        matrix, b, c = self._arrays
        if np.abs(matrix.sum(1) - c).max() > 1e-14:
            raise ValueError(f"tableau: the rows of A sum to {matrix.sum(1)}, c is {c}")
        self._check_conditions("b", b, self.order)
        self._check_embedded(s)
        self._check_dense(s)
        # what steps read is made now: torch.compile cannot trace a cached property before it has its value
        _ = self.is_explicit, self.is_fsal, self.needed_stages, self.error_weights
        _ = self.shu_osher if self.is_explicit else self.displacement_weights

    def _check_embedded(self, s: int) -> None:
        if (self.b_embedded is None) != (self.embedded_order is None):
            raise ValueError("tableau: wanted b_embedded and embedded_order together or neither")
        if self.b_embedded is None or self.embedded_order is None:
            return
        if len(self.b_embedded) != s:
            raise ValueError(f"tableau: wanted {s} entries in b_embedded, got {len(self.b_embedded)}")
        if np.abs(np.subtract(self.b, self.b_embedded)).max() < 1e-6:
            raise ValueError("tableau: b_embedded is b, so that the estimate of the error would be zero")
        self._check_conditions("b_embedded", np.array(self.b_embedded, float), self.embedded_order)

    def _check_dense(self, s: int) -> None:
        if (self.dense is None) != (self.dense_order is None):
            raise ValueError("tableau: wanted dense and dense_order together or neither")
        if self.dense is None or self.dense_order is None:
            return
        if len(self.dense) != s or len({len(row) for row in self.dense}) != 1:
            raise ValueError(f"tableau: wanted {s} rows of one length in dense, got {self.dense}")
        if np.abs(np.sum(self.dense, axis=1) - self.b).max() > 1e-12:
            raise ValueError("tableau: the weights of the dense output at theta = 1 are not b")
        for theta in (0.3, 0.7):
            weights = np.array([float(w) for w in self.weights_at(theta)])
            self._check_conditions(f"b({theta})", weights, self.dense_order, theta)

    def _check_conditions(self, name: str, b: np.ndarray, claimed: int, theta: float = 1.0) -> None:
        for order in range(1, min(claimed, HIGHEST_CHECKED_ORDER) + 1):
            for tree in rooted_trees(order):
                defect = b @ self._stage_weight(tree) - theta ** size(tree) / density(tree)
                if abs(defect) > ROUNDING:
                    raise ValueError(
                        f"tableau: the order {order} condition of tree {tree} fails for {name} by {defect:.3g}"
                    )

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.A, float), np.array(self.b, float), np.array(self.c, float)

    def _stage_weight(self, tree: Tree) -> np.ndarray:
        weight = np.ones(len(self.b))
        for child in tree:
            weight = weight * (self._arrays[0] @ self._stage_weight(child))
        return weight

    def weights_at(self, theta: Any) -> list[Any]:
        """b_i(theta) of the dense output for a number or a tensor theta in [0, 1]."""
        assert self.dense is not None
        weights = []
        for row in self.dense:
            value = row[-1] * theta
            for coefficient in reversed(row[:-1]):
                value = (value + coefficient) * theta
            weights.append(value)
        return weights

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return len(self.b)

    @cached_property
    def is_explicit(self) -> bool:
        """Whether A is strictly lower triangular."""
        return not np.triu(self._arrays[0]).any()

    @cached_property
    def shu_osher(self) -> ShuOsher | None:
        """The method as convex combinations of Euler steps; None for an implicit one."""
        return shu_osher(*self._arrays[:2]) if self.is_explicit else None

    @cached_property
    def is_fsal(self) -> bool:
        """Whether the last stage is the first one of the next step: explicit, with b as the last row of A."""
        return self.is_explicit and self.stages > 1 and self.A[-1] == self.b and abs(self.c[-1] - 1) < 1e-14

    @cached_property
    def is_stiffly_accurate(self) -> bool:
        """Whether the last stage is the result: b is the last row of A."""
        return self.A[-1] == self.b

    @cached_property
    def displacement_weights(self) -> tuple[float, ...]:
        """w with y1 = y + sum_i w_i z_i, z_i = Y_i - y: b' A^-1, or the last stage where that is the result.

        The weights b_i would be those of h f(Y_i), which on stiff problems is the displacement's rounding error
        times a large slope (Hairer and Wanner 1996, section IV.8).
        """
        if self.is_stiffly_accurate:
            return (*(0.0,) * (self.stages - 1), 1.0)
        return tuple(np.linalg.solve(self._arrays[0].T, self._arrays[1]).tolist())

    @cached_property
    def _used(self) -> np.ndarray:
        matrix, b, _ = self._arrays
        used = b != 0
        for _ in b:
            used = used | (matrix[used] != 0).any(0)
        return used

    @cached_property
    def needed_stages(self) -> int:
        """Number of the first stages that contain all on which the result depends."""
        return int(np.flatnonzero(self._used)[-1]) + 1

    @cached_property
    def error_weights(self) -> tuple[float, ...] | None:
        """b - b_embedded."""
        if self.b_embedded is None:
            return None
        return tuple(w - v for w, v in zip(self.b, self.b_embedded, strict=True))

    @cached_property
    def _irreducible(self) -> tuple[np.ndarray, np.ndarray]:
        """A and b without the stages on which the result does not depend."""
        matrix, b, _ = self._arrays
        return matrix[np.ix_(self._used, self._used)], b[self._used]

    @cached_property
    def stability_matrix(self) -> np.ndarray:
        """M = B A + A' B - b b' of the irreducible tableau (Burrage and Butcher 1979)."""
        matrix, b = self._irreducible
        product = b[:, None] * matrix
        return product + product.T - np.outer(b, b)

    @cached_property
    def is_symplectic(self) -> bool:
        """Whether M = 0 (Sanz-Serna 1988)."""
        return bool(np.abs(self.stability_matrix).max() < 1e-13)

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether the method is its own adjoint: a_{s+1-i, s+1-j} + a_ij = b_j."""
        matrix, b = self._irreducible
        return bool(np.abs(matrix[::-1, ::-1] + matrix - b).max() < 1e-13)

    @cached_property
    def is_b_stable(self) -> bool:
        """Whether b > 0 and M >= 0: no step expands the distance of two solutions of a dissipative problem."""
        b = self._irreducible[1]
        return bool((b > 0).all() and np.linalg.eigvalsh(self.stability_matrix)[0] > -1e-13)

    @cached_property
    def circle_radius(self) -> float:
        """Largest r with circle contractivity: -1 / lambda_min(B^-1/2 M B^-1/2) (Dahlquist and Jeltsch 1979).

        0 if a weight is not positive, infinite if M >= 0.
        """
        b = self._irreducible[1]
        if (b <= 0).any():
            return 0.0
        scale = 1 / np.sqrt(b)
        smallest = float(np.linalg.eigvalsh(scale[:, None] * self.stability_matrix * scale)[0])
        return math.inf if smallest > -1e-13 else -1 / smallest


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a line such as "1/6 2/3 1/6", fractions rounded once."""
    return tuple(float(Fraction(word)) for word in text.split())


def explicit_tableau(
    order: int,
    rows: Sequence[str],
    b: str,
    *,
    embedded: tuple[int, str] | None = None,
    dense: tuple[int, Sequence[Sequence[float]]] | None = None,
) -> Tableau:
    """The tableau of an explicit method from its rows below the first, written as :func:`numbers`.

    Args:
        embedded: order and weights of the embedded method.
        dense: order and coefficients of the dense output. A first-same-as-last method gets the cubic Hermite
            interpolant, of order 3, if it brings none (Hairer, Nørsett and Wanner 1993, section II.6).
    """
    weights = numbers(b)
    s = len(weights)
    A = tuple(line + (0.0,) * (s - len(line)) for line in [(), *map(numbers, rows)])
    c = tuple(math.fsum(row) for row in A)
    if dense is None and s > 1 and A[-1] == weights:
        slopes = {0: (1.0, -2.0, 1.0), s - 1: (0.0, -1.0, 1.0)}
        hermite = [
            tuple(w * k + m for k, m in zip((0.0, 3.0, -2.0), slopes.get(i, (0.0,) * 3), strict=True))
            for i, w in enumerate(weights)
        ]
        dense = (min(order, 3), hermite)
    return Tableau(
        A=A,
        b=weights,
        c=c,
        order=order,
        b_embedded=None if embedded is None else numbers(embedded[1]),
        embedded_order=None if embedded is None else embedded[0],
        dense=None if dense is None else tuple(tuple(map(float, row)) for row in dense[1]),
        dense_order=None if dense is None else dense[0],
    )
