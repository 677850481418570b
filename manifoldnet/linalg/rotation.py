"""Exponential, logarithm and their differentials on SO(3), smooth through angle 0 and exact up to angle pi.

Every coefficient is a function of s = theta^2; below THRESHOLD it is summed as a power series, whose truncation is
under 1e-17 there, because the closed forms cancel (theta - sin theta loses two digits in every decade).
"""

from __future__ import annotations

from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.scalar import away_from_zero, even_function

THRESHOLD = 0.25
TERMS = 9
# B_{2k} / (2k)! for k = 1..9: the coefficients of 1 - (theta/2) cot(theta/2), up to sign
COT_SERIES = (
    1 / 12,
    1 / 720,
    1 / 30240,
    1 / 1209600,
    1 / 47900160,
    691 / 1307674368000,
    1 / 74724249600,
    3617 / 10670622842880000,
    43867 / 5109094217170944000,
)


def _alternating(first: int) -> list[float]:
    return [(-1) ** k / factorial(2 * k + first) for k in range(TERMS)]


def _sinc(s: Tensor) -> Tensor:
    """sin(theta) / theta."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    return even_function(s, theta.sin() / theta, _alternating(1), THRESHOLD)


def _cosc(s: Tensor) -> Tensor:
    """(1 - cos(theta)) / theta^2."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    half = torch.sin(theta / 2) / theta
    return even_function(s, 2 * half * half, _alternating(2), THRESHOLD)


def _sinc3(s: Tensor) -> Tensor:
    """(theta - sin(theta)) / theta^3."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    return even_function(s, (theta - theta.sin()) / theta**3, _alternating(3), THRESHOLD)


def _cotc(s: Tensor) -> Tensor:
    """(1 - (theta/2) cot(theta/2)) / theta^2; it has a pole at theta = 2 pi, where dexp is singular."""
    half = away_from_zero(s, THRESHOLD).sqrt() / 2
    return even_function(s, (1 - half * half.cos() / half.sin()) / (4 * half * half), COT_SERIES, THRESHOLD)


def hat(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The skew matrix with hat(v) w = v x w."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def vee(m: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Inverse of :func:`hat`; of a general matrix, the vector of its skew part."""
    return 0.5 * torch.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )


def rotation_expm(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix exp(hat(v)) of the rotation vector v in radians (Rodrigues' formula)."""
    s = (v * v).sum(-1)
    a, b = _sinc(s), _cosc(s)
    x, y, z = v.unbind(-1)
    ax, ay, az = a * x, a * y, a * z
    bxy, bxz, byz = b * x * y, b * x * z, b * y * z
    xx, yy, zz = b * x * x, b * y * y, b * z * z
    rows = [1 - yy - zz, bxy - az, bxz + ay, bxy + az, 1 - xx - zz, byz - ax, bxz - ay, byz + ax, 1 - xx - yy]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def rotation_to_quaternion(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0 of a rotation matrix.

    Of the four rows of 4 q q', all read off linearly from the matrix, the one with the largest diagonal entry is
    normalised, so no division is by a small number (Shepperd 1978).
    """
    m = [[r[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    outer = torch.stack(
        [
            torch.stack([1 + trace, wx, wy, wz], -1),
            torch.stack([wx, 1 - trace + 2 * m[0][0], xy, xz], -1),
            torch.stack([wy, xy, 1 - trace + 2 * m[1][1], yz], -1),
            torch.stack([wz, xz, yz, 1 - trace + 2 * m[2][2]], -1),
        ],
        -2,
    )
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(outer, best[..., None, None], dim=-2).squeeze(-2)
    q = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(q[..., :1] < 0, -q, q)


def rotation_from_quaternion(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a non-zero quaternion (w, x, y, z); q and -q, and any scaling, give the same one."""
    w, x, y, z = (q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def rotation_logm(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector (radians, norm in [0, pi]) of a rotation matrix, with finite gradients at angles 0 and pi.

    At angle pi both v and -v are logarithms; the one that the quaternion with the largest component first found
    positive gives is returned.
    """
    q = rotation_to_quaternion(r)
    w, u = q[..., 0], q[..., 1:]
    s = (u * u).sum(-1)
    n = away_from_zero(s, 1e-2).sqrt()
    # theta / sin(theta/2) = 2 asin(n) / n in powers of n^2; valid because w >= 0
    series = [2.0]
    for k in range(8):
        series.append(series[-1] * (2 * k + 1) ** 2 / ((2 * k + 2) * (2 * k + 3)))
    ratio = even_function(s, 2 * torch.atan2(n, w) / n, series, 1e-2)
    return ratio[..., None] * u


def _cross_polynomial(u: Tensor, v: Tensor, first: Tensor | float, second: Tensor) -> Tensor:
    u, v = torch.broadcast_tensors(u, v)
    w = torch.linalg.cross(u, v)
    return v + first * w + second * torch.linalg.cross(u, w)


def so3_dexp(u: Float[Tensor, "*#batch 3"], v: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*#batch 3"]:
    """dexp_u(v) with d/de exp(u + e v) = hat(dexp_u(v)) exp(u): the left Jacobian of SO(3)."""
    s = (u * u).sum(-1, keepdim=True)
    return _cross_polynomial(u, v, _cosc(s), _sinc3(s))


def so3_dexpinv(u: Float[Tensor, "*#batch 3"], v: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*#batch 3"]:
    """Inverse of :func:`so3_dexp` in v: v - [u,v]/2 + c [u,[u,v]], singular at |u| = 2 pi."""
    s = (u * u).sum(-1, keepdim=True)
    return _cross_polynomial(u, v, -0.5, _cotc(s))
