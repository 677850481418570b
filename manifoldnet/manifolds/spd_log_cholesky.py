"""Symmetric positive definite matrices with the log-Cholesky metric."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import cholesky, sym
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.group import Group
from manifoldnet.manifolds.spd import SPD


class LogCholeskySPD(SPD):
    """SPD(n) with the metric that makes log-Cholesky coordinates an isometry onto R^(n(n+1)/2) (Lin 2019).

    The coordinates of x = L L' are the lower triangle of L by rows, with the logarithms of its diagonal entries:
    geodesics, means and transport are those of Euclidean space in them. The metric is invariant under multiplication
    of Cholesky factors, not under a change of the basis of R^n.

    Points that are not positive definite give NaN, not an error; :meth:`check_point_on_manifold` finds them.
    """

    metric = "log-cholesky"

    @property
    def action(self) -> Action:
        shape = None if self.dim is None else (self.dim,)
        return CholeskyTranslation(Euclidean(1, shape))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        coordinates, velocity = _with_velocity(x, u)
        return from_log_cholesky(coordinates + velocity)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return _tangent(cholesky(sym(x)), to_log_cholesky(y) - to_log_cholesky(x))

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        total = (to_log_cholesky(y) - to_log_cholesky(x)).square().sum(-1)
        return total[..., None, None] if keepdim else total

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        a = _velocity(cholesky(sym(x)), u)
        total = (a * (a if v is None else _velocity(cholesky(sym(x)), v))).sum(-1)
        return total[..., None, None] if keepdim else total

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return _tangent(cholesky(sym(y)), _velocity(cholesky(sym(x)), v))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        # the inverse metric is J J' for the derivative J of the map from coordinates to matrices
        factor = cholesky(sym(x))
        return _tangent(factor, _scaled_triangle(factor, 2 * sym(u) @ factor, 1))

    def curvature_bounds(self) -> tuple[float, float]:
        """0 everywhere: the space is flat (Lin 2019, section 3)."""
        return 0.0, 0.0

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """Infinite."""
        return math.inf

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal velocities of the log-Cholesky coordinates."""
        n = x.shape[-1]
        size = (*x.shape[:-2], n * (n + 1) // 2)
        return _tangent(cholesky(sym(x)), torch.randn(size, dtype=x.dtype, device=x.device, generator=generator))

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """The closed form: the weighted mean of the log-Cholesky coordinates."""
        coordinates = to_log_cholesky(points)
        if weights is None:
            return from_log_cholesky(coordinates.mean(-2))
        weights = weights / weights.sum(-1, keepdim=True)
        return from_log_cholesky((weights.unsqueeze(-1) * coordinates).sum(-2))


class CholeskyTranslation(Action):
    """R^(n(n+1)/2) acting on SPD(n) by adding to the log-Cholesky coordinates; every such map is an isometry."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def act(self, x: Tensor, y: Tensor) -> Tensor:
        return from_log_cholesky(to_log_cholesky(y) + x)

    def tangent(self, v: Tensor, y: Tensor) -> Tensor:
        return _tangent(cholesky(sym(y)), v)

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        return _velocity(cholesky(sym(y)), tangent)


def to_log_cholesky(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
    """Lower triangle by rows of the Cholesky factor of SPD x, diagonal entries by their logarithms; d = n(n+1)/2."""
    return _log_triangle(cholesky(sym(x)))


def from_log_cholesky(v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
    """Inverse of :func:`to_log_cholesky`.

    Raises:
        ValueError: if the last dimension is not n(n+1)/2 for any n.
    """
    m = _matrix(v)
    factor = m.tril(-1) + torch.diag_embed(_diagonal(m).exp())
    return sym(factor @ factor.mT)


def _log_triangle(factor: Tensor) -> Tensor:
    return _triangle(factor.tril(-1) + torch.diag_embed(_diagonal(factor).log()))


def _velocity(factor: Tensor, u: Tensor) -> Tensor:
    """Derivative of the coordinates at L L' in the symmetric direction u: L (L^-1 u L^-T)_half, diagonal over L's."""
    half = torch.linalg.solve_triangular(factor, sym(u), upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    change = factor @ (whitened.tril(-1) + torch.diag_embed(0.5 * _diagonal(whitened)))
    return _scaled_triangle(factor, change, -1)


def _with_velocity(x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    factor = cholesky(sym(x))
    return _log_triangle(factor), _velocity(factor, u)


def _tangent(factor: Tensor, v: Tensor) -> Tensor:
    """Inverse of :func:`_velocity`: dL L' + L dL'."""
    m = _matrix(v)
    change = m.tril(-1) + torch.diag_embed(_diagonal(m) * _diagonal(factor))
    return 2 * sym(change @ factor.mT)


def _scaled_triangle(factor: Tensor, m: Tensor, power: int) -> Tensor:
    """Lower triangle of m, its diagonal times that of L to the power 1 or -1."""
    scale = _diagonal(factor)
    diagonal = _diagonal(m) * scale if power == 1 else _diagonal(m) / scale
    return _triangle(m.tril(-1) + torch.diag_embed(diagonal))


def _diagonal(m: Tensor) -> Tensor:
    return m.diagonal(dim1=-2, dim2=-1)


def _triangle(m: Tensor) -> Tensor:
    """Lower triangle by rows, (..., n, n) to (..., n(n+1)/2)."""
    rows, columns = torch.tril_indices(m.shape[-1], m.shape[-1], device=m.device)
    return m[..., rows, columns]


def _matrix(v: Tensor) -> Tensor:
    """Lower triangular matrix with the entries v, by rows."""
    d = v.shape[-1]
    n = (math.isqrt(8 * d + 1) - 1) // 2
    if n * (n + 1) // 2 != d:
        raise ValueError(f"v: the last dimension must be n(n+1)/2 for some n, got shape {tuple(v.shape)}")
    rows, columns = torch.tril_indices(n, n, device=v.device)
    index = torch.zeros(n, n, dtype=torch.long, device=v.device)
    index[rows, columns] = torch.arange(d, device=v.device)
    return v[..., index.flatten()].unflatten(-1, (n, n)).tril()
