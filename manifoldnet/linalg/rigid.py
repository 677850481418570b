"""Exponential, logarithm and their differentials on SE(3) in closed form, smooth through angle 0.

Coordinates of the algebra are (omega, v) of shape (..., 6): the rotation vector in radians, then the translational
velocity in the unit of length. Since se(3) is so(3) over the dual numbers, f(ad) for a power series f is f on so(3)
and its derivative: with the coefficients A, B of so(3) as functions of s = |omega|^2,

    dexp_u(w) = w + A [u, w] + B [u, [u, w]] + 2 (omega . v) (0, A' omega x a + B' omega x (omega x a)),

a being the rotational part of w; this is the matrix [[J, 0], [Q, J]] of Barfoot and Furgale (2014), equation 102.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.rotation import (
    _cosc,
    _cotc,
    _sinc,
    _sinc3,
    hat,
    rotation_expm,
    rotation_logm,
    so3_dexp,
    so3_dexpinv,
    vee,
)
from manifoldnet.linalg.scalar import away_from_zero, even_function

# below it the closed forms of the derivatives cancel more than a digit
THRESHOLD = 2.0
TERMS = 14


def _alternating_derivative(first: int) -> list[float]:
    """Derivative in s of the series sum_k (-s)^k / (2 k + first)!."""
    return [(-1) ** k * k / factorial(2 * k + first) for k in range(1, TERMS + 1)]


def _cotangent_derivative() -> list[float]:
    """Derivative in s of sum_k |B_{2k+2}| / (2k+2)! s^k, which is (1 - (theta/2) cot(theta/2)) / theta^2."""
    bernoulli: list[Fraction] = [Fraction(1)]
    for m in range(1, 2 * TERMS + 4):
        total = sum((comb(m + 1, j) * b for j, b in enumerate(bernoulli)), Fraction(0))
        bernoulli.append(-total / (m + 1))
    return [float(k * abs(bernoulli[2 * k + 2]) / factorial(2 * k + 2)) for k in range(1, TERMS + 1)]


COSC_DERIVATIVE = _alternating_derivative(2)
SINC3_DERIVATIVE = _alternating_derivative(3)
COTC_DERIVATIVE = _cotangent_derivative()


def _dcosc(s: Tensor) -> Tensor:
    """Derivative in s = theta^2 of (1 - cos(theta)) / theta^2."""
    r = away_from_zero(s, THRESHOLD)
    theta = r.sqrt()
    closed = (theta * theta.sin() - 4 * torch.sin(theta / 2) ** 2) / (2 * r * r)
    return even_function(s, closed, COSC_DERIVATIVE, THRESHOLD)


def _dsinc3(s: Tensor) -> Tensor:
    """Derivative in s = theta^2 of (theta - sin(theta)) / theta^3."""
    r = away_from_zero(s, THRESHOLD)
    theta = r.sqrt()
    closed = (2 * torch.sin(theta / 2) ** 2 - 3 + 3 * theta.sin() / theta) / (2 * r * r)
    return even_function(s, closed, SINC3_DERIVATIVE, THRESHOLD)


def _dcotc(s: Tensor) -> Tensor:
    """Derivative in s = theta^2 of (1 - (theta/2) cot(theta/2)) / theta^2."""
    r = away_from_zero(s, THRESHOLD)
    half = r.sqrt() / 2
    sine = half.sin()
    x = half / sine
    closed = (x * half.cos() + x * x - 2) / (2 * r * r)
    return even_function(s, closed, COTC_DERIVATIVE, THRESHOLD)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return torch.linalg.cross(*torch.broadcast_tensors(u, v))


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def rigid_from_parts(
    rotation: Float[Tensor, "*#batch 3 3"], translation: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The matrix [[R, t], [0, 1]] of the rigid motion y -> R y + t; batch dimensions broadcast."""
    batch = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    top = torch.cat([rotation.expand(*batch, 3, 3), translation.unsqueeze(-1).expand(*batch, 3, 1)], -1)
    last = torch.eye(4, dtype=top.dtype, device=top.device)[3:]
    return torch.cat([top, last.expand(*batch, 1, 4)], -2)


