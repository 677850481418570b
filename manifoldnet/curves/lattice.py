"""The segments of discrete reparametrisations, the cells they cross, and the nodes they may visit.

Two piecewise constant transforms q0 (n cells) and q1 (m cells) span a lattice of nodes (i, j), 0 <= i <= n,
0 <= j <= m. A reparametrisation is a chain of segments from (0, 0) to (n, m). Segment (a, b) covers a cells of q0
and b cells of q1, 1 <= a, b <= slopes, and its part of the integral of sqrt(phi') <q0, q1 o phi> is exactly

    W = sqrt(a b) * sum over the crossed cells of (fraction of the segment in the cell) * <q0_i, q1_j>,

free of both grid sizes when q is v / sqrt|v|.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from manifoldnet.errors import InputError


@lru_cache(maxsize=64)
def segments(slopes: int, coprime: bool) -> tuple[tuple[int, int], ...]:
    """The segments (a, b).

    One with a common divisor passes through nodes and adds nothing to a maximum: ``coprime`` leaves it out,
    and puts the shortest segment first, which then wins ties. All of them come in the order of the cells of a
    window.
    """
    if not coprime:
        return tuple((a, b) for a in range(slopes, 0, -1) for b in range(slopes, 0, -1))
    pairs = [(a, b) for a in range(1, slopes + 1) for b in range(1, slopes + 1) if math.gcd(a, b) == 1]
    return tuple(sorted(pairs, key=sum))


class Crossings(NamedTuple):
    """Cells that each segment crosses, from its start to its end.

    Attributes:
        first: (segments + 1), where the cells of each segment begin in the other arrays.
        rows, columns: place of the cell less that of the node in which the segment ends, -slopes..-1.
        weights: sqrt(a b) times the fraction of the segment in the cell.
    """

    first: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=64)
def crossings(slopes: int, coprime: bool) -> Crossings:
    """The cells crossed by each of :func:`segments`, in float64."""
    first, rows, columns, weights = [0], [], [], []
    for a, b in segments(slopes, coprime):
        # in units of 1/(ab) crossings are integers, so that (b, a) is the exact transpose of (a, b)
        cuts = sorted({*range(0, a * b + 1, a), *range(0, a * b + 1, b)})
        for begin, end in pairwise(cuts):
            rows.append(begin // b - a)
            columns.append(begin // a - b)
            weights.append((end - begin) / math.sqrt(a * b))
        first.append(len(rows))
    return Crossings(np.array(first), np.array(rows), np.array(columns), np.array(weights))


@lru_cache(maxsize=64)
def stencils(slopes: int, coprime: bool) -> Tensor:
    """The same weights as (segments, slopes, slopes) float64, on the window that ends with the last crossed cell."""
    first, rows, columns, weights = crossings(slopes, coprime)
    dense = torch.zeros(len(first) - 1, slopes, slopes, dtype=torch.float64)
    segment = np.repeat(np.arange(len(first) - 1), np.diff(first))
    dense[segment, slopes + rows, slopes + columns] = torch.from_numpy(weights)
    return dense


class Bounds(NamedTuple):
    """Columns (batch, n + 1) allowed in each row, both ends included; none where lowest > highest."""

    lowest: Int[Tensor, "batch rows"]
    highest: Int[Tensor, "batch rows"]


def bounds(cells: Int[Tensor, "batch 2"], rows: int, slopes: int, band: int | float | None) -> Bounds:
    """Columns that the slopes and the band allow a path from (0, 0) to (n, m), with (n, m) = ``cells``.

    The band allows |i/n - j/m| <= band / max(n, m). Rows above n get an empty range.
    """
    n, m = cells[:, :1], cells[:, 1:]
    i = torch.arange(rows + 1, device=cells.device)
    left = n - i
    lowest = torch.maximum(-(-i // slopes), m - slopes * left)
    highest = torch.minimum(slopes * i, m - -(-left // slopes))
    if band is not None:
        width = band * torch.minimum(n, m).double()
        lowest = torch.maximum(lowest, ((i * m - width) / n).ceil().long())
        highest = torch.minimum(highest, ((i * m + width) / n).floor().long())
    return Bounds(torch.where(left < 0, 1, lowest), torch.where(left < 0, 0, highest))


def check_cells(cells: Int[Tensor, "batch 2"], slopes: int) -> None:
    """Raise InputError where the slopes cannot match the two numbers of cells."""
    fewer, more = cells.aminmax(dim=1)
    unmatched = more > slopes * fewer
    if bool(unmatched.any()):
        n, m = int(fewer[unmatched][0]), int(more[unmatched][0])
        raise InputError(f"slopes: {slopes} cannot match {n} cells with {m}, wanted at least {-(-m // n)}")
