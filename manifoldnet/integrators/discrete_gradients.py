"""Discrete gradients of a function H: vectors g(x, y) with g . (y - x) = H(y) - H(x), exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from manifoldnet.linalg.kernel import is_transformed

Function = Callable[[Tensor], Tensor]
"""(..., d) -> (...), for any leading dimensions."""

DiscreteGradient = Callable[[Function, Tensor, Tensor], Tensor]
"""(H, x, y) -> g(x, y), of the shape (..., d) of the points."""


def gradient(H: Function, x: Tensor) -> Tensor:
    """The gradient of H at x, sample by sample; differentiable again where gradients are recorded."""
    if torch.compiler.is_compiling() or is_transformed():
        value, pullback, *_ = torch.func.vjp(H, x)
        return pullback(torch.ones_like(value))[0]
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        point = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(H(point).sum(), point, create_graph=recorded)[0]


def gonzalez(H: Function, x: Tensor, y: Tensor) -> Tensor:
    """The gradient in the middle, corrected along y - x (Gonzalez 1996, equation 3.2)."""
    d = y - x
    square = d.square().sum(-1, keepdim=True)
    middle = gradient(H, x + 0.5 * d)
    near = square < (32 * torch.finfo(x.dtype).eps) ** 2
    missing = (H(y) - H(x))[..., None] - (middle * d).sum(-1, keepdim=True)
    return middle + torch.where(near, 0.0, missing / torch.where(near, 1.0, square)) * d


_NODES, _WEIGHTS = (
    (0.5 * np.polynomial.legendre.leggauss(8)[0] + 0.5).tolist(),
    (0.5 * np.polynomial.legendre.leggauss(8)[1]).tolist(),
)


def mean_value(H: Function, x: Tensor, y: Tensor) -> Tensor:
    """The mean of the gradient over the segment (Harten, Lax and van Leer 1983), by Gauss quadrature at 8 nodes.

    Exact for polynomials up to degree 16; otherwise up to the error of the quadrature.
    """
    s, w = (torch.tensor(v, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * x.dim()) for v in (_NODES, _WEIGHTS))
    return (w * gradient(H, x + s * (y - x))).sum(0)


def itoh_abe(H: Function, x: Tensor, y: Tensor) -> Tensor:
    """Difference quotients, one coordinate after the other (Itoh and Abe 1988).

    g_i = (H(y_1..y_i, x_i+1..) - H(y_1..y_i-1, x_i..)) / (y_i - x_i). Where y_i - x_i is so small that rounding would
    show, the mean of dH/dx_i over the same segment stands in, by Gauss quadrature at two nodes.
    """
    n = x.shape[-1]
    lead = (1,) * (x.dim() - 1)
    d = y - x
    moved = torch.ones(n + 1, n, dtype=torch.bool, device=x.device).tril(-1)
    corners = torch.where(moved.reshape(n + 1, *lead, n), y, x)
    values = H(corners)
    near = d.abs() < torch.finfo(x.dtype).eps ** 0.2
    quotients = (values[1:] - values[:-1]).movedim(0, -1) / torch.where(near, 1.0, d)
    one = torch.eye(n, dtype=x.dtype, device=x.device).reshape(n, *lead, n)
    nodes = torch.stack([corners[:-1] + s * one * d for s in (0.5 - 12**-0.5, 0.5 + 12**-0.5)])
    means = (gradient(H, nodes).mean(0) * one).sum(-1).movedim(0, -1)
    return torch.where(near, means, quotients)


def symmetrised_itoh_abe(H: Function, x: Tensor, y: Tensor) -> Tensor:
    """The mean of Itoh and Abe's over the two orders of the coordinates; symmetric in x and y."""
    return 0.5 * (itoh_abe(H, x, y) + itoh_abe(H, y, x))
