"""Logarithms of traces, which are convex along the geodesics of SPD matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldnet.fields.scores import ConvexScores, Scores
from manifoldnet.manifolds import SPD


class LogTrace(Scores):
    """log tr(C_k X) on SPD(n) with C_k = A_k A_k', A_k of shape (n, n) and not 0."""

    def __init__(self, space: SPD) -> None:
        self.space = space

    def shape(self, y: Tensor | None = None) -> tuple[int, ...] | None:
        return self.space.point_shape if y is None else tuple(y.shape[-2:])

    def value(self, y: Tensor, A: Tensor) -> Tensor:
        return self._traces(y, A @ A.mT).log()

    def _traces(self, y: Tensor, C: Tensor) -> Tensor:
        traces = (C.flatten(-2) @ y.flatten(-2).unsqueeze(-1)).squeeze(-1)
        return traces.clamp_min(torch.finfo(y.dtype).tiny)  # C = 0 gives a constant

    def gradient(self, y: Tensor, A: Tensor, w: Tensor) -> Tensor:
        C = A @ A.mT
        weights = w / self._traces(y, C)
        slope = (weights.unsqueeze(-2) @ C.flatten(-2)).squeeze(-2).unflatten(-1, C.shape[-2:])
        return self._lifted(y, slope)

    def _lifted(self, y: Tensor, slope: Tensor) -> Tensor:
        return self.space.lift(y, self.space.egrad2rgrad(y, slope))


class ConvexLogTrace(LogTrace, ConvexScores):
    """The same for the affine-invariant metric, where it is convex along geodesics (Sra and Hosseini 2015).

    With rho = X^(1/2) C X^(1/2) / tr(C X), a density matrix, and W = X^(-1/2) w X^(-1/2), grad s is rho, of norm at
    most 1, and Hess s(w, w) = tr(rho W^2) - tr(rho W)^2 is a variance, at most |W|^2 / 2 (Popoviciu). In the
    eigenbasis of rho, -R(w, rho, rho, w) = |[rho, W]|^2 / 4 = sum_ij (p_i - p_j)^2 W_ij^2 / 4, while the variance is
    at least sum_{i != j} (p_i + p_j) W_ij^2 / 2; as p_i + p_j <= 1, c = 1/2.
    """

    def _lifted(self, y: Tensor, slope: Tensor) -> Tensor:
        return (0.5 * y @ slope).flatten(-2)  # y G y lifted

    def gradient_bounds(self, A: Tensor) -> Tensor:
        return A.new_ones(A.shape[:-2])

    def hessian_bounds(self, A: Tensor) -> Tensor:
        return 0.5 * A.new_ones(A.shape[:-2])

    bending = hessian_bounds
