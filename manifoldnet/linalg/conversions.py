"""Quaternions, rotation vectors, Euler angles, axis and angle, and the six-dimensional form of rotations.

Angles are radians. Quaternions are (w, x, y, z), the scalar first; a rotation's quaternion has norm 1, and q and -q
are the same rotation. Rotation matrices act on columns. ``rotation_...`` stands for the matrix, ``rotvec_...`` for the
rotation vector (axis times angle). Everything broadcasts over leading dimensions.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.rotation import (
    angle_over_sine,
    half_angle,
    rotation_expm,
    rotation_from_quaternion,
    rotation_logm,
    rotation_to_quaternion,
)
from manifoldnet.linalg.scalar import safe_norm, wrap_angle


def quaternion_multiply(p: Float[Tensor, "*#batch 4"], q: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Hamilton's product p q: the rotation by q, then by p."""
    p, q = torch.broadcast_tensors(p, q)
    a, u = p[..., :1], p[..., 1:]
    b, v = q[..., :1], q[..., 1:]
    scalar = a * b - (u * v).sum(-1, keepdim=True)
    return torch.cat([scalar, a * v + b * u + torch.linalg.cross(u, v)], -1)


def quaternion_conjugate(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """(w, -x, -y, -z): the inverse of a unit quaternion."""
    return torch.cat([q[..., :1], -q[..., 1:]], -1)


def quaternion_inverse(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The inverse of a quaternion other than 0, of norm 1 or not."""
    return quaternion_conjugate(q) / (q * q).sum(-1, keepdim=True)


def quaternion_normalize(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """q / |q| for q other than 0."""
    return q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)


def quaternion_from_rotvec(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (cos(|v|/2), sin(|v|/2) v/|v|) of a rotation vector; its scalar part is negative beyond pi."""
    s = (v * v).sum(-1, keepdim=True)
    sine, cosine = half_angle(s)
    return torch.cat([cosine, sine * v], -1)


def quaternion_to_rotvec(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector, norm in [0, pi], of a quaternion other than 0; q, -q and multiples give the same one."""
    q = quaternion_normalize(q)
    q = torch.where(q[..., :1] < 0, -q, q)
    w, u = q[..., :1], q[..., 1:]
    return angle_over_sine((u * u).sum(-1, keepdim=True), w) * u


def rotation_from_axis_angle(axis: Float[Tensor, "*#batch 3"], angle: Float[Tensor, "*#batch"]) -> Tensor:
    """Rotation matrix (..., 3, 3) by ``angle`` about ``axis``, which need not have norm 1 but must not be 0."""
    unit = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    return rotation_expm(angle.unsqueeze(-1) * unit)


def rotation_to_axis_angle(r: Float[Tensor, "*batch 3 3"]) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch"]]:
    """Unit axis (..., 3) and angle (...) in [0, pi]; the axis of the identity is (1, 0, 0)."""
    v = rotation_logm(r)
    angle = safe_norm(v)
    still = (angle == 0).unsqueeze(-1)
    first = torch.eye(3, dtype=v.dtype, device=v.device)[0]
    return torch.where(still, first, v / angle.unsqueeze(-1).masked_fill(still, 1.0)), angle


def rotation_from_6d(d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix whose first two columns are d[..., :3] and d[..., 3:] after Gram-Schmidt (Zhou et al. 2019).

    The two vectors must be linearly independent. The map has no singular point elsewhere, which is why networks
    that end in a rotation use it.
    """
    first = d[..., :3] / torch.linalg.vector_norm(d[..., :3], dim=-1, keepdim=True)
    rest = d[..., 3:] - (first * d[..., 3:]).sum(-1, keepdim=True) * first
    second = rest / torch.linalg.vector_norm(rest, dim=-1, keepdim=True)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def rotation_to_6d(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two columns of a rotation matrix, one after the other."""
    return r[..., :2].mT.flatten(-2)


def _axes(sequence: str) -> tuple[tuple[int, int, int], bool]:
    """Indices of the axes in the order in which the rotations are applied, and whether the axes move along."""
    lower = sequence.lower()
    valid = sequence in (lower, sequence.upper()) and len(lower) == 3 and set(lower) <= set("xyz")
    if not valid or lower[0] == lower[1] or lower[1] == lower[2]:
        raise ValueError(
            "sequence: wanted three axes, no two neighbours equal, all upper case (intrinsic, as 'XYZ') or all lower "
            f"case (extrinsic, as 'zxz'), got {sequence!r}"
        )
    intrinsic = sequence != lower
    # rotations about axes that move along are rotations about fixed axes in the opposite order
    i, j, k = ("xyz".index(letter) for letter in (reversed(lower) if intrinsic else lower))
    return (i, j, k), intrinsic


def quaternion_from_euler(angles: Float[Tensor, "*batch 3"], sequence: str) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion of Euler angles; see :func:`rotation_from_euler`."""
    axes, intrinsic = _axes(sequence)
    half = angles.flip(-1) / 2 if intrinsic else angles / 2
    unit = torch.eye(4, dtype=angles.dtype, device=angles.device)
    first, second, third = (
        half[..., n, None].cos() * unit[0] + half[..., n, None].sin() * unit[axis + 1] for n, axis in enumerate(axes)
    )
    return quaternion_multiply(third, quaternion_multiply(second, first))


def quaternion_to_euler(q: Float[Tensor, "*batch 4"], sequence: str) -> Float[Tensor, "*batch 3"]:
    """Euler angles of a quaternion other than 0; see :func:`rotation_to_euler` (Bernardes and Viollet 2022).

    Up to a common factor, q of the angles (e, m, f) about the axes i, j, i is cos(m/2) (cos, sin)((e+f)/2) in its
    scalar and i-th part and sin(m/2) (cos, sin)((f-e)/2) in its j-th and k-th part. Three different axes are brought
    to this form by a quarter turn about the middle one.
    """
    (i, j, k), intrinsic = _axes(sequence)
    proper = i == k
    k = 3 - i - j
    sign = (j - i) * (k - j) * (k - i) // 2  # of the permutation (i, j, k)
    w, x, y, z = q[..., 0], q[..., i + 1], q[..., j + 1], sign * q[..., k + 1]
    if not proper:
        w, x, y, z = w - y, x + z, y + w, z - x
    # the part that vanishes in gimbal lock has no direction
    tiny = max(1e-7, 8 * torch.finfo(q.dtype).eps)
    outer, inner = safe_norm(torch.stack([w, x], -1)), safe_norm(torch.stack([y, z], -1))
    middle = 2 * torch.atan2(inner, outer)
    flat, upright = middle <= tiny, middle >= math.pi - tiny
    half_sum = torch.atan2(x.masked_fill(upright, 0.0), w.masked_fill(upright, 1.0))
    half_difference = torch.atan2(z.masked_fill(flat, 0.0), y.masked_fill(flat, 1.0))
    # then only their sum or difference is known, and the last angle of the sequence is put to 0
    last = 1 if intrinsic else -1
    half_sum, half_difference = (
        torch.where(upright, last * half_difference, half_sum),
        torch.where(flat, last * half_sum, half_difference),
    )
    first, third = half_sum - half_difference, half_sum + half_difference
    if not proper:
        middle, third = 2 * torch.atan2(inner - outer, inner + outer), sign * third  # a quarter turn less
    found = [wrap_angle(first), middle, wrap_angle(third)]
    return torch.stack(found[::-1] if intrinsic else found, -1)


def rotation_from_euler(angles: Float[Tensor, "*batch 3"], sequence: str) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of Euler angles, in all 24 conventions and the notation of scipy's ``Rotation.from_euler``.

    Args:
        angles: radians, in the order of the sequence.
        sequence: "XYZ", "ZXZ", ...: intrinsic, each rotation about the axes as the ones before have left them, matrix
            X(a) Y(b) Z(c); "xyz", "zxz", ...: extrinsic, about the fixed axes, matrix Z(c) Y(b) X(a).

    Raises:
        ValueError: if the sequence is none of these.
    """
    return rotation_from_quaternion(quaternion_from_euler(angles, sequence))


def rotation_to_euler(r: Float[Tensor, "*batch 3 3"], sequence: str) -> Float[Tensor, "*batch 3"]:
    """Euler angles (radians) of a rotation matrix; sequence as in :func:`rotation_from_euler`.

    The first and the third angle are in (-pi, pi]; the second is in [0, pi] where the first and the third axis are
    the same and in [-pi/2, pi/2] where all axes differ. Where the second angle is within 1e-7 (float64) or 1e-6
    (float32) of an end of its range (gimbal lock) the third is put to 0, as scipy does, and gradients stay finite; near
    it they grow like the inverse of the distance.

    Raises:
        ValueError: if the sequence is none of the 24.
    """
    return quaternion_to_euler(rotation_to_quaternion(r), sequence)


def rotvec_from_euler(angles: Float[Tensor, "*batch 3"], sequence: str) -> Float[Tensor, "*batch 3"]:
    """Rotation vector, norm in [0, pi], of Euler angles; see :func:`rotation_from_euler`."""
    return quaternion_to_rotvec(quaternion_from_euler(angles, sequence))


def rotvec_to_euler(v: Float[Tensor, "*batch 3"], sequence: str) -> Float[Tensor, "*batch 3"]:
    """Euler angles of a rotation vector; see :func:`rotation_to_euler`."""
    return quaternion_to_euler(quaternion_from_rotvec(v), sequence)
