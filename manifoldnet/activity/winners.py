"""How often each of eight competing kernels fits a series best and worst, compiled by numba.

A tensor expression would write every convolution to memory, eight times as much as the series, only to read it for a
maximum: six times slower in torch than this loop, and a window alone is to be classified in milliseconds.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from manifoldnet.activity.compiled import compiled

COMPETITORS = 8
TAPS = 9


@compiled
@no_type_check
def convolve(padded, w, d, length, value):
    """value[s] = sum_j w[j] padded[s + j d], written out so that it is one pass of eight numbers at a time."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    # views, because a sum of indices is checked for its sign at every step
    p0, p1, p2, p3, p4 = padded, padded[d:], padded[2 * d :], padded[3 * d :], padded[4 * d :]
    p5, p6, p7, p8 = padded[5 * d :], padded[6 * d :], padded[7 * d :], padded[8 * d :]
    for s in range(length):
        value[s] = (
            (w0 * p0[s] + w1 * p1[s] + w2 * p2[s])
            + (w3 * p3[s] + w4 * p4[s] + w5 * p5[s])
            + (w6 * p6[s] + w7 * p7[s] + w8 * p8[s])
        )


@compiled
@no_type_check
def referee(values, length, out):
    """Row 0 of ``out`` (2, 8): the sum of a kernel's values where it is greatest; row 1: how often it is least."""
    v0, v1, v2, v3 = values[0], values[1], values[2], values[3]
    v4, v5, v6, v7 = values[4], values[5], values[6], values[7]
    nothing, one = np.float32(0), np.float32(1)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = nothing
    c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = nothing
    for s in range(length):
        a, b, c, d, e, f, g, h = v0[s], v1[s], v2[s], v3[s], v4[s], v5[s], v6[s], v7[s]
        ab, cd, ef, gh = (a if a > b else b), (c if c > d else d), (e if e > f else f), (g if g > h else h)
        abcd, efgh = (ab if ab > cd else cd), (ef if ef > gh else gh)
        most = abcd if abcd > efgh else efgh
        ab, cd, ef, gh = (a if a < b else b), (c if c < d else d), (e if e < f else f), (g if g < h else h)
        abcd, efgh = (ab if ab < cd else cd), (ef if ef < gh else gh)
        least = abcd if abcd < efgh else efgh
        s0 += a if a == most else nothing
        s1 += b if b == most else nothing
        s2 += c if c == most else nothing
        s3 += d if d == most else nothing
        s4 += e if e == most else nothing
        s5 += f if f == most else nothing
        s6 += g if g == most else nothing
        s7 += h if h == most else nothing
        c0 += one if a == least else nothing
        c1 += one if b == least else nothing
        c2 += one if c == least else nothing
        c3 += one if d == least else nothing
        c4 += one if e == least else nothing
        c5 += one if f == least else nothing
        c6 += one if g == least else nothing
        c7 += one if h == least else nothing
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = s0, s1, s2, s3
    out[0, 4], out[0, 5], out[0, 6], out[0, 7] = s4, s5, s6, s7
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = c0, c1, c2, c3
    out[1, 4], out[1, 5], out[1, 6], out[1, 7] = c4, c5, c6, c7


@compiled
@no_type_check
def count_winners(series, sources, kernels, dilations, differences, out):
    """Fill ``out`` (n, families, 2, 8) float32: sums of the winning values, and numbers of the losing places.

    Args:
        series: (n, channels, t) float32.
        sources: (families, m) int64, the channels whose sum a family of kernels sees.
        kernels: (families, 8, 9) float32.
        dilations: (families,) int64, spaces between taps; the ends are padded with zeros to keep the length.
        differences: (families,) bool, whether a family sees differences of neighbours in place of the series.
    """
    n, _, t = series.shape
    families, m = sources.shape
    padded = np.zeros(t + 2 * 4 * dilations.max(), np.float32)
    values = np.empty((8, t), np.float32)
    for i in range(n):
        for f in range(families):
            d = dilations[f]
            length = t - 1 if differences[f] else t
            padded[:] = 0
            inner = padded[4 * d :]
            for c in range(m):
                row = series[i, sources[f, c]]
                if differences[f]:
                    following = row[1:]
                    for s in range(length):
                        inner[s] += following[s] - row[s]
                else:
                    for s in range(length):
                        inner[s] += row[s]
            for k in range(8):
                convolve(padded, kernels[f, k], d, length, values[k])
            referee(values, length, out[i, f])
