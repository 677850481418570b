"""Batches of small matrices by their entries (structure of arrays), in which kernels compute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Entries = Sequence[Tensor]
Grid = list[list[Tensor]]


def to_rows(x: Tensor, ndim: int = 2) -> Tensor:
    """(..., *point) to (entries of a point, N), contiguous; the last ``ndim`` dimensions are the point."""
    point = x.shape[x.dim() - ndim :]
    # two to three times as fast as a contiguous copy of the transpose
    return torch.stack(x.reshape(-1, point.numel()).unbind(-1))


def size_of(entries: int) -> int:
    """n of the n x n matrices with that many entries, n <= 3."""
    return {1: 1, 4: 2, 9: 3}[entries]


def as_grid(entries: Entries) -> Grid:
    """The entries m[i][j] of general matrices."""
    n = size_of(len(entries))
    return [list(entries[n * i : n * i + n]) for i in range(n)]


def as_symmetric(entries: Entries) -> Grid:
    """The entries m[i][j] of the symmetric parts; each is one tensor, named from both sides of the diagonal."""
    m = as_grid(entries)
    for i in range(len(m)):
        for j in range(i):
            m[i][j] = m[j][i] = 0.5 * (m[i][j] + m[j][i])
    return m


def flatten(m: Grid) -> list[Tensor]:
    """Inverse of :func:`as_grid`."""
    return [entry for row in m for entry in row]


def product(a: Grid, b: Grid) -> Grid:
    """a b."""
    return [[_dot(row, [line[j] for line in b]) for j in range(len(b[0]))] for row in a]


def transpose(a: Grid) -> Grid:
    """a'."""
    return [list(column) for column in zip(*a, strict=True)]


def symmetric_product(a: Grid, b: Grid) -> Grid:
    """a b where it is known to be symmetric: half of it is computed."""
    n = len(a)
    c: Grid = [[a[0][0]] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            c[i][j] = c[j][i] = _dot(a[i], [line[j] for line in b])
    return c


def congruence(a: Grid, s: Grid) -> Grid:
    """a s a' for symmetric s."""
    return symmetric_product(product(a, s), transpose(a))


def scaled_congruence(a: Grid, d: Entries) -> Grid:
    """a diag(d) a'."""
    return symmetric_product([[x * y for x, y in zip(row, d, strict=True)] for row in a], transpose(a))


def entrywise(a: Grid, b: Grid) -> Grid:
    """The entrywise (Hadamard) product."""
    return [[x * y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def _dot(a: Entries, b: Entries) -> Tensor:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total
