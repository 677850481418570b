"""Explicit methods as convex combinations of Euler steps."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np


class ShuOsher(NamedTuple):
    """A method as convex combinations of Euler steps of length h / radius.

    Y_i = v_i y + sum_j alpha_ij (Y_j + h / radius f(t + c_j h, Y_j)), y1 = Y_{s+1} (Gottlieb, Ketcheson and Shu 2011,
    section 3.2). The radius is the largest with non-negative v and alpha; 0 for a method that has none.
    """

    radius: float
    v: tuple[float, ...]
    alpha: tuple[tuple[float, ...], ...]


def shu_osher(A: np.ndarray, b: np.ndarray) -> ShuOsher:
    """The form of an explicit method with the largest radius."""
    s = len(b)
    S = np.zeros((s + 1, s + 1))
    S[:s, :s], S[s, :s] = A, b

    def form(radius: float) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(np.eye(s + 1) + radius * S)
        return inverse.sum(1), radius * inverse @ S

    def is_convex(radius: float) -> bool:
        v, alpha = form(radius)
        return bool(v.min() > -1e-13 and alpha.min() > -1e-13)

    low, high = 0.0, 2.0 * s
    if not is_convex(1e-6):
        return ShuOsher(0.0, (), ())
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_convex(middle) else (low, middle)
    # the radii of the known methods are simple fractions, which bisection meets up to the slack of the comparison
    simple = float(Fraction(low).limit_denominator(100))
    radius = simple if abs(low - simple) < 1e-9 else low
    v, alpha = (np.where(np.abs(x) < 1e-13, 0.0, x) for x in form(radius))
    return ShuOsher(radius, tuple(v.tolist()), tuple(map(tuple, alpha.tolist())))
