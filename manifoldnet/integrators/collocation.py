"""Tableaux of fully implicit methods for any number of stages, from their simplifying assumptions."""

from __future__ import annotations

from functools import lru_cache

import mpmath

from manifoldnet.integrators.tableau import Tableau

DIGITS = 50


def gauss(s: int) -> Tableau:
    """Gauss with s stages, order 2s: nodes of the Legendre polynomial, C(s) (Butcher 1964)."""
    return _tableau("gauss", s)


def radau_ia(s: int) -> Tableau:
    """Radau IA with s stages, order 2s - 1: c_1 = 0, D(s) (Ehle 1969)."""
    return _tableau("radau-ia", s)


def radau_iia(s: int) -> Tableau:
    """Radau IIA with s stages, order 2s - 1: c_s = 1, C(s) (Ehle 1969)."""
    return _tableau("radau-iia", s)


def lobatto_iiic(s: int) -> Tableau:
    """Lobatto IIIC with s >= 2 stages, order 2s - 2: c_1 = 0, c_s = 1, C(s - 1) and a_i1 = b_1 (Chipman 1971)."""
    return _tableau("lobatto-iiic", s)


# the trapezoidal rule, Lobatto IIIA with two stages: symmetric, A-stable, not B-stable
TRAPEZOID = Tableau(A=((0.0, 0.0), (0.5, 0.5)), b=(0.5, 0.5), c=(0.0, 1.0), order=2)


@lru_cache
def _tableau(family: str, s: int) -> Tableau:
    fewest = 2 if family == "lobatto-iiic" else 1
    if s < fewest:
        raise ValueError(f"s: {family} wants at least {fewest} stages, got {s}")
    with mpmath.workdps(DIGITS):
        c = _nodes(family, s)
        b = _weights(c, mpmath.mpf(1), s)
        if family == "radau-ia":
            A = _from_d(b, c)
        elif family == "lobatto-iiic":
            A = [_row_with_first(b[0], x, c) for x in c]
        else:
            A = [_weights(c, x, s) for x in c]
        order = 2 * s - sum(_has_ends(family))
        return Tableau(
            A=tuple(tuple(map(float, row)) for row in A),
            b=tuple(map(float, b)),
            c=tuple(map(float, c)),
            order=order,
        )


def _has_ends(family: str) -> tuple[bool, bool]:
    """Whether 0 and 1 are nodes."""
    return family in ("radau-ia", "lobatto-iiic"), family in ("radau-iia", "lobatto-iiic")


def _nodes(family: str, s: int) -> list[mpmath.mpf]:
    """Zeros of the derivative of order s - l - r of x^(s - r) (x - 1)^(s - l), in order.

    l and r are 1 where the ends 0 and 1 are nodes, which the multiple zeros of the polynomial there make them.
    """
    left, right = _has_ends(family)
    polynomial = [mpmath.mpf(1)]
    for root, count in ((0, s - right), (1, s - left)):
        for _ in range(count):
            longer = [*polynomial, mpmath.mpf(0)]
            for i, coefficient in enumerate(polynomial):
                longer[i + 1] -= root * coefficient
            polynomial = longer
    for _ in range(s - left - right):
        degree = len(polynomial) - 1
        polynomial = [coefficient * (degree - i) for i, coefficient in enumerate(polynomial[:-1])]
    roots = mpmath.polyroots(polynomial, maxsteps=500, extraprec=400) if len(polynomial) > 1 else []
    nodes = sorted(mpmath.re(root) for root in roots)
    if left:
        nodes[0] = mpmath.mpf(0)
    if right:
        nodes[-1] = mpmath.mpf(1)
    return nodes


def _weights(c: list[mpmath.mpf], end: mpmath.mpf, s: int) -> list[mpmath.mpf]:
    """w with sum_j w_j c_j^(k-1) = end^k / k for k = 1..s: B(s) for end = 1, a row of C(s) for end = c_i."""
    matrix = mpmath.matrix(s, s)
    right = mpmath.matrix(s, 1)
    for k in range(s):
        for j in range(s):
            matrix[k, j] = c[j] ** k if k else mpmath.mpf(1)
        right[k] = end ** (k + 1) / (k + 1)
    return list(mpmath.lu_solve(matrix, right))


def _row_with_first(first: mpmath.mpf, end: mpmath.mpf, c: list[mpmath.mpf]) -> list[mpmath.mpf]:
    """A row of C(s - 1) whose entry at the node 0 is given: the others then solve a square system."""
    s = len(c)
    matrix = mpmath.matrix(s - 1, s - 1)
    right = mpmath.matrix(s - 1, 1)
    for k in range(s - 1):
        for j in range(1, s):
            matrix[k, j - 1] = c[j] ** k if k else mpmath.mpf(1)
        right[k] = end ** (k + 1) / (k + 1) - (first if k == 0 else 0)
    return [first, *mpmath.lu_solve(matrix, right)]


def _from_d(b: list[mpmath.mpf], c: list[mpmath.mpf]) -> list[list[mpmath.mpf]]:
    """A of D(s): sum_i b_i c_i^(k-1) a_ij = b_j (1 - c_j^k) / k for k = 1..s."""
    s = len(c)
    matrix = mpmath.matrix(s, s)
    for k in range(s):
        for i in range(s):
            matrix[k, i] = b[i] * (c[i] ** k if k else mpmath.mpf(1))
    columns = []
    for j in range(s):
        right = mpmath.matrix([b[j] * (1 - c[j] ** (k + 1)) / (k + 1) for k in range(s)])
        columns.append(list(mpmath.lu_solve(matrix, right)))
    return [[columns[j][i] for j in range(s)] for i in range(s)]
