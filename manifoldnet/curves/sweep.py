"""Best monotone paths of many pairs of transforms on the CPU, compiled by numba.

The recursion is that of :mod:`manifoldnet.curves.dynamic_programming`. Row by row, 32 columns at a time stay in
registers while all segments into them are tried; the products <q0_i, q1_j> of a row are made just before its
nodes need them. Threads share nothing: the caller gives each of them its own pairs (the GIL is released). The first
call for a dtype on a machine compiles for several seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from manifoldnet.curves.lattice import crossings, segments
from manifoldnet.curves.simd import add, broadcast, fma, load, maximum, mul, store

TILE = 32  # columns in registers: four vectors of sums and four of maxima
COARSEST = 24  # cells below which a level is solved without a strip around the path of a coarser one


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call, without the GIL, and keep the code on disk."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder that can be written
        return njit(nogil=True, error_model="numpy")(function)


class Tables(NamedTuple):
    """Segments and crossings as the kernel reads them."""

    slopes: int
    a: np.ndarray
    b: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=64)
def tables(slopes: int, dtype: str) -> Tables:
    """Those of the coprime segments, weights in float32 or float64."""
    cells = crossings(slopes, True)
    a, b = np.array(segments(slopes, True), dtype=np.int64).T.copy()
    return Tables(slopes, a, b, cells.first, cells.rows, cells.columns, cells.weights.astype(dtype))


@_jit
@no_type_check
def solve(q0, q1, cells0, cells1, pairs, table, band, radius, values, nodes):
    """Best paths between q0[pairs[p, 0]] and q1[pairs[p, 1]].

    Args:
        q0, q1: (k, n, dim) and (l, m, dim), contiguous, of one dtype.
        cells0, cells1: (k,) and (l,), how many cells of each transform count.
        pairs: (pairs, 2).
        table: of the same dtype.
        band: as in elastic_distance, negative for none.
        radius: half the width of the strip around the path of the next coarser level, negative for no levels.
        values: (pairs,), the value of the best path, -inf where there is none.
        nodes: (pairs, min(n, m) + 1, 2), filled with the nodes from (n, m) back to (0, 0) and (0, 0) after
            that; not filled if it has no pairs.
    """
    R = table.slopes
    n, dim = q0.shape[1:]
    m = q1.shape[1]
    stride = -(-(R + 1 + m + 2 * TILE) // 16) * 16
    if stride % 256 == 0:
        stride += 16  # rows a multiple of 4 kB apart would share the same few lines of the cache
    off_cell = table.rows * stride + table.columns
    off_node = -(table.a * stride + table.b)
    levels = 1
    if radius >= 0:
        while min(n, m) >> levels >= COARSEST:
            levels += 1
    pyramid0 = np.empty((levels, n, dim), q0.dtype)
    pyramid1 = np.zeros((levels, dim * stride), q0.dtype)
    gram = np.zeros((n + R + 1) * stride, q0.dtype)
    best = np.empty((n + R + 1) * stride, q0.dtype)
    lowest, highest = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    path = np.empty((min(n, m) + 1, 2), np.int64)
    for p in range(len(pairs)):
        first, second = pairs[p]
        n, m = cells0[first], cells1[second]
        _coarsen(q0[first], n, q1[second], m, R, stride, pyramid0, pyramid1)
        depth = 0
        if radius >= 0:
            while depth + 1 < levels and min(n, m) >> (depth + 1) >= COARSEST:
                depth += 1
        steps = 0
        for level in range(depth, -1, -1):
            rows, columns = -(-n >> level), -(-m >> level)
            width = radius
            value = -np.inf
            while value == -np.inf:
                whole = level == depth or width >= max(rows, columns)
                _bounds(rows, columns, R, band if level == 0 or band < 0 else band / 2**level + 1, lowest, highest)
                if not whole:
                    _strip(path, steps, rows, columns, width, lowest, highest)
                value = _sweep(
                    pyramid0[level], pyramid1[level], rows, columns, stride, dim, table, off_cell, off_node,
                    lowest, highest, gram, best,
                )  # fmt: skip
                if whole:
                    break
                width = 2 * width + 1
            if value == -np.inf:
                break
            if level > 0 or len(nodes):
                steps = _trace(rows, columns, stride, table, off_cell, gram, best, path)
        values[p] = value
        if len(nodes):
            nodes[p] = 0
            if value > -np.inf:
                nodes[p, : steps + 1] = path[: steps + 1]


@_jit
@no_type_check
def _coarsen(q0, n, q1, m, R, stride, pyramid0, pyramid1):
    """Each level halves the cells: the mean of two densities is the best step function of the double width.

    A last cell without a partner stays: the widths do not matter, only the order. pyramid1 is transposed, so that
    a vector holds eight cells, with room for a segment before the first and for a tile after the last.
    """
    levels, _, dim = pyramid0.shape
    half = math.sqrt(0.5)
    pyramid0[0, :n] = q0[:n]
    for d in range(dim):
        start = d * stride + R
        for j in range(m):
            pyramid1[0, start + j] = q1[j, d]
        pyramid1[0, start + m : (d + 1) * stride] = 0
    for level in range(1, levels):
        fine0, fine1 = -(-n >> (level - 1)), -(-m >> (level - 1))
        for i in range(fine0 // 2):
            for d in range(dim):
                pyramid0[level, i, d] = half * (pyramid0[level - 1, 2 * i, d] + pyramid0[level - 1, 2 * i + 1, d])
        if fine0 % 2:
            pyramid0[level, fine0 // 2] = pyramid0[level - 1, fine0 - 1]
        for d in range(dim):
            start = d * stride + R
            for j in range(fine1 // 2):
                pyramid1[level, start + j] = half * (
                    pyramid1[level - 1, start + 2 * j] + pyramid1[level - 1, start + 2 * j + 1]
                )
            if fine1 % 2:
                pyramid1[level, start + fine1 // 2] = pyramid1[level - 1, start + fine1 - 1]
            pyramid1[level, start + -(-fine1 // 2) : (d + 1) * stride] = 0


@_jit
@no_type_check
def _bounds(n, m, R, band, lowest, highest):
    """The columns of each row, as lattice.bounds has them; both ends never fall from row to row."""
    for i in range(n + 1):
        lowest[i] = max(-(-i // R), m - R * (n - i))
        highest[i] = min(R * i, m - -(-(n - i) // R))
        if band >= 0:
            lowest[i] = max(lowest[i], math.ceil((i * m - band * min(n, m)) / n))
            highest[i] = min(highest[i], math.floor((i * m + band * min(n, m)) / n))


@_jit
@no_type_check
def _strip(path, steps, n, m, width, lowest, highest):
    """Narrow the bounds to ``width`` cells on both sides of the path of the coarser level."""
    for k in range(steps):
        i0, i1 = min(2 * path[k + 1, 0], n), min(2 * path[k, 0], n)
        j0, j1 = min(2 * path[k + 1, 1], m), min(2 * path[k, 1], m)
        for i in range(i0, i1 + 1):
            column = j0 + (i - i0) * (j1 - j0) / (i1 - i0)
            lowest[i] = max(lowest[i], math.floor(column) - width)
            highest[i] = min(highest[i], math.ceil(column) + width)


@_jit
@no_type_check
def _sweep(q0, q1, n, m, stride, dim, table, off_cell, off_node, lowest, highest, gram, best):
    """Fill ``gram`` and ``best`` as far as the bounds ask for; the value of the best path.

    Node (i, j) is at (i + R) stride + R + j of ``best``, cell (i, j) at the same place of ``gram``.
    """
    R = table.slopes
    for i in range(-R, n + 1):
        row = (i + R) * stride + R
        ahead = highest[min(i + R, n)] + TILE
        if i <= 0:
            best[row - R : row + ahead] = -np.inf
            gram[row - R : row + ahead] = 0
            if i == 0:
                best[row] = 0
            continue
        _products(q0, i - 1, q1, dim, R, stride, max(lowest[i] - R, -R), highest[min(i - 1 + R, n)] + TILE, gram)
        best[row + lowest[i] - R : row + lowest[i]] = -np.inf
        for node in range(row + lowest[i], row + highest[i] + 1, TILE):
            _tile(gram, best, node, off_cell, off_node, table.first, table.weights)
        best[row + highest[i] + 1 : row + ahead] = -np.inf
    return best[(n + R) * stride + R + m]


@_jit
@no_type_check
def _products(q0, i, q1, dim, R, stride, start, stop, gram):
    """gram[i, start:stop] = <q0_i, q1_j>, always summed in the order of the coordinates."""
    row = (i + R) * stride + R
    for j in range(start, stop, TILE):
        j = min(j, stride - R - TILE)
        x = broadcast(q0[i, 0])
        place = R + j
        s0, s1 = mul(x, load(q1, place)), mul(x, load(q1, place + 8))
        s2, s3 = mul(x, load(q1, place + 16)), mul(x, load(q1, place + 24))
        for d in range(1, dim):
            x = broadcast(q0[i, d])
            place += stride
            s0, s1 = fma(x, load(q1, place), s0), fma(x, load(q1, place + 8), s1)
            s2, s3 = fma(x, load(q1, place + 16), s2), fma(x, load(q1, place + 24), s3)
        store(gram, row + j, s0)
        store(gram, row + j + 8, s1)
        store(gram, row + j + 16, s2)
        store(gram, row + j + 24, s3)


@_jit
@no_type_check
def _tile(gram, best, node, off_cell, off_node, first, weights):
    """The values of 32 nodes in a row."""
    top0 = broadcast(best.dtype.type(-np.inf))
    top1 = top2 = top3 = top0
    for s in range(len(off_node)):
        k = first[s]
        w, place = broadcast(weights[k]), node + off_cell[k]
        s0, s1 = mul(w, load(gram, place)), mul(w, load(gram, place + 8))
        s2, s3 = mul(w, load(gram, place + 16)), mul(w, load(gram, place + 24))
        for k in range(first[s] + 1, first[s + 1]):
            w, place = broadcast(weights[k]), node + off_cell[k]
            s0, s1 = fma(w, load(gram, place), s0), fma(w, load(gram, place + 8), s1)
            s2, s3 = fma(w, load(gram, place + 16), s2), fma(w, load(gram, place + 24), s3)
        place = node + off_node[s]
        top0, top1 = maximum(top0, add(s0, load(best, place))), maximum(top1, add(s1, load(best, place + 8)))
        top2, top3 = maximum(top2, add(s2, load(best, place + 16))), maximum(top3, add(s3, load(best, place + 24)))
    store(best, node, top0)
    store(best, node + 8, top1)
    store(best, node + 16, top2)
    store(best, node + 24, top3)


@_jit
@no_type_check
def _trace(n, m, stride, table, off_cell, gram, best, path):
    """Write the best path from (n, m) back to (0, 0); the number of its segments."""
    R = table.slopes
    i, j, steps = n, m, 0
    path[0, 0], path[0, 1] = n, m
    while i > 0:
        node = (i + R) * stride + R + j
        top, choice = -np.inf, 0
        for s in range(len(table.a)):
            value = best[node - table.a[s] * stride - table.b[s]] if table.a[s] <= i and table.b[s] <= j else -np.inf
            if value == -np.inf:
                continue
            for k in range(table.first[s], table.first[s + 1]):
                value += table.weights[k] * gram[node + off_cell[k]]
            if value > top:
                top, choice = value, s
        i, j, steps = i - table.a[choice], j - table.b[choice], steps + 1
        path[steps, 0], path[steps, 1] = i, j
    return steps
