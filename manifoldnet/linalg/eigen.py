"""Eigenvalues and eigenvectors of symmetric 2 x 2 and 3 x 3 matrices in closed form, without branches.

After a shift by the mean eigenvalue and a scaling by the largest entry, the best separated eigenvalue of a 3 x 3
matrix comes from the trigonometric solution of the cubic (Smith 1961) and its eigenvector from the adjugate. The
other two solve a 2 x 2 problem in the orthogonal complement (Duff et al. 2017 for the basis), which stays exact
however close they are; a Rayleigh quotient then corrects the first one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.linalg.rows import Grid


def eigen_grid(a: Grid) -> tuple[list[Tensor], Grid]:
    """Eigenvalues l[k], in no particular order, and eigenvectors v[i][k] (column k) of symmetric a, n = 2 or 3."""
    n = len(a)
    mean = sum((a[i][i] for i in range(1, n)), a[0][0]) / n
    b = [[a[i][j] - mean if i == j else a[i][j] for j in range(n)] for i in range(n)]
    size = b[0][0].abs()
    for i in range(n):
        for j in range(i + 1):
            size = torch.maximum(size, b[i][j].abs())
    # a multiple of the identity has nothing to scale, and the inverse of a denormal number is infinite
    size = torch.where(size > torch.finfo(size.dtype).tiny, size, 1.0)
    inverse = 1 / size
    b = [[entry * inverse for entry in row] for row in b]
    values, vectors = _two(b[0][0], b[1][0], b[1][1]) if n == 2 else _three(b)
    return [mean + size * value for value in values], vectors


def _two(a: Tensor, b: Tensor, c: Tensor) -> tuple[list[Tensor], Grid]:
    """Of [[a, b], [b, c]], the larger eigenvalue first; half angles by square roots of sums, so nothing cancels."""
    middle, delta = 0.5 * (a + c), 0.5 * (a - c)
    radius = (delta * delta + b * b).sqrt()
    apart = radius > 0
    inverse = 1 / torch.where(apart, radius, 1.0)
    cosine = (0.5 + 0.5 * torch.where(apart, delta.abs() * inverse, 1.0)).sqrt()
    sine = torch.where(apart, 0.5 * b * inverse, 0.0) / cosine
    rising = delta >= 0
    x, y = torch.where(rising, cosine, sine), torch.where(rising, sine, cosine)
    return [middle + radius, middle - radius], [[x, -y], [y, x]]


def _three(b: Grid) -> tuple[list[Tensor], Grid]:
    """Of a matrix with trace 0 and largest entry 1, or of 0."""
    x, y, z = _separated_vector(b)
    one = torch.ones_like(z)
    sign = torch.where(z >= 0, one, -one)
    q = -1 / (sign + z)
    w = x * y * q
    s = [one + sign * x * x * q, sign * w, -sign * x]
    t = [w, sign + y * y * q, -y]
    bs, bt, bx = (_apply(b, vector) for vector in (s, t, [x, y, z]))
    pair, turn = _two(_dot(s, bs), _dot(t, bs), _dot(t, bt))
    first, second = ([turn[0][k] * p + turn[1][k] * r for p, r in zip(s, t, strict=True)] for k in (0, 1))
    values = [_dot([x, y, z], bx), *pair]
    return values, [list(row) for row in zip([x, y, z], first, second, strict=True)]


def _separated_vector(b: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Unit eigenvector of the eigenvalue that is farthest from the other two."""
    (b00, b10, b20), (_, b11, b21), (_, _, b22) = b
    p2 = (b00 * b00 + b11 * b11 + b22 * b22 + 2 * (b10 * b10 + b20 * b20 + b21 * b21)) / 6
    p = p2.sqrt()
    determinant = b00 * (b11 * b22 - b21 * b21) - b10 * (b10 * b22 - b21 * b20) + b20 * (b10 * b21 - b11 * b20)
    # p is at least 0.4 unless b = 0
    r = determinant / (2 * p2 * p).clamp_min(1e-6)
    size = 2 * p * torch.cos(torch.acos(r.abs().clamp_max(1.0)) / 3)
    value = torch.where(r >= 0, size, -size)
    d0, d1, d2 = b00 - value, b11 - value, b22 - value
    # the adjugate of b - value is a multiple of v v': its column with the largest diagonal entry loses no digits
    c00, c11, c22 = d1 * d2 - b21 * b21, d0 * d2 - b20 * b20, d0 * d1 - b10 * b10
    c10, c20, c21 = b20 * b21 - b10 * d2, b10 * b21 - b20 * d1, b10 * b20 - b21 * d0
    first = (c00.abs() >= c11.abs()) & (c00.abs() >= c22.abs())
    second = c11.abs() >= c22.abs()
    x = torch.where(first, c00, torch.where(second, c10, c20))
    y = torch.where(first, c10, torch.where(second, c11, c21))
    z = torch.where(first, c20, torch.where(second, c21, c22))
    norm2 = x * x + y * y + z * z
    some = norm2 > 0
    scale = 1 / torch.where(some, norm2, 1.0).sqrt()
    # b = 0: every vector will do; a NaN is not > 0 and must stay
    x = torch.where(some, x * scale, torch.where(norm2 == 0, 1.0, norm2))
    return x, y * scale, z * scale


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _apply(b: Grid, v: list[Tensor]) -> list[Tensor]:
    return [_dot(row, v) for row in b]
