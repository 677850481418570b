"""Local principal components of diffusion-weighted signals, of which the Marchenko-Pastur law tells noise apart."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 2**24  # numbers in the patches that are filtered at once


def mppca(
    signals: Float[Tensor, "x y z n"], mask: Bool[Tensor, "x y z"], radius: int | None = None
) -> Float[Tensor, "x y z n"]:
    """Signals without the components of their patches that are noise (Veraart et al. 2016), in float64 inside.

    A patch has 2 radius + 1 voxels a side, as far as the image has them, lies inside the image and has its centre in
    the mask. Of the eigenvalues of its covariance those are noise that a Marchenko-Pastur distribution explains; voxels
    get the mean over all patches they are in, weighted by 1 / (1 + components kept). This is dipy's ``mppca``, batched.

    Args:
        signals: of n volumes.
        mask: voxels that may be the centre of a patch; the others come back as they were.
        radius: in voxels, or None for the smallest with which a patch has more voxels than there are volumes.
    """
    sides = patch_sides(mask.shape, signals.shape[-1], radius)
    offsets = torch.tensor(list(itertools.product(*(range(-s, s + 1) for s in sides))), device=mask.device)
    x, y, z = (slice(s, size - s) for s, size in zip(sides, mask.shape, strict=True))
    whole = torch.zeros_like(mask)
    whole[x, y, z] = mask[x, y, z]
    strides = torch.tensor([mask.shape[1] * mask.shape[2], mask.shape[2], 1], device=mask.device)
    centres, steps = whole.nonzero() @ strides, offsets @ strides
    flat = signals.flatten(0, 2).double()
    total, weight = torch.zeros_like(flat), flat.new_zeros(len(flat))
    for part in centres.split(max(1, CHUNK // (len(steps) * flat.shape[1]))):
        voxels = part[:, None] + steps
        found, kept = _without_noise(flat[voxels])
        share = 1 / (1 + kept.double())
        total.index_add_(0, voxels.flatten(), (share[:, None, None] * found).flatten(0, 1))
        weight.index_add_(0, voxels.flatten(), share.repeat_interleave(len(steps)))
    seen = (weight > 0) & mask.flatten()
    filtered = torch.where(seen[:, None], total / weight.clamp_min(1e-300)[:, None], flat)
    return filtered.reshape(signals.shape).to(signals.dtype)


def patch_sides(shape: tuple[int, ...], volumes: int, radius: int | None) -> list[int]:
    """Voxels on either side of a patch's centre, for each axis."""

    def sides(r: int) -> list[int]:
        return [min(r, (size - 1) // 2) for size in shape]

    if radius is None:
        enough = (r for r in range(1, max(shape)) if math.prod(2 * s + 1 for s in sides(r)) > volumes)
        radius = next(enough, max(shape))
    return sides(radius)


def _without_noise(patches: Float[Tensor, "m v n"]) -> tuple[Float[Tensor, "m v n"], Int[Tensor, " m"]]:
    """Patches of v voxels on the components that are no noise, and the number of these."""
    v, n = patches.shape[1:]
    mean = patches.mean(1, keepdim=True)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.mT @ centred / v)
    few = max(0, n - (v - 1))  # whose eigenvalues are 0, since there are fewer voxels than volumes
    values, vectors = values[:, few:].clamp_min(0), vectors[..., few:]
    count = torch.arange(1, n - few + 1, device=values.device)
    # the c smallest are noise if they spread over no more than 4 sigma^2 sqrt(c / v), sigma^2 being their mean
    variance = values.cumsum(1) / count
    explained = values - values[:, :1] <= 4 * torch.sqrt(count / v) * variance
    most = (explained * count).amax(1, keepdim=True).clamp_min(1) - 1
    kept = values >= (1 + math.sqrt(n / v)) ** 2 * variance.gather(1, most)
    components = vectors * kept[:, None]
    return centred @ components @ components.mT + mean, kept.sum(1)
