"""Exponential, logarithm and their differentials on SO(3), smooth through angle 0 and exact up to angle pi.

Every coefficient is a function of s = theta^2; below THRESHOLD it is summed as a power series, whose truncation is
under 1e-17 there, because the closed forms cancel (theta - sin theta loses two digits in every decade).
"""

from __future__ import annotations

from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.fused import smooth
from manifoldnet.linalg.rows import Entries
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
# 2 asin(n) / n in powers of n^2
ASIN_SERIES = (2.0, 1 / 3, 3 / 20, 5 / 56, 35 / 576, 63 / 1408, 231 / 6656, 143 / 5120, 6435 / 278528)
ASIN_THRESHOLD = 1e-2


def _alternating(first: int) -> list[float]:
    return [(-1) ** k / factorial(2 * k + first) for k in range(TERMS)]


HALF_SIN_SERIES = [(-1) ** k / (factorial(2 * k + 1) * 2 ** (2 * k + 1)) for k in range(TERMS)]
HALF_COS_SERIES = [(-1) ** k / (factorial(2 * k) * 2 ** (2 * k)) for k in range(TERMS)]


def _sinc(s: Tensor) -> Tensor:
    """sin(theta) / theta."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    return even_function(s, theta.sin() / theta, _alternating(1), THRESHOLD)


def _cosc(s: Tensor) -> Tensor:
    """(1 - cos(theta)) / theta^2."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    half = torch.sin(theta / 2) / theta
    return even_function(s, 2 * half * half, _alternating(2), THRESHOLD)


def half_angle(s: Tensor) -> tuple[Tensor, Tensor]:
    """sin(theta/2) / theta and cos(theta/2), of which :func:`_sinc` and :func:`_cosc` are products."""
    theta = away_from_zero(s, THRESHOLD).sqrt()
    half = 0.5 * theta
    k = even_function(s, half.sin() / theta, HALF_SIN_SERIES, THRESHOLD)
    return k, even_function(s, half.cos(), HALF_COS_SERIES, THRESHOLD)


def angle_over_sine(s: Tensor, w: Tensor) -> Tensor:
    """theta / sin(theta/2) of the quaternion with scalar part w >= 0 whose vector part has the squared norm s."""
    n = away_from_zero(s, ASIN_THRESHOLD).sqrt()
    return even_function(s, 2 * torch.atan2(n, w) / n, ASIN_SERIES, ASIN_THRESHOLD)


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


def _expm_entries(v: Entries) -> list[Tensor]:
    x, y, z = v
    s = x * x + y * y + z * z
    k, c = half_angle(s)
    # one sine, one cosine and one root a vector: a = sin(theta) / theta, b = (1 - cos(theta)) / theta^2
    a, b = 2 * k * c, 2 * k * k
    ax, ay, az = a * x, a * y, a * z
    bx, by = b * x, b * y
    bxy, bxz, byz = bx * y, bx * z, by * z
    xx, yy, zz = bx * x, by * y, b * z * z
    return [1 - yy - zz, bxy - az, bxz + ay, bxy + az, 1 - xx - zz, byz - ax, bxz - ay, byz + ax, 1 - xx - yy]


def _quaternion_entries(r: Entries) -> list[Tensor]:
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = r
    # the four diagonal entries and, without them, the rows of 4 q q'
    w, x, y, z = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
    best_of_last, best_of_first = torch.maximum(y, z), torch.maximum(w, x)
    first, by_w, by_y = best_of_first >= best_of_last, w >= x, y >= z

    def pick(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.where(first, torch.where(by_w, a, b), torch.where(by_y, c, d))

    q = [pick(w, wx, wy, wz), pick(wx, x, xy, xz), pick(wy, xy, y, yz), pick(wz, xz, yz, z)]
    scale = 1 / (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]).sqrt()
    scale = torch.where(q[0] < 0, -scale, scale)
    return [entry * scale for entry in q]


def _logm_entries(r: Entries) -> list[Tensor]:
    w, x, y, z = _quaternion_entries(r)
    s = x * x + y * y + z * z
    ratio = angle_over_sine(s, w)
    return [ratio * x, ratio * y, ratio * z]


def _matrix_entries(q: Entries) -> list[Tensor]:
    w, x, y, z = q
    scale = 2 / (w * w + x * x + y * y + z * z)
    xx, yy, zz = scale * x * x, scale * y * y, scale * z * z
    xy, xz, yz = scale * x * y, scale * x * z, scale * y * z
    wx, wy, wz = scale * w * x, scale * w * y, scale * w * z
    return [1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx, 1 - xx - yy]


_EXPM = smooth(_expm_entries, 1, 2)
_LOGM = smooth(_logm_entries, 2, 1)
_TO_QUATERNION = smooth(_quaternion_entries, 2, 1)
_FROM_QUATERNION = smooth(_matrix_entries, 1, 2)


def rotation_expm(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix exp(hat(v)) of the rotation vector v in radians (Rodrigues' formula)."""
    return _EXPM(v)


def rotation_logm(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector (radians, norm in [0, pi]) of a rotation matrix, with exact gradients at angles 0 and pi.

    At angle pi both v and -v are logarithms; the one that the quaternion with the largest component first found
    positive gives is returned.
    """
    return _LOGM(r)


def rotation_to_quaternion(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0 of a rotation matrix.

    Of the four rows of 4 q q', all read off linearly from the matrix, the one with the largest diagonal entry is
    normalised, so no division is by a small number (Shepperd 1978).
    """
    return _TO_QUATERNION(r)


def rotation_from_quaternion(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a non-zero quaternion (w, x, y, z); q and -q, and any scaling, give the same one."""
    return _FROM_QUATERNION(q)


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
