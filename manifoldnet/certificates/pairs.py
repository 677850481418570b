"""Pairs of points, and by how much a map expands them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from manifoldnet.certificates.certificate import Row, at_most, unclaimed
from manifoldnet.manifolds import Euclidean, Space


def rounding_of(sample: Tensor) -> float:
    """What counts as rounding: 1e4 units in the last place."""
    return 1e4 * torch.finfo(sample.dtype).eps


def pairs(sample: Tensor) -> tuple[Tensor, Tensor]:
    """Every point of the sample beside the next one and, on vectors, beside a point close to it."""
    noise = torch.randn(sample.shape, dtype=sample.dtype, generator=torch.Generator().manual_seed(0)).to(sample.device)
    return torch.cat([sample, sample]), torch.cat([sample.roll(1, 0), sample + 1e-3 * noise])


def space_pairs(space: Space, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Every point of the sample beside the next one and beside a point of the space close to it."""
    if isinstance(space, Euclidean):
        return pairs(sample)
    noise = space.random_tangent(sample, generator=torch.Generator().manual_seed(0))
    return torch.cat([sample, sample]), torch.cat([sample.roll(1, 0), space.expmap(sample, 1e-3 * noise)])


def contraction_row(
    module: Callable[[Tensor], Tensor], bound: float, sample: Tensor, space: Space | None = None
) -> Row:
    """The largest ratio of distances after and before the map, against a Lipschitz constant."""
    x, y = pairs(sample) if space is None else space_pairs(space, sample)
    with torch.no_grad():
        a, b = module(x), module(y)
    if space is None:
        before, after = (x - y).flatten(1).norm(dim=1), (a - b).flatten(1).norm(dim=1)
    else:
        before, after = space.dist(x, y), space.dist(a, b)
    apart = before > 0
    ratio = torch.where(apart, after / torch.where(apart, before, 1.0), 0.0).max().item()
    name = "Lipschitz constant of the map"
    # rounding of points of size 1 over the distance 1e-3 of the close pairs
    return at_most(name, bound, ratio, 1e3 * rounding_of(sample)) if math.isfinite(bound) else unclaimed(name, ratio)
