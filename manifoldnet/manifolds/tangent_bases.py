"""Orthonormal bases of tangent spaces, for spaces that know no simpler ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from manifoldnet.manifolds.base import Space


def orthonormal_basis(space: Space, x: Tensor) -> Tensor:
    """An orthonormal basis of the tangent space at x, (..., dim, *point): the leading directions of ``space.proju``.

    Raises:
        ValueError: if the space does not know its dimension.
    """
    if space.dim is None:
        raise ValueError(f"space: {space.name} must be made with a known size to have a basis of its tangent spaces")
    x = x.detach()
    point = x.shape[x.dim() - space.ndim :]
    size = point.numel()
    ambient = torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, *point)
    projected = space.proju(x.unsqueeze(-(space.ndim + 1)), ambient)
    rows = projected.reshape(*projected.shape[: projected.dim() - space.ndim], size)
    directions = torch.linalg.svd(rows).Vh[..., : space.dim, :]
    return orthonormalise(space, x, directions.reshape(*directions.shape[:-1], *point))


def orthonormalise(space: Space, x: Tensor, basis: Tensor) -> Tensor:
    """The basis (..., dim, *point) of the tangent space at x made orthonormal, as by the process of Gram and Schmidt.

    The Cholesky factor of the Gram matrix is solved for.
    """
    gram = gram_matrix(space, x, basis)
    flat = basis.reshape(*basis.shape[: basis.dim() - space.ndim], -1)
    factor = torch.linalg.cholesky(gram)
    return torch.linalg.solve_triangular(factor, flat, upper=False).reshape(basis.shape)


def gram_matrix(space: Space, x: Tensor, vectors: Tensor) -> Tensor:
    """Inner products (..., k, k) of the tangent vectors (..., k, *point) at x."""
    axis = -(space.ndim + 1)
    return space.inner(x.unsqueeze(axis).unsqueeze(axis), vectors.unsqueeze(axis), vectors.unsqueeze(axis - 1))
