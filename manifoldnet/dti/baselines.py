"""Classical smoothing of tensor fields: what a trained denoiser has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv3d

from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.linalg import sym_expm, sym_from_vector, sym_logm, sym_to_vector

TRUNCATE = 4.0
SIGMAS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0)


def _gaussian(volume: Float[Tensor, "c x y z"], sigma: float) -> Float[Tensor, "c x y z"]:
    """Separable Gaussian (sigma in voxels, cut off at 4 sigma), zero outside the volume."""
    radius = math.ceil(TRUNCATE * sigma - 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=volume.dtype, device=volume.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    out = volume[:, None]
    for axis in range(3):
        size, padding = [1, 1, 1], [0, 0, 0]
        size[axis], padding[axis] = len(kernel), radius
        out = conv3d(out, kernel.reshape(1, 1, *size), padding=padding)
    return out[:, 0]


def _masked_mean(
    field: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"], sigma: float
) -> Float[Tensor, "n 3 3"]:
    """Gaussian mean over neighbours in the mask, at each of the n voxels of the mask."""
    inside = mask.to(field.dtype)
    channels = torch.where(mask[..., None], sym_to_vector(field), 0.0).movedim(-1, 0)
    smooth = _gaussian(torch.cat([channels, inside[None]]), sigma)[:, mask]
    return sym_from_vector((smooth[:6] / smooth[6]).T)


def euclidean_gaussian(
    tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"], sigma: float
) -> Float[Tensor, "x y z 3 3"]:
    """Gaussian mean of the components over neighbours in the mask; sigma in voxels, 0 changes nothing.

    A mean of anisotropic tensors of different directions is rounder and larger than they are (swelling).
    Voxels outside the mask come back as they were.
    """
    if sigma == 0:
        return tensors
    out = tensors.clone()
    out[mask] = _masked_mean(tensors, mask, sigma)
    return out


def log_euclidean_gaussian(
    tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"], sigma: float
) -> Float[Tensor, "x y z 3 3"]:
    """Gaussian mean of the matrix logarithms (Arsigny et al. 2006); tensors must be SPD in the mask.

    The determinant of the result is the geometric mean of the neighbours', so nothing swells. Arguments and
    voxels outside the mask as in :func:`euclidean_gaussian`.
    """
    if sigma == 0:
        return tensors
    out = tensors.clone()
    logs = torch.zeros_like(tensors)
    logs[mask] = sym_logm(tensors[mask])
    out[mask] = sym_expm(_masked_mean(logs, mask, sigma))
    return out


def tune(
    method: Callable[[Tensor, Tensor, float], Tensor],
    volumes: Sequence[tuple[Tensor, Tensor, Tensor]],
    sigmas: Sequence[float] = SIGMAS,
) -> float:
    """The sigma with the smallest mean squared affine-invariant distance to the truth.

    ``volumes`` holds (noisy, true, mask) with tensors in um^2/ms; the mean is over volumes of their means
    over voxels.
    """

    def loss(sigma: float) -> float:
        means = [
            distance_to_truth(method(noisy, mask, sigma)[mask], true[mask]).mean() for noisy, true, mask in volumes
        ]
        return float(torch.stack(means).mean())

    return min(sigmas, key=loss)
