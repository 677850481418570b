"""Classical filters of tensor fields: what a denoiser that sees only tensors has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import conv3d, pad

from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.linalg import affine_exp, affine_log, sym_expm, sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.manifolds import SPD
from manifoldnet.manifolds.total_variation import tv_denoise

TRUNCATE = 4.0
BALL = 2.0  # voxels, the reach of the affine-invariant Gaussian
MEAN_STEPS = 3  # of the fixed point of the mean, which starts at the log-Euclidean one
TV_ITERATIONS = {"log-euclidean": 50, "affine-invariant": 20}
CHUNK = 1 << 13
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


def affine_invariant_gaussian(
    tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"], sigma: float | int
) -> Float[Tensor, "x y z 3 3"]:
    """Frechet mean of the affine-invariant metric over neighbours in the mask within 2 voxels, Gaussian weights.

    Pennec, Fillard & Ayache (2006), "A Riemannian framework for tensor computing": x <- exp_x(sum_i w_i log_x(y_i)),
    three times from the log-Euclidean mean, which leaves errors far below the noise. Arguments and voxels outside the
    mask as in :func:`euclidean_gaussian`; tensors must be SPD in the mask.
    """
    if sigma == 0:
        return tensors
    reach = range(-int(BALL), int(BALL) + 1)
    offsets = torch.tensor([o for o in product(reach, repeat=3) if sum(k * k for k in o) <= BALL**2])
    weights = torch.exp(-0.5 * offsets.square().sum(1) / sigma**2).to(tensors)
    padded = pad(_numbered(mask), (int(BALL),) * 6, value=-1)
    places = torch.nonzero(mask) + int(BALL)
    points = tensors[mask]
    logs = sym_logm(points)
    means = []
    for part in places.split(CHUNK):
        index = padded[tuple((part[:, None] + offsets).unbind(-1))]
        share = torch.where(index < 0, 0.0, weights)
        share = (share / share.sum(1, keepdim=True))[..., None, None]
        index = index.clamp_min(0)
        neighbours = points[index]
        mean = sym_expm((share * logs[index]).sum(1))
        for _ in range(MEAN_STEPS):
            mean = affine_exp(mean, (share * affine_log(mean[:, None], neighbours)).sum(1))
        means.append(mean)
    out = tensors.clone()
    out[mask] = torch.cat(means)
    return out


def _numbered(mask: Bool[Tensor, "x y z"]) -> Int[Tensor, "x y z"]:
    """The running number of every voxel of the mask, -1 outside."""
    return torch.where(mask, mask.flatten().cumsum(0).reshape(mask.shape) - 1, -1)


def tv(
    tensors: Float[Tensor, "x y z 3 3"],
    mask: Bool[Tensor, "x y z"],
    alpha: float | int,
    beta: float | int = 0.0,
    metric: str = "log-euclidean",
) -> Float[Tensor, "x y z 3 3"]:
    """Total variation of first and second order, see :func:`manifoldnet.manifolds.total_variation.tv_denoise`.

    Args:
        tensors: SPD in the mask; voxels outside come back as they were.
        mask: voxels with tensors.
        alpha: weight of first differences, in units of the distance.
        beta: of second differences.
        metric: "log-euclidean" or "affine-invariant".
    """
    iterations = TV_ITERATIONS[metric]
    return tv_denoise(SPD(metric=metric), tensors, alpha, beta, mask=mask, ndim=3, iterations=iterations)


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
