"""Butcher tableaux: coefficients that check themselves and know what they preserve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

Tree = tuple[Any, ...]  # a rooted tree is the sorted tuple of the trees below its root
HIGHEST_CHECKED_ORDER = 6
ROUNDING = 1e-11


@lru_cache
def rooted_trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with ``order`` vertices: 1, 1, 2, 4, 9, 20 for orders 1 to 6."""
    if order == 1:
        return ((),)

    def forests(size: int, largest: int) -> list[tuple[Tree, ...]]:
        if size == 0:
            return [()]
        found = []
        for first in range(min(size, largest), 0, -1):
            for count in range(size // first, 0, -1):
                for heads in combinations_with_replacement(rooted_trees(first), count):
                    found += [heads + rest for rest in forests(size - first * count, first - 1)]
        return found

    return tuple(forests(order - 1, order - 1))


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    return _size(tree) * math.prod(map(_density, tree))


@dataclass(frozen=True)
class Tableau:
    """Runge-Kutta coefficients A (s x s), b, c with the order that is claimed for them.

    Raises:
        ValueError: if shapes disagree, a row of A does not sum to its c, or an order condition
            sum_i b_i Phi_i(tree) = 1 / density(tree) up to the claimed order (at most 6) fails.
    """

    A: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int

    def __post_init__(self) -> None:
        s = len(self.b)
        if len(self.c) != s or [len(row) for row in self.A] != [s] * s:
            raise ValueError(f"tableau: wanted A {s} x {s} and {s} entries in c, as in b")
        matrix, b, c = self._arrays
        if np.abs(matrix.sum(1) - c).max() > 1e-14:
            raise ValueError(f"tableau: the rows of A sum to {matrix.sum(1)}, c is {c}")
        for order in range(1, min(self.order, HIGHEST_CHECKED_ORDER) + 1):
            for tree in rooted_trees(order):
                defect = b @ self._stage_weight(tree) - 1 / _density(tree)
                if abs(defect) > ROUNDING:
                    raise ValueError(f"tableau: the order {order} condition of tree {tree} fails by {defect:.3g}")

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.A, float), np.array(self.b, float), np.array(self.c, float)

    def _stage_weight(self, tree: Tree) -> np.ndarray:
        weight = np.ones(len(self.b))
        for child in tree:
            weight = weight * (self._arrays[0] @ self._stage_weight(child))
        return weight

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return len(self.b)

    @cached_property
    def is_explicit(self) -> bool:
        """Whether A is strictly lower triangular."""
        return not np.triu(self._arrays[0]).any()

    @cached_property
    def _irreducible(self) -> tuple[np.ndarray, np.ndarray]:
        """A and b without the stages on which the result does not depend."""
        matrix, b, _ = self._arrays
        used = b != 0
        for _ in b:
            used = used | (matrix[used] != 0).any(0)
        return matrix[np.ix_(used, used)], b[used]

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
