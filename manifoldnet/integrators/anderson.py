"""Anderson's acceleration of a fixed-point iteration, for systems whose Jacobian is too large to form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

DEPTH = 12
ITERATIONS = 400


def anderson(G: Callable[[Tensor], Tensor], z: Tensor, tolerance: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """z with z = G(z), sample by sample (Anderson 1965; Walker and Ni 2011, problem (2.3)).

    Args:
        z: (*batch, n), the start.
        tolerance: (*batch) from z, the norm of G(z) - z that is accepted.

    Returns:
        The point of the smallest worst residual, and that residual over the tolerance: at most 1 on success.
    """
    images: list[Tensor] = []
    residuals: list[Tensor] = []
    best, smallest = z, float("inf")
    for _ in range(ITERATIONS):
        image = G(z)
        residual = image - z
        worst = (residual.norm(dim=-1) / tolerance(image)).max().item()
        if worst < smallest:
            best, smallest = image, worst
        if worst <= 1.0 or not worst < float("inf"):
            break
        images, residuals = [*images[-DEPTH:], image], [*residuals[-DEPTH:], residual]
        if len(images) == 1:
            z = image
            continue
        differences = torch.stack([b - a for a, b in pairwise(residuals)], -1)
        moves = torch.stack([b - a for a, b in pairwise(images)], -1)
        # columns differ by many powers of ten, which the least-squares solver of the CPU and of the GPU must not see
        scale = differences.norm(dim=-2, keepdim=True) + torch.finfo(z.dtype).tiny
        q, r = torch.linalg.qr(differences / scale)
        ridge = torch.finfo(z.dtype).eps * torch.eye(r.shape[-1], dtype=z.dtype, device=z.device)
        gram = r.mT @ r + ridge
        gamma = torch.linalg.solve(gram, r.mT @ (q.mT @ residual[..., None]))
        z = image - ((moves / scale) @ gamma)[..., 0]
    return best, smallest
