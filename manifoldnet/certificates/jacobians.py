"""Jacobians of maps of batches, and what they tell of symplectic forms, volume and sensitivity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def jacobian(f: Map, x: Tensor, dims: int = 1) -> Tensor:
    """(*batch, m, n): the Jacobian of f for every sample, points flattened.

    Samples must not see each other. One backward pass for every output coordinate, of the whole batch at once, so
    that maps with custom derivatives are served too.

    Args:
        f: map of (*batch, *point) to (*batch, *image), both points of ``dims`` dimensions.
        dims: number of dimensions of a point.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x)
        batch = x.shape[: x.dim() - dims]
        flat = y.reshape(*batch, -1)
        rows = [torch.autograd.grad(flat[..., i].sum(), x, retain_graph=True)[0] for i in range(flat.shape[-1])]
    return torch.stack([row.reshape(*batch, -1) for row in rows], -2).detach()


def canonical_form(dim: int, like: Tensor) -> Tensor:
    """(2 dim, 2 dim): J = [[0, I], [-I, 0]]."""
    eye, zero = torch.eye(dim).to(like), torch.zeros(dim, dim).to(like)
    return torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])


def symplectic_defect(G: Tensor, form: Tensor | None = None, factor: float = 1.0) -> float:
    """max |G' W G - factor W| over the batch, W the canonical form unless another is given.

    Args:
        G: Jacobians (*batch, 2 dim, 2 dim).
        factor: of a conformally symplectic map, exp(-damping t).
    """
    W = canonical_form(G.shape[-1] // 2, G) if form is None else form
    return (G.mT @ W @ G - factor * W).abs().max().item()


def volume_defect(G: Tensor) -> float:
    """max |log |det G|| over the batch."""
    return torch.linalg.slogdet(G).logabsdet.abs().max().item()
