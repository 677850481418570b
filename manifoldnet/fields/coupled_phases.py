"""A gradient field on images of angles: neighbours attract each other at a distance, data attract pixels."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

Images = Float[Tensor, "*batch h w"]
Weighted = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]


class CoupledPhases(nn.Module):
    """y' = -grad V(y), V = sum_edges w (1 - cos(y_j - y_i - a)) + sum_i c_i (1 - cos(y_i - d_i)).

    Edges join a pixel i to its right and its lower neighbour j; a is the phase difference that an edge wants, w how
    much it wants it; d are data and c how much each is trusted. 1 - cos is the antiderivative of the activation sin,
    and V depends on differences of angles only, so the flow commutes with a common rotation of y and d, and with the
    negation of y, d and a (Kuramoto, 1975, as a gradient flow; section 2.4 of Celledoni et al., 2021, "Structure
    preserving deep learning", on the circle).

    Args:
        right: wanted differences and weights at the edges (..., h, w - 1) to the right.
        down: likewise (..., h - 1, w).
        data: angles d and trust c (..., h, w).
    """

    preserves: Literal["symplectic", "conformal", "form", "volume"] | None = None

    def __init__(self, right: Weighted, down: Weighted, data: Weighted) -> None:
        super().__init__()
        self.right, self.down, self.data = right, down, data

    def potential(self, t: float | Tensor, y: Images) -> Float[Tensor, "*batch"]:
        """V(y), never negative for weights and trust that are not."""
        parts = [(w * (1 - torch.cos(d))).sum((-2, -1)) for d, w in self._terms(y)]
        return parts[0] + parts[1] + parts[2]

    def forward(self, t: float | Tensor, y: Images) -> Float[Tensor, "*batch h w 1"]:
        """Generators of rotations: minus the gradient of V."""
        right, down, data = (w * torch.sin(d) for d, w in self._terms(y))
        along = pad(right, (0, 1)) - pad(right, (1, 0))
        force = along + pad(down, (0, 0, 0, 1)) - pad(down, (0, 0, 1, 0)) - data
        return force[..., None]

    def lipschitz(self) -> Float[Tensor, ""]:
        """Upper bound of the field's Lipschitz constant, by Gershgorin's circles of the Hessian of V.

        Explicit Euler steps below 2 / L never raise V.
        """
        right, down, trust = (w.abs() for _, w in (self.right, self.down, self.data))
        edges = pad(right, (0, 1)) + pad(right, (1, 0)) + pad(down, (0, 0, 0, 1)) + pad(down, (0, 0, 1, 0))
        return (2 * edges + trust).amax()

    def _terms(self, y: Images) -> list[tuple[Tensor, Tensor]]:
        """Differences and weights of the edges to the right, of those down, and of the data."""
        return [
            (y.diff(dim=-1) - self.right[0], self.right[1]),
            (y.diff(dim=-2) - self.down[0], self.down[1]),
            (y - self.data[0], self.data[1]),
        ]