def rigid_tangent(
    rotation: Float[Tensor, "*#batch 3 3"], translation: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The matrix [[A, b], [0, 0]]: an element of the algebra or a tangent vector; batch dimensions broadcast."""
    batch = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    top = torch.cat([rotation.expand(*batch, 3, 3), translation.unsqueeze(-1).expand(*batch, 3, 1)], -1)
    return torch.cat([top, torch.zeros_like(top[..., :1, :])], -2)


def rigid_hat(u: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """The matrix [[hat(omega), v], [0, 0]] of u = (omega, v)."""
    return rigid_tangent(hat(u[..., :3]), u[..., 3:])


def rigid_vee(m: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """Inverse of :func:`rigid_hat`; of a general matrix, the skew part and the last column."""
    return torch.cat([vee(m[..., :3, :3]), m[..., :3, 3]], -1)


def rigid_expm(u: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Rigid motion exp(hat(u)) of u = (omega, v): rotation by omega, translation dexp_omega(v)."""
    omega, v = u.split(3, -1)
    return rigid_from_parts(rotation_expm(omega), so3_dexp(omega, v))


def rigid_logm(x: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """Coordinates (omega, v), |omega| in [0, pi], of a rigid motion, with finite gradients at angles 0 and pi."""
    omega = rotation_logm(x[..., :3, :3])
    return torch.cat([omega, so3_dexpinv(omega, x[..., :3, 3])], -1)


def rigid_move(u: Float[Tensor, "*#batch 6"], y: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The point to which exp(u) takes y: R y + t without the matrix R."""
    omega, v = u.split(3, -1)
    s = _dot(omega, omega)
    a, b, c = _sinc(s), _cosc(s), _sinc3(s)
    return y + v + _cross(omega, a * y + b * v + _cross(omega, b * y + c * v))


def se3_bracket(u: Float[Tensor, "*#batch 6"], w: Float[Tensor, "*#batch 6"]) -> Float[Tensor, "*batch 6"]:
    """[(omega, v), (a, b)] = (omega x a, omega x b + v x a)."""
    (omega, v), (a, b) = u.split(3, -1), w.split(3, -1)
    return torch.cat([_cross(omega, a), _cross(omega, b) + _cross(v, a)], -1)


def _bracket_polynomial(
    u: Tensor, w: Tensor, first: Tensor | float, second: Tensor, dfirst: Tensor | float, dsecond: Tensor
) -> Tensor:
    """w + first [u, w] + second [u, [u, w]] for coefficients with the derivatives dfirst, dsecond in |omega|^2."""
    omega, v = u.split(3, -1)
    once = se3_bracket(u, w)
    twice = se3_bracket(u, once)
    slope = 2 * _dot(omega, v)
    turn = slope * (dfirst * once[..., :3] + dsecond * twice[..., :3])
    return w + first * once + second * twice + torch.cat([torch.zeros_like(turn), turn], -1)


def se3_dexp(u: Float[Tensor, "*#batch 6"], w: Float[Tensor, "*#batch 6"]) -> Float[Tensor, "*batch 6"]:
    """dexp_u(w) with d/de exp(u + e w) = hat(dexp_u(w)) exp(u): the left Jacobian of SE(3)."""
    s = _dot(u[..., :3], u[..., :3])
    return _bracket_polynomial(u, w, _cosc(s), _sinc3(s), _dcosc(s), _dsinc3(s))


def se3_dexpinv(u: Float[Tensor, "*#batch 6"], w: Float[Tensor, "*#batch 6"]) -> Float[Tensor, "*batch 6"]:
    """Inverse of :func:`se3_dexp` in w, singular at |omega| = 2 pi."""
    s = _dot(u[..., :3], u[..., :3])
    return _bracket_polynomial(u, w, -0.5, _cotc(s), 0.0, _dcotc(s))
