"""What networks are told of volumes of tensors: features that rotations and scalings do not change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from manifoldnet.linalg import safe_norm
from manifoldnet.nn.isotropic_function import TINY, shape_of, trace_and_deviator
from manifoldnet.nn.surroundings import local_mean

INVARIANTS = 10
TOLD = 2 * INVARIANTS + 4  # of two kinds of tensors, the number of directions and how far the kinds are apart
MEAN_LOG_DIRECTIONS = 3.0  # of the usual 6 to 64, from which the feature is counted


def _variance(
    logs: Float[Tensor, "b 6 x y z"], mean: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"]
) -> Float[Tensor, "b 1 x y z"]:
    return (local_mean(logs.square(), mask).sum(1, keepdim=True) - mean.square().sum(1, keepdim=True)).clamp_min(0)


def roughness(logs: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"]) -> Float[Tensor, "b 1 x y z"]:
    """v / (1 + v) for the variance v of the 3 x 3 x 3 tensors round each voxel."""
    v = _variance(logs, local_mean(logs, mask), mask)
    return v / (1 + v)


def invariants(
    logs: Float[Tensor, "b 6 x y z"], mask: Bool[Tensor, "b 1 x y z"], sigma: Float[Tensor, "b 1 x y z"]
) -> Float[Tensor, "b 10 x y z"]:
    """Features of a voxel and its 3 x 3 x 3 surroundings that no rotation or scaling of the tensors changes.

    ``sigma`` is the noise level (standard deviation of the signal over S0), 0 where it is not known.
    """
    inside = mask.to(logs.dtype)
    mean = local_mean(logs, mask)
    (_, deviator), (_, mean_deviator) = trace_and_deviator(logs), trace_and_deviator(mean)
    rise = (logs - mean)[:, [0, 2, 5]].sum(1, keepdim=True) / math.sqrt(3.0)
    size, shape, _ = shape_of(deviator)
    mean_size = safe_norm(mean_deviator.movedim(1, -1)).unsqueeze(1)
    aligned = (deviator * mean_deviator).sum(1, keepdim=True) / (size * mean_size + TINY)
    gap = safe_norm((logs - mean).movedim(1, -1)).unsqueeze(1)
    known = (sigma > 0).to(logs.dtype)
    noise = known * (4.0 + sigma.clamp_min(1e-3).log())
    parts = [
        rise,
        size,
        shape,
        aligned,
        mean_size,
        gap,
        (_variance(logs, mean, mask) + TINY).sqrt(),
        noise,
        known,
        functional.avg_pool3d(inside, 3, 1, 1),
    ]
    return torch.cat(parts, 1) * inside


def told(
    kinds: Sequence[Float[Tensor, "b 6 x y z"]],
    mask: Bool[Tensor, "b 1 x y z"],
    sigma: Float[Tensor, "b 1 x y z"],
    directions: Float[Tensor, " b"],
) -> Float[Tensor, "b told x y z"]:
    """What the convolutions see: :func:`invariants` of each kind of tensors, the number of directions, and how far the
    kinds are apart; zeros where there is one kind."""
    inside = mask.to(sigma.dtype)
    n = directions[:, None, None, None, None]
    known = (n > 0) * inside
    parts = [invariants(kinds[0], mask, sigma), known, known * (n.clamp_min(1).log() - MEAN_LOG_DIRECTIONS)]
    if len(kinds) == 2:
        gap = safe_norm((kinds[0] - kinds[1]).movedim(1, -1)).unsqueeze(1)
        parts += [inside, gap, invariants(kinds[1], mask, torch.zeros_like(sigma))]
    else:
        parts.append(torch.zeros_like(sigma).expand(-1, 2 + INVARIANTS, -1, -1, -1))
    return torch.cat(parts, 1)
