"""Searches for the length of a step along a line: functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[[float], float]

# trial points keep this share of an interval away from its ends
MARGIN = 0.1
# a change of a loss relative to it that no number shows
INVISIBLE = 1e-17


def armijo(
    phi: Function,
    derphi: Function,
    *,
    phi0: float,
    derphi0: float,
    start: float,
    c1: float = 1e-4,
    amax: float = math.inf,
    trials: int = 30,
    **_: Any,
) -> float | None:
    """A number a with sufficient decrease, phi(a) <= phi(0) + c1 a phi'(0), by backtracking from ``start``.

    The next trial is the minimiser of the parabola through phi(0), phi'(0) and the last value, but between a tenth and
    half of the last trial (Nocedal and Wright 2006, section 3.5); a tenth where phi is not finite. ``derphi`` is not
    called.

    Args:
        phi0, derphi0: phi(0) and phi'(0) < 0.
        start: the first trial.
        amax: the largest number allowed.
        trials: how many to make.

    Returns:
        None if no trial will do.
    """
    a = min(start, amax)
    for _trial in range(trials):
        value = phi(a)
        if value <= phi0 + c1 * a * derphi0:
            return a
        if -a * derphi0 <= INVISIBLE * abs(phi0):
            return None
        a = _parabola(0.0, phi0, derphi0, a, value, upper=0.5)
    return None


@dataclass(frozen=True)
class _Point:
    a: float
    value: float
    slope: float


def strong_wolfe(
    phi: Function,
    derphi: Function,
    *,
    phi0: float,
    derphi0: float,
    start: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    amax: float = math.inf,
    trials: int = 30,
    **_: Any,
) -> float | None:
    """A number a with :func:`armijo`'s decrease and |phi'(a)| <= c2 |phi'(0)| (Nocedal and Wright 2006, 3.5 and 3.6).

    Where ``trials`` or ``amax`` end the search before the second condition holds, the least value found that has
    sufficient decrease is taken; None if there is none. Arguments as for :func:`armijo`.
    """

    def enough(a: float, value: float) -> bool:
        return value <= phi0 + c1 * a * derphi0

    low = _Point(0.0, phi0, derphi0)
    a = min(start, amax)
    for trial in range(trials):
        value = phi(a)
        if not enough(a, value) or (low.a > 0 and value >= low.value):
            return _zoom(phi, derphi, enough, low, _Point(a, value, math.nan), c2 * -derphi0, trials - trial - 1)
        here = _Point(a, value, derphi(a))
        if abs(here.slope) <= c2 * -derphi0 or a >= amax:
            return a
        if here.slope >= 0:
            return _zoom(phi, derphi, enough, here, low, c2 * -derphi0, trials - trial - 1)
        low, a = here, min(3 * a, amax)
    return low.a


def _zoom(
    phi: Function,
    derphi: Function,
    enough: Callable[[float, float], bool],
    low: _Point,
    high: _Point,
    flat: float,
    trials: int,
) -> float | None:
    """The search between two points with a good one between them; the slope of ``low`` points towards ``high``."""
    for _trial in range(trials):
        if abs((high.a - low.a) * low.slope) <= INVISIBLE * abs(low.value):
            break
        a = _parabola(low.a, low.value, low.slope, high.a, high.value, upper=1 - MARGIN)
        value = phi(a)
        if not enough(a, value) or value >= low.value:
            high = _Point(a, value, math.nan)
            continue
        here = _Point(a, value, derphi(a))
        if abs(here.slope) <= flat:
            return a
        if here.slope * (high.a - low.a) >= 0:
            high = low
        low = here
    return low.a if low.a > 0 else None


def _parabola(a: float, value: float, slope: float, b: float, other: float, upper: float) -> float:
    """Minimiser between a and b of the parabola with a value and a slope at a and a value at b, away from the ends."""
    curvature = other - value - slope * (b - a)
    if not math.isfinite(curvature):
        share = MARGIN
    elif curvature <= 0:
        share = upper
    else:
        share = min(max(-0.5 * slope * (b - a) / curvature, MARGIN), upper)
    return a + share * (b - a)
