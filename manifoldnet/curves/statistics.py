"""Statistics of shapes: the elastic mean of curves and their principal components at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.curves.elastic import align, check_transform
from manifoldnet.curves.shape_space import compose_warps, invert_warp, uniform_grid, warp
from manifoldnet.errors import InputError


class ElasticMean(NamedTuple):
    """A mean shape and the curves moved to it.

    Attributes:
        mean: (n, dim), the weighted average of ``aligned``.
        warps: (k, n + 1), the reparametrisation of each curve.
        aligned: (k, n, dim), the curves moved by their warps, :func:`warp`.
        history: (steps,), weighted mean of the squared distances at each iterate before centring, never
            increasing. The last entry is that at the last average, with the warps it was made of.
    """

    mean: Float[Tensor, "n dim"]
    warps: Float[Tensor, "k nodes"]
    aligned: Float[Tensor, "k n dim"]
    history: Float[Tensor, "steps"]


def elastic_mean(
    qs: Float[Tensor, "k n dim"] | Sequence[Float[Tensor, "_n _dim"]],
    weights: Float[Tensor, "_k"] | None = None,
    slopes: int = 6,
    iterations: int = 20,
    tol: int | float = 1e-3,
    centre: bool = True,
) -> ElasticMean:
    """Minimise sum_k w_k d(mean, q_k)^2, d the elastic distance, over the step functions on one grid.

    Alternates between the best warps of all curves to the mean and the average of the warped curves (Srivastava,
    Klassen, Joshi and Jermyn 2011). Neither step increases the sum: the average of the L2 projections minimises
    it for fixed warps exactly, and the dynamic programme for a fixed mean. The start is the curve nearest to the
    average without warps, and the result a local minimum.

    Args:
        qs: (k, n, dim) as :func:`srvt` gives them with dt=None, or a sequence of k tensors (n_i, dim); the mean
            then has their median number of cells, from which each may differ up to the factor ``slopes``.
        weights: (k,), not negative, with a positive sum, to which they are scaled; uniform when None.
        slopes: as in :func:`elastic_distance`.
        iterations: largest number of alternations, each k dynamic programmes.
        tol: stop when the sum decreases by less than this part of itself.
        centre: run the mean at the average speed. A shape has no speed of its own, and without this the mean
            keeps that of the curve it started from. The warps phi_k are replaced by phi_k o psi, psi the inverse
            of their weighted average, so that their average is the identity; phi_k o psi is sampled on the
            grid, which raised the sum of squares of 8 different smooth rotations by 0.4 % (40 and 100 cells).

    Returns:
        An :class:`ElasticMean`. The gradient of mean and aligned holds the best warps fixed; they are constant
        almost everywhere, so that it is exact.

    Raises:
        InputError: there is no curve, the curves differ in dim, dtype or device, or are not finite, an option is
            out of range, or the slopes allow no path.
    """
    if iterations < 1:
        raise InputError(f"iterations: wanted an integer >= 1, got {iterations}")
    if not tol >= 0:
        raise InputError(f"tol: wanted a number >= 0, got {tol}")
    sample = _Sample.of(qs)
    share = _scaled(weights, sample)
    history: list[Tensor] = []
    with torch.no_grad():
        mean = sample.start(share)
        for _ in range(iterations):
            warps = sample.align(mean, slopes)
            aligned = sample.warp(warps)
            history.append(sample.spread(mean, aligned, share))
            mean = _average(aligned, share)
            if len(history) > 1 and bool(history[-2] - history[-1] <= tol * history[-1]):
                break
        history.append(sample.spread(mean, aligned, share))
    if centre:
        # around the identity, so that the ends stay 0 and 1 to the last bit
        grid = uniform_grid(mean.shape[0], mean)
        warps = compose_warps(warps, invert_warp(grid + _average(warps - grid, share)))
    aligned = sample.warp(warps)
    return ElasticMean(_average(aligned, share), warps, aligned, torch.stack(history))


@dataclass(frozen=True, eq=False)
class ElasticPCA:
    """Principal components of aligned curves in the tangent space at their mean; see :func:`elastic_pca`.

    Attributes:
        mean: (n, dim), the elastic mean.
        directions: (components, n, dim), orthonormal, the entry of largest size positive.
        variance: (components,), weighted variance of the scores, descending, in units of length.
        total_variance: (), the sum of the variances of all components.
        scores: (k, components) of the curves it was made of.
        slopes: as in :func:`elastic_distance`.
    """

    mean: Float[Tensor, "n dim"]
    directions: Float[Tensor, "components n dim"]
    variance: Float[Tensor, "components"]
    total_variance: Float[Tensor, ""]
    scores: Float[Tensor, "k components"]
    slopes: int

    def transform(self, qs: Float[Tensor, "*batch m dim"]) -> Float[Tensor, "*batch _components"]:
        """Scores of curves, each aligned to the mean alone; gradient with the alignment held fixed.

        For the curves of the mean they differ from ``scores``, whose warps are centred together.

        Raises:
            InputError: as :func:`elastic_distance`.
        """
        return _scores(warp(qs, align(self.mean, qs, self.slopes)) - self.mean, self.directions)

    def inverse(self, scores: Float[Tensor, "*batch components"]) -> Float[Tensor, "*batch n dim"]:
        """The transform with the given scores, mean + sum_c scores_c directions_c; :func:`inverse_srvt` makes a curve.

        Raises:
            InputError: the last dimension of scores is not the number of components.
        """
        if scores.dim() < 1 or scores.shape[-1] != len(self.directions):
            raise InputError(f"scores: wanted shape (..., {len(self.directions)}), got {tuple(scores.shape)}")
        return self.mean + torch.tensordot(scores, self.directions, 1)


@torch.no_grad()
def elastic_pca(
    qs: Float[Tensor, "k n dim"] | Sequence[Float[Tensor, "_n _dim"]],
    components: int,
    weights: Float[Tensor, "_k"] | None = None,
    slopes: int = 6,
    iterations: int = 20,
    tol: int | float = 1e-3,
) -> ElasticPCA:
    """Principal component analysis of shapes: of the aligned transforms, at their centred elastic mean.

    Transforms are a linear space, whose tangent space at the mean is itself: the directions are singular vectors
    of sqrt(w_k) (aligned_k - mean) (Srivastava, Klassen, Joshi and Jermyn 2011). Of k curves at most k - 1
    components have a variance above 0.

    Args:
        qs, weights, slopes, iterations, tol: as in :func:`elastic_mean`.
        components: how many to keep, at most min(k, n dim).

    Returns:
        An :class:`ElasticPCA`, without gradient. Its variances weight squares by w_k of sum 1: for equal weights
        they divide by k, not by k - 1.

    Raises:
        InputError: as :func:`elastic_mean`, or there are not so many components.
    """
    mean, _, aligned, _ = elastic_mean(qs, weights, slopes, iterations, tol)
    most = min(len(aligned), mean.numel())
    if not 1 <= components <= most:
        raise InputError(f"components: wanted an integer from 1 to {most}, got {components}")
    share = _scaled(weights, _Sample.of(qs))
    offsets = aligned - mean
    rows = share.sqrt()[:, None] * offsets.flatten(1)
    directions = torch.linalg.svd(rows, full_matrices=False).Vh[:components]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = (directions * largest.sign()).unflatten(1, mean.shape)
    scores = _scores(offsets, directions)
    variance = share @ scores.square()
    return ElasticPCA(mean, directions, variance, rows.square().sum(), scores, slopes)


class _Sample(NamedTuple):
    """Curves grouped by number of cells; ``order[k]`` is the place of curve k in the groups one after the other."""

    groups: list[Tensor]
    order: Tensor

    @classmethod
    def of(cls, qs: Tensor | Sequence[Tensor]) -> _Sample:
        if isinstance(qs, Tensor):
            if qs.dim() != 3 or not len(qs):
                raise InputError(f"qs: wanted shape (curves >= 1, cells, dim), got {tuple(qs.shape)}")
            _check(qs, "qs", qs)
            return cls([qs], torch.arange(len(qs), device=qs.device))
        if not qs:
            raise InputError("qs: wanted at least one curve, got none")
        places: dict[int, list[int]] = {}
        for k, q in enumerate(qs):
            if q.dim() != 2:
                raise InputError(f"qs[{k}]: wanted shape (cells, dim), got {tuple(q.shape)}")
            _check(q, f"qs[{k}]", qs[0])
            places.setdefault(len(q), []).append(k)
        order = torch.tensor([k for at in places.values() for k in at], device=qs[0].device).argsort()
        return cls([torch.stack([qs[k] for k in at]) for at in places.values()], order)

    def start(self, share: Tensor) -> Tensor:
        """The curve nearest to the average without warps, on the grid of the median number of cells."""
        sizes = sorted(size for group in self.groups for size in [group.shape[1]] * len(group))
        cells = sizes[len(sizes) // 2]
        resampled = [
            group if group.shape[1] == cells else warp(group, uniform_grid(cells, group)) for group in self.groups
        ]
        curves = torch.cat(resampled)[self.order]
        return curves[(curves - _average(curves, share)).square().sum((1, 2)).argmin()]

    def align(self, mean: Tensor, slopes: int) -> Tensor:
        return torch.cat([align(mean, group, slopes) for group in self.groups])[self.order]

    def warp(self, warps: Tensor) -> Tensor:
        """(k, n, dim), each curve moved by its warp."""
        parts = warps[self.order.argsort()].split([len(group) for group in self.groups])
        return torch.cat([warp(group, phi) for group, phi in zip(self.groups, parts, strict=True)])[self.order]

    def spread(self, mean: Tensor, aligned: Tensor, share: Tensor) -> Tensor:
        """Weighted mean of the squared distances between mean and sqrt(phi') q o phi, of which aligned is a part."""
        lengths = torch.cat([group.square().sum((1, 2)) for group in self.groups])[self.order]
        squares = (aligned - mean).square().sum((1, 2)) + (lengths - aligned.square().sum((1, 2)))
        return share @ squares


def _check(q: Tensor, name: str, like: Tensor) -> None:
    check_transform(q, name, like)
    if not bool(q.isfinite().all()):
        raise InputError(f"{name}: wanted finite values, got NaN or infinity")


def _scaled(weights: Tensor | None, sample: _Sample) -> Tensor:
    """The weights of the curves with sum 1."""
    q, k = sample.groups[0], len(sample.order)
    if weights is None:
        return q.new_full((k,), 1 / k)
    if weights.shape != (k,) or (weights.dtype, weights.device) != (q.dtype, q.device):
        raise InputError(
            f"weights: wanted shape ({k},) in {q.dtype} on {q.device} like the curves, got {tuple(weights.shape)} "
            f"in {weights.dtype} on {weights.device}"
        )
    if not bool((weights >= 0).all() & (weights.sum() > 0) & weights.isfinite().all()):
        raise InputError("weights: wanted finite numbers >= 0 with a positive sum")
    return weights / weights.sum()


def _average(x: Tensor, share: Tensor) -> Tensor:
    return torch.tensordot(share, x, 1)


def _scores(offsets: Tensor, directions: Tensor) -> Tensor:
    return torch.tensordot(offsets, directions, dims=([-2, -1], [1, 2]))
