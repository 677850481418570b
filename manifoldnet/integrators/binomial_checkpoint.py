"""Which points of a chain of steps are kept so that it can be run through backwards with few of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

Point = TypeVar("Point")


def fewest_slots(count: int) -> int:
    """The least number of slots with which no step is taken more than twice, about sqrt(2 count)."""
    slots = 0
    while math.comb(slots + 3, 2) < count:
        slots += 1
    return slots


def first_kept(count: int, slots: int) -> int:
    """Where to keep the first point after the start of ``count`` >= 2 steps, with ``slots`` >= 1 to fill.

    With s = slots + 1 points, the start included, and r the least number for which binomial(s + r, s) >= count, no
    step is then taken more than r times, and all together as rarely as can be (Griewank and Walther 2000, "revolve").
    """
    s, r = slots + 1, 1
    while math.comb(s + r, s) < count:
        r += 1
    least_before = math.comb(s + r - 2, s) if r > 1 else 1
    return max(count - math.comb(s - 1 + r, s - 1), least_before)


def kept_on_the_way(count: int, slots: int) -> list[int]:
    """The places in 1..count - 1 whose points are kept while the steps are taken for the first time.

    These are the filled slots and the last place, whose point is at hand then.
    """
    kept, start = [], 0
    while count - start > 1 and slots > 0:
        start += first_kept(count - start, slots)
        slots -= 1
        kept.append(start)
    return kept if start == count - 1 else [*kept, count - 1]


def backwards(
    count: int, slots: int, known: Mapping[int, Point], step: Callable[[int, Point], Point]
) -> Iterator[tuple[int, Point]]:
    """The points before each step, from the last step to the first: (count - 1, point), ..., (0, point).

    Args:
        known: the points at 0 and at :func:`kept_on_the_way`.
        step: (k, point) -> the point after step k.
    """
    yield from _backwards(0, count, slots, dict(known), step)


def _backwards(
    start: int, stop: int, slots: int, known: dict[int, Point], step: Callable[[int, Point], Point]
) -> Iterator[tuple[int, Point]]:
    while stop - start > 1 and slots > 0:
        middle = start + first_kept(stop - start, slots)
        if middle not in known:
            known[middle] = _advance(start, middle, known[start], step)
        yield from _backwards(middle, stop, slots - 1, known, step)
        known.pop(middle, None)
        stop = middle
    for k in reversed(range(start, stop)):
        yield k, known.pop(k) if k in known else _advance(start, k, known[start], step)


def _advance(start: int, stop: int, point: Point, step: Callable[[int, Point], Point]) -> Point:
    for k in range(start, stop):
        point = step(k, point)
    return point
