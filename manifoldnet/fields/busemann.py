"""Busemann functions: what <-A_k, x> becomes where curvature is not positive."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldnet.fields.scores import ConvexScores
from manifoldnet.linalg import cholesky, safe_norm, sym_eigh, sym_from_vector
from manifoldnet.linalg.orthogonal import skew_to_vector
from manifoldnet.manifolds import SPD, Hyperbolic, Space


class Busemann(ConvexScores):
    """|A_k| times the Busemann function b(y) = lim_t d(y, ray(t)) - t of the ray from the origin along A_k.

    b is convex, |grad b| = 1, and on a symmetric space Hess b = sqrt(Q) with Q = -R(., grad b) grad b (Eberlein 1996,
    section 1.10), so that Hess b <= sqrt(k) and Q <= sqrt(k) Hess b where curvatures are at least -k.
    """

    space: Space

    def gradient_bounds(self, A: Tensor) -> Tensor:
        return A.norm(dim=-1)

    def hessian_bounds(self, A: Tensor) -> Tensor:
        return math.sqrt(-self.space.curvature_bounds()[0]) * A.norm(dim=-1)

    bending = hessian_bounds


class SPDBusemann(Busemann):
    """On SPD(n) with the affine-invariant metric, A_k being orthonormal coordinates of a symmetric matrix.

    With A = U diag(l) U', l ascending, and the Cholesky factor L of U'XU, s = -sum_i l_i log L_ii^2, or by the leading
    principal minors D_i = (L_11 ... L_ii)^2, s = sum_{i<n} (l_{i+1} - l_i) log D_i - l_n log D_n (Bridson and Haefliger
    1999, II.10.69). It is what <-A, log X> is where A and X commute. log D_n is affine along geodesics and the other
    log D_i, of compressions of X, are convex.
    """

    def __init__(self, space: SPD) -> None:
        self.space: SPD = space

    def shape(self, y: Tensor | None = None) -> tuple[int, ...] | None:
        n = self.space.n if y is None else y.shape[-1]
        return None if n is None else (n * (n + 1) // 2,)

    def _factors(self, y: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l (..., K, n), U (..., K, n, n) and L (..., K, n, n)."""
        rates, frames = sym_eigh(sym_from_vector(A))
        return rates, frames, cholesky(frames.mT @ y.unsqueeze(-3) @ frames)

    def value(self, y: Tensor, A: Tensor) -> Tensor:
        rates, _, factor = self._factors(y, A)
        return -2 * (rates * factor.diagonal(dim1=-2, dim2=-1).log()).sum(-1)

    def gradient(self, y: Tensor, A: Tensor, w: Tensor) -> Tensor:
        """The Euclidean gradient is -U L^-T diag(l) L^-1 U'; y G y lifts to y G / 2 = -U L diag(l) L^-1 U' / 2."""
        rates, frames, factor = self._factors(y, A)
        inverse = torch.linalg.solve_triangular(factor, frames.mT, upper=False)
        weights = (-0.5 * w.unsqueeze(-1) * rates).unsqueeze(-2)
        return ((frames @ factor * weights) @ inverse).sum(-3).flatten(-2)


class HyperbolicBusemann(Busemann):
    """On the hyperboloid of radius r: s = |A| r log(-<x, (1, e)> / r) with A = |A| e in R^n, <,> Minkowski's form.

    With p = <e, x_s> and the rest q = x_s - p e, -<x, (1, e)> = x_0 - p = (r^2 + |q|^2) / (x_0 + p), where nothing
    cancels in the direction of e.
    """

    def __init__(self, space: Hyperbolic) -> None:
        self.space: Hyperbolic = space

    def shape(self, y: Tensor | None = None) -> tuple[int, ...] | None:
        return (self.space.n,)

    def _parts(self, y: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """|A| and -<x, (1, e)>, both (..., K, 1), e and q, both (..., K, n)."""
        size = safe_norm(A, keepdim=True)
        e = A / torch.where(size > 0, size, 1.0)
        space = y[..., None, 1:]
        along = (space * e).sum(-1, keepdim=True)
        across = space - along * e
        total = y[..., None, :1] + along.abs()
        height = torch.where(along > 0, (self.space.radius**2 + across.square().sum(-1, keepdim=True)) / total, total)
        return size, height, e, across

    def value(self, y: Tensor, A: Tensor) -> Tensor:
        size, height, _, _ = self._parts(y, A)
        return (size * self.space.radius * (height / self.space.radius).log()).squeeze(-1)

    def gradient(self, y: Tensor, A: Tensor, w: Tensor) -> Tensor:
        """grad b = x / r - r (1, e) / h with h = -<x, (1, e)>; the part along x, which would cancel, has no lift.

        The rest lifts to the boost (q / h - e) / r and the turn (e q' - q e') / (r h).
        """
        size, height, e, across = self._parts(y, A)
        weights = w.unsqueeze(-1) * size / self.space.radius
        scaled = across / height
        boost = (weights * (scaled - e)).sum(-2)
        outer = (weights * scaled).mT @ e
        return torch.cat([boost, skew_to_vector(outer.mT - outer)], -1)
