"""Rooted trees, which index the order conditions of Runge-Kutta methods (Butcher 1963)."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

Tree = tuple[Any, ...]
"""A rooted tree is the sorted tuple of the trees below its root."""


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


def size(tree: Tree) -> int:
    """Number of vertices."""
    return 1 + sum(map(size, tree))


def density(tree: Tree) -> int:
    """gamma(tree): the product of the sizes of all subtrees that hang at a vertex."""
    return size(tree) * math.prod(map(density, tree))
