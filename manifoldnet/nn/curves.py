"""Layers for curves on Lie groups: transforms, distances to learned curves, and log-signatures."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from manifoldnet.curves.elastic import elastic_distance
from manifoldnet.curves.homogeneous import coordinates, increments
from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.curves.signature import logsignature
from manifoldnet.curves.srvt import srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import Power, Product, Space


class SRVT(nn.Module):
    """Curve (..., N, *point) -> square-root velocities (..., N-1, dim), by :func:`manifoldnet.curves.srvt`.

    Args:
        group: the space of the points.
        side, norm: as there.
        weights: "fixed" for the standard inner product of the algebra; to learn one, "factor" with a positive weight
            for each factor of a Power or Product (one weight elsewhere), or "coordinate" with one for each coordinate.
            All weights start at 1.

    Attributes:
        log_weights: (weights,), logarithms of the weights, a parameter; None if they are fixed.

    Raises:
        InputError: weights is unknown, or the group does not know its size; from the forward pass as :func:`srvt`.
    """

    def __init__(self, group: Space, side: str = "left", norm: str = "joint", weights: str = "fixed") -> None:
        super().__init__()
        if weights not in ("fixed", "factor", "coordinate"):
            raise InputError(f'weights: wanted "fixed", "factor" or "coordinate", got {weights!r}')
        self.group = group
        self.side, self.norm = side, norm
        self.log_weights: nn.Parameter | None = None
        if weights != "fixed":
            count = coordinates(group) if weights == "coordinate" else _factors(group)
            self.log_weights = nn.Parameter(torch.zeros(count))

    def forward(
        self, curve: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "*batch cells dim"]:
        """The transforms; ``mask`` (..., N) says which samples are present in curves of different lengths."""
        weights = None if self.log_weights is None else self.log_weights.exp().to(curve.dtype)
        return srvt(curve, self.group, self.side, self.norm, mask=mask, weights=weights)


class ElasticPrototypes(nn.Module):
    """Transforms (..., n, dim) -> elastic distances (..., prototypes) to learned transforms.

    The same at whatever speed a curve is run through. Gradients are those of
    :func:`manifoldnet.curves.elastic_distance`: of the best path held fixed (the envelope theorem), or of all paths
    with ``smoothing``. :func:`manifoldnet.curves.inverse_srvt` of a prototype is the curve that was learned.

    Args:
        prototypes: how many.
        cells, dim: of a prototype; n may be another number of cells within the factor ``slopes``.
        slopes, band, smoothing, scale: as in :func:`manifoldnet.curves.elastic_distance`.
        weighted: learn an inner product, sum_k w_k u_k v_k of cells u and v with positive weights that start at 1.
        generator: of the random start, by which prototypes are noise of mean squared norm 1.

    Attributes:
        prototypes: (prototypes, cells, dim), a parameter.
        log_weights: (dim,), logarithms of w, a parameter; None if not weighted.

    Raises:
        InputError: from the forward pass, as :func:`manifoldnet.curves.elastic_distance`.
    """

    def __init__(
        self,
        prototypes: int,
        cells: int,
        dim: int,
        slopes: int = 4,
        band: int | float | None = None,
        smoothing: int | float | None = None,
        scale: str | None = None,
        weighted: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.slopes, self.band, self.smoothing, self.scale = slopes, band, smoothing, scale
        start = torch.randn(prototypes, cells, dim, generator=generator) / math.sqrt(cells * dim)
        self.prototypes = nn.Parameter(start)
        self.log_weights = nn.Parameter(torch.zeros(dim)) if weighted else None

    @classmethod
    def from_curves(
        cls,
        qs: Float[Tensor, "k n dim"],
        prototypes: int,
        slopes: int = 4,
        band: int | float | None = None,
        smoothing: int | float | None = None,
        scale: str | None = None,
        weighted: bool = False,
    ) -> ElasticPrototypes:
        """A layer that starts at :func:`medoids` of the transforms qs, or at all of them if k = ``prototypes``.

        Raises:
            InputError: there are fewer than ``prototypes`` transforms, or as
                :func:`manifoldnet.curves.pairwise_elastic_distance`.
        """
        chosen = qs.detach()
        if len(qs) != prototypes:
            chosen = chosen[
                medoids(pairwise_elastic_distance(chosen, slopes=slopes, band=band, scale=scale), prototypes)
            ]
        count, cells, dim = chosen.shape
        layer = cls(count, cells, dim, slopes, band, smoothing, scale, weighted).to(chosen)
        layer.prototypes = nn.Parameter(chosen.clone())
        return layer

    def forward(
        self, q: Float[Tensor, "*batch n dim"], cells: Int[Tensor, "*_batch"] | None = None
    ) -> Float[Tensor, "*batch prototypes"]:
        """The distances; ``cells`` (...) says how many cells count in transforms of different lengths."""
        root = 1.0 if self.log_weights is None else (self.log_weights / 2).exp()
        first, second = q.unsqueeze(-3) * root, self.prototypes * root
        counted = None if cells is None else cells.unsqueeze(-1)
        return elastic_distance(first, second, self.slopes, self.band, self.smoothing, scale=self.scale, cells0=counted)

    def extra_repr(self) -> str:
        count, cells, dim = self.prototypes.shape
        options = f"slopes={self.slopes}, band={self.band}, smoothing={self.smoothing}, scale={self.scale}"
        return f"{count}, cells={cells}, dim={dim}, {options}, weighted={self.log_weights is not None}"


class LogSignature(nn.Module):
    """Increments (..., cells, dim), or curves on a group, -> log-signature: features that no reparametrisation changes.

    Args:
        depth, basis, blocks: as in :func:`manifoldnet.curves.logsignature`.
        group, side: of curves (..., N, *point), whose :func:`manifoldnet.curves.signature.increments` are taken first;
            with None the input are increments. The features of a curve do not change when it is multiplied by a fixed
            element from ``side``.

    Raises:
        InputError: from the forward pass, as those functions.
    """

    def __init__(
        self, depth: int, basis: str = "words", blocks: int = 1, group: Space | None = None, side: str = "left"
    ) -> None:
        super().__init__()
        self.depth, self.basis, self.blocks = depth, basis, blocks
        self.group, self.side = group, side

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(..., words), their number as in :func:`manifoldnet.curves.logsignature`."""
        v = x if self.group is None else increments(x, self.group, self.side)
        return logsignature(v, self.depth, self.basis, self.blocks)

    def extra_repr(self) -> str:
        return f"depth={self.depth}, basis={self.basis!r}, blocks={self.blocks}"


def medoids(distances: Float[Tensor, "k k"], count: int) -> Int[Tensor, "count"]:
    """Indices of curves so that the sum of the distances of all curves to their nearest one is small.

    The first has the least sum, and each next one lowers the sum most: the build phase of partitioning around medoids
    (Kaufman and Rousseeuw 1990).

    Raises:
        InputError: count is not between 1 and k.
    """
    if not 1 <= count <= len(distances):
        raise InputError(f"count: wanted between 1 and the {len(distances)} curves there are, got {count}")
    nearest = distances.new_full((len(distances),), torch.inf)
    chosen: list[Tensor] = []
    for _ in range(count):
        sums = torch.minimum(nearest[:, None], distances).sum(0)
        if chosen:
            # among equal curves one that is chosen lowers the sum as little as its copies
            sums[torch.stack(chosen)] = torch.inf
        chosen.append(sums.argmin())
        nearest = torch.minimum(nearest, distances[:, chosen[-1]])
    return torch.stack(chosen)


def _factors(group: Space) -> int:
    if isinstance(group, Product):
        return len(group.spaces)
    return group.n if isinstance(group, Power) else 1
