"""Local principal components of diffusion-weighted signals, of which the Marchenko-Pastur law tells noise apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CHUNK = 2**19  # numbers in the patches that are filtered at once; more are slower, they leave the caches
Result = TypeVar("Result")


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

    def found(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        voxels = (part[:, None] + steps).flatten()
        return voxels, *_without_noise(flat.index_select(0, voxels).unflatten(0, (len(part), len(steps))))

    parts = centres.split(max(1, CHUNK // (len(steps) * flat.shape[1])))
    for voxels, without_noise, share in _on_all_cores(found, parts, mask.device):
        total.index_add_(0, voxels, without_noise.flatten(0, 1))
        weight.index_add_(0, voxels, share.repeat_interleave(len(steps)))
    total /= weight.clamp_min(1e-300)[:, None]
    as_it_was = (weight == 0) | ~mask.flatten()
    total[as_it_was] = flat[as_it_was]
    return total.reshape(signals.shape).to(signals.dtype)


def patch_sides(shape: tuple[int, ...], volumes: int, radius: int | None) -> list[int]:
    """Voxels on either side of a patch's centre, for each axis."""

    def sides(r: int) -> list[int]:
        return [min(r, (size - 1) // 2) for size in shape]

    if radius is None:
        enough = (r for r in range(1, max(shape)) if math.prod(2 * s + 1 for s in sides(r)) > volumes)
        radius = next(enough, max(shape))
    return sides(radius)


def _without_noise(patches: Float[Tensor, "m v n"]) -> tuple[Float[Tensor, "m v n"], Float[Tensor, " m"]]:
    """Patches of v voxels on the components that are no noise, times the weight that they have, and this."""
    v, n = patches.shape[1:]
    mean = patches.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(torch.baddbmm(mean.mT * mean, patches.mT, patches, beta=-1, alpha=1 / v))
    few = max(0, n - (v - 1))  # whose eigenvalues are 0, since there are fewer voxels than volumes
    values, vectors = values[:, few:].clamp_min(0), vectors[..., few:]
    count = torch.arange(1, n - few + 1, device=values.device)
    # the c smallest are noise if they spread over no more than 4 sigma^2 sqrt(c / v), sigma^2 being their mean
    variance = values.cumsum(1) / count
    explained = values - values[:, :1] <= 4 * torch.sqrt(count / v) * variance
    most = (explained * count).amax(1, keepdim=True).clamp_min(1) - 1
    kept = values >= (1 + math.sqrt(n / v)) ** 2 * variance.gather(1, most)
    share = 1 / (1 + kept.sum(1).double())
    used = kept.any(0)  # the largest ones
    components = vectors[..., used] * kept[:, None, used]
    projector = (share[:, None, None] * components) @ components.mT
    # one product for the patch, whose mean stays: it is not centred first
    return torch.baddbmm(share[:, None, None] * mean - mean @ projector, patches, projector), share


def _on_all_cores(work: Callable[[Tensor], Result], parts: Sequence[Tensor], device: torch.device) -> Iterator[Result]:
    """What becomes of parts of an image, in their order, on the CPU each found by one core: torch finds eigenvectors of
    a batch one matrix after the other."""
    cores = torch.get_num_threads()
    if device.type != "cpu" or cores == 1:
        yield from map(work, parts)
        return
    torch.set_num_threads(1)  # else each asks for all cores, and they take as long as one
    try:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, parts)
    finally:
        torch.set_num_threads(cores)
