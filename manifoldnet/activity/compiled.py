"""Loops that numba compiles on their first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call, without the GIL and with sums in any order, and keep the code on disk."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that can be written
        return njit(**options)(function)


@compiled
@no_type_check
def multiply_up(path):
    """In place for quaternions xyzw, (n, t, 4): each becomes the product of all up to it, the first leftmost."""
    n, t, _ = path.shape
    for i in range(n):
        a, b, c, d = path[i, 0]
        for s in range(1, t):
            x, y, z, w = path[i, s]
            a, b, c, d = (
                d * x + a * w + b * z - c * y,
                d * y - a * z + b * w + c * x,
                d * z + a * y - b * x + c * w,
                d * w - a * x - b * y - c * z,
            )
            path[i, s, 0], path[i, s, 1], path[i, s, 2], path[i, s, 3] = a, b, c, d
