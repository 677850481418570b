"""The Riemannian logarithm on the Stiefel manifold with the canonical metric, and what its derivatives need.

A geodesic from X to Y is exp(tA) X for the shortest A in so(n) with exp(A) X = Y. In a frame F = [X, X'] of the span of
X and Y, of k <= 2p columns, that is the shortest logarithm of a k x k rotation V of which the first p columns are those
of Y. Turning the other columns by exp(-C), C being the last block of log V, is a step of gradient descent on half
the squared length of the logarithm (the iteration of Zimmermann 2017), whose Hessian is at most 1 everywhere: no step
lengthens the logarithm. Newton steps then end it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from manifoldnet.linalg import expm
from manifoldnet.linalg.orthogonal import rotation_logm_value, skew_from_vector, skew_to_vector

GRADIENT_STEPS = 2
NEWTON_STEPS = 8
# least eigenvalue of the Hessian by which a Newton step divides, and the longest such step in radians
LEAST = 1e-3
LONGEST = 1.0


class Logarithm(NamedTuple):
    """The logarithm u (..., n, p) of Y at X, and the inverse of the derivative of exp_X there, in pieces.

    A small change r of Y moves u by F K(F'r) + (r - F F'r) T, for K on k x p matrices flattened.
    """

    u: Tensor
    frame: Tensor
    inside: Tensor
    outside: Tensor

    def pull(self, r: Tensor) -> Tensor:
        """The tangent vector at X that moves exp_X(u) by r."""
        part = self.frame.mT @ r
        moved = (self.inside @ part.flatten(-2).unsqueeze(-1)).reshape(part.shape)
        return self.frame @ (moved - part @ self.outside) + r @ self.outside


def logarithm(x: Tensor, y: Tensor) -> Logarithm:
    """For orthonormal x, y (..., n, p) with equal batches; a constant to differentiation.

    NaN where no rotation moves x to y, which are frames of R^n on either side of a mirror.
    """
    # torch.compile traces no function that has a forward-mode rule
    function = _Solve if torch.compiler.is_compiling() else _ForwardSolve
    return Logarithm(*function.apply(x, y))


def _solve(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    p = x.shape[-1]
    frame = _frame(x, y)
    z = frame.mT @ y
    generator = _shortest(_completion(z), p)
    k = generator.shape[-1]
    generator = torch.cat([generator[..., :p], torch.cat([generator[..., :p, p:], _zeros(z, k - p)], -2)], -1)
    if k == p:
        generator = torch.where(torch.linalg.det(z)[..., None, None] > 0, generator, torch.nan)
    velocity = frame @ generator[..., :p]
    # LAPACK refuses NaN, and one pair without a logarithm must not stop the others
    values, vectors = torch.linalg.eigh(1j * generator.nan_to_num())
    rates = -1j * values
    turning = vectors * _slope(rates)[..., None, :]
    outside = torch.linalg.pinv((turning @ vectors.mH).real[..., :p, :p], rtol=_tolerance(x))
    basis = _horizontal_basis(k, p, x)
    turned = vectors.mH.unsqueeze(-3) @ basis.to(vectors.dtype) @ vectors.unsqueeze(-3)
    slope = _slope(rates[..., :, None] - rates[..., None, :])
    moved = (vectors.unsqueeze(-3) @ (slope.unsqueeze(-3) * turned) @ vectors.mH.unsqueeze(-3)).real @ z.unsqueeze(-3)
    jacobian = moved.flatten(-2).mT
    inside = basis[..., :p].flatten(-2).mT @ torch.linalg.pinv(jacobian, rtol=_tolerance(x))
    return velocity, frame, inside, outside


def _frame(x: Tensor, y: Tensor) -> Tensor:
    """Orthonormal columns, x first, whose span holds y."""
    n, p = x.shape[-2:]
    if n > 2 * p:
        basis = torch.linalg.qr(torch.cat([x, y - x @ (x.mT @ y)], -1))[0]
    else:
        basis = torch.linalg.qr(x, mode="complete")[0]
    return torch.cat([x, basis[..., p:]], -1)


def _completion(z: Tensor) -> Tensor:
    """The rotation with first columns z that is nearest to the identity."""
    k, p = z.shape[-2:]
    if k == p:
        return z
    rest = torch.linalg.qr(z, mode="complete")[0][..., p:]
    u, _, vh = torch.linalg.svd(rest[..., p:, :])
    straight = rest @ vh.mT
    sign = torch.linalg.det(torch.cat([z, straight @ u.mT], -1)).sign()
    straight = torch.cat([straight[..., :-1], straight[..., -1:] * sign[..., None, None]], -1)
    return torch.cat([z, straight @ u.mT], -1)


def _shortest(v: Tensor, p: int) -> Tensor:
    """The logarithm of v once its columns after the p-th are turned so that the last block of it is zero."""
    if v.shape[-1] - p < 2:
        return rotation_logm_value(v)
    for step in range(GRADIENT_STEPS + NEWTON_STEPS):
        generator = rotation_logm_value(v)
        block = skew_to_vector(generator[..., p:, p:])
        change = block if step < GRADIENT_STEPS else _newton(generator, block, p)
        v = torch.cat([v[..., :p], v[..., p:] @ expm(skew_from_vector(-change))], -1)
    return rotation_logm_value(v)


def _newton(generator: Tensor, block: Tensor, p: int) -> Tensor:
    """Newton step for the last block, by the symmetric part of dexpinv restricted to it."""
    values, vectors = torch.linalg.eigh(1j * generator)
    half = 0.5 * (values[..., :, None] - values[..., None, :])
    some = half.abs() > 1e-4
    weights = torch.where(some, half / torch.where(some, half, 1.0).tan(), 1.0).clamp(-10.0, 1.0)
    tail = vectors[..., p:, :].unsqueeze(-3)
    basis = skew_from_vector(torch.eye(block.shape[-1], dtype=block.dtype, device=block.device))
    turned = tail.mH @ basis.to(tail.dtype) @ tail
    hessian = 0.5 * torch.einsum("...aij,...ij,...bij->...ab", turned.conj(), weights.to(tail.dtype), turned).real
    curvature, axes = torch.linalg.eigh(hessian)
    change = axes.mT @ block.unsqueeze(-1) / curvature.abs().clamp_min(LEAST).unsqueeze(-1)
    change = (axes @ change).squeeze(-1)
    return change * (LONGEST / change.norm(dim=-1, keepdim=True).clamp_min(LONGEST))


def _slope(x: Tensor) -> Tensor:
    """(exp(x) - 1) / x of imaginary x."""
    half = 0.5 * x.imag
    some = half.abs() > 1e-4
    ratio = torch.where(some, half.sin() / torch.where(some, half, 1.0), 1 - half * half / 6)
    return torch.exp(0.5 * x) * ratio


def _horizontal_basis(k: int, p: int, like: Tensor) -> Tensor:
    """(d, k, k): the skew matrices of one pair of entries outside the last block."""
    rows, columns = torch.tril_indices(k, p, -1, device=like.device)
    pairs = torch.zeros(len(rows), k, k, dtype=like.dtype, device=like.device)
    pairs[torch.arange(len(rows), device=like.device), rows, columns] = 1.0
    return pairs - pairs.mT


def _zeros(like: Tensor, m: int) -> Tensor:
    return like.new_zeros(*like.shape[:-2], m, m)


def _tolerance(x: Tensor) -> float:
    """Directions in which exp shrinks more than this, at conjugate points, are left out."""
    return float(torch.finfo(x.dtype).eps ** 0.5)


class _Solve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _solve(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[None, None]:
        return None, None


class _ForwardSolve(_Solve):
    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[None, ...]:
        return None, None, None, None
