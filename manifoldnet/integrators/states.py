"""States that are tuples of tensors, as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from manifoldnet.integrators.stepping import Field
from manifoldnet.manifolds import Euclidean, Product, Space
from manifoldnet.manifolds.actions import join_points, split_points


class TupleState:
    """Between a tuple of tensors and the one tensor that is integrated.

    Without a space, or with Euclidean space, the parts are vectors of any shapes, laid one after the other; with a
    Product they are its factors' points, with one batch shape.

    Raises:
        ValueError: for a space that is no product, or as many parts as it does not have.
    """

    def __init__(self, parts: Sequence[Tensor], space: Space | None) -> None:
        self.shapes = [tuple(part.shape) for part in parts]
        self.product = space if isinstance(space, Product) else None
        if self.product is None:
            if space is not None and not isinstance(space, Euclidean):
                raise ValueError(f"space: wanted a Product of {len(parts)} spaces for a tuple y0, got {space.name}")
            self.space: Space = Euclidean(1)
        else:
            if len(parts) != len(self.product.spaces):
                raise ValueError(
                    f"y0: wanted {len(self.product.spaces)} parts for {self.product.name}, got {len(parts)}"
                )
            self.space = self.product

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor for the points."""
        if self.product is not None:
            return join_points(parts, self.product.shapes)
        return torch.cat([part.reshape(-1) for part in parts])

    def split(self, y: Tensor) -> tuple[Tensor, ...]:
        """The points; dimensions in front of y stay in front."""
        if self.product is not None:
            return tuple(split_points(y, self.product.shapes))
        return tuple(split_points(y, self.shapes))

    def field(self, field: Any) -> Field:
        """The field of the one tensor from one of tuples."""

        def joined(t: Tensor, y: Tensor) -> Tensor:
            generators = field(t, self.split(y))
            if self.product is None:
                return self.join(generators)
            batch = torch.broadcast_shapes(*(g.shape[:-1] for g in generators))
            return torch.cat([g.expand(*batch, g.shape[-1]) for g in generators], -1)

        return joined
