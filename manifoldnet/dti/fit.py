"""Least-squares fit of the diffusion tensor to diffusion-weighted signals, batched over voxels.

The model is log S = log S0 - b g'Dg (Basser, Mattiello and Le Bihan 1994). Units follow the b-values:
s/mm^2 give tensors in mm^2/s, ms/um^2 give um^2/ms.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FLOOR = 1e-2
CHUNK = 65536
SMALLEST_SIGNAL = 1e-3


def design_matrix(bvals: Float[Tensor, "n"], bvecs: Float[Tensor, "n 3"]) -> Float[Tensor, "n 7"]:
    """Rows X with log S = X (Dxx, Dxy, Dyy, Dxz, Dyz, Dzz, log S0)."""
    x, y, z = bvecs.unbind(-1)
    quadratic = torch.stack([x * x, 2 * x * y, y * y, 2 * x * z, 2 * y * z, z * z], -1)
    return torch.cat([-bvals[:, None] * quadratic, torch.ones_like(bvals)[:, None]], -1)


def from_lower(lower: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Symmetric matrices from (xx, xy, yy, xz, yz, zz)."""
    return lower[..., [[0, 1, 3], [1, 2, 4], [3, 4, 5]]]


def to_lower(tensors: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """(xx, xy, yy, xz, yz, zz) of symmetric matrices."""
    return tensors[..., [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]


def floored(tensors: Float[Tensor, "*batch 3 3"], smallest: float) -> Float[Tensor, "*batch 3 3"]:
    """Symmetric tensors with eigenvalues raised to at least FLOOR * max(largest eigenvalue, ``smallest``).

    A least-squares fit of noisy signals may have eigenvalues <= 0; for ``smallest`` > 0 the result is always
    SPD. Tensors whose eigenvalues already lie above the floor are returned bit for bit.
    """
    values, vectors = torch.linalg.eigh(tensors)
    floor = FLOOR * values[..., -1:].clamp(min=smallest)
    rebuilt = (vectors * torch.maximum(values, floor)[..., None, :]) @ vectors.mT
    return torch.where((values[..., :1] < floor)[..., None], 0.5 * (rebuilt + rebuilt.mT), tensors)


def _log_signal(dwi: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    smallest = SMALLEST_SIGNAL * dwi.amax(-1, keepdim=True)
    return torch.maximum(dwi, smallest.clamp(min=torch.finfo(dwi.dtype).tiny)).log()


def wls(
    dwi: Float[Tensor, "*batch n"],
    bvals: Float[Tensor, "n"],
    bvecs: Float[Tensor, "n 3"],
) -> Float[Tensor, "*batch 3 3"]:
    """Two-pass weighted least-squares tensors (Chung, Lu and Henry 2006), always SPD.

    The first pass is ordinary least squares on log S; its predicted signals, squared, weight the second.
    Signals below 1e-3 of the largest in their voxel are raised to that. Eigenvalues are floored at FLOOR *
    max(largest eigenvalue, 1 / largest b): at b = 1000 s/mm^2 none is below 1e-5 mm^2/s = .01 um^2/ms.
    Solved in float64, returned in dwi's dtype; the unit is 1 / unit of ``bvals``.
    """
    scale = bvals.max().item()
    X = design_matrix((bvals / scale).double(), bvecs.double())
    pairs = (X[:, :, None] * X[:, None, :]).flatten(1)
    pinv = torch.linalg.pinv(X)

    def solve(signal: Tensor) -> Tensor:
        log_signal = _log_signal(signal.double())
        first = log_signal @ pinv.mT @ X.mT
        # a common factor of the weights cancels; without this a bright scanner's would overflow
        weights = torch.exp(2 * (first - first.amax(-1, keepdim=True)))
        normal = (weights @ pairs).unflatten(-1, (7, 7))
        return torch.linalg.solve(normal, (weights * log_signal) @ X)[..., :6]

    flat = dwi.reshape(-1, dwi.shape[-1])
    lower = torch.cat([solve(part) for part in flat.split(CHUNK)]) if len(flat) else flat.new_zeros(0, 6)
    tensors = floored(from_lower(lower), smallest=1.0) / scale
    return tensors.to(dwi.dtype).reshape(*dwi.shape[:-1], 3, 3)


def residual_sigma(
    dwi: Float[Tensor, "*batch n"],
    bvals: Float[Tensor, "n"],
    bvecs: Float[Tensor, "n 3"],
    tensors: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch"]:
    """Standard deviation of the signal about its tensor fit divided by S0, the noise level 1 / SNR.

    The fit's residuals of log S, times the predicted signal, have nearly the variance of the noise; seven
    fitted parameters leave n - 7 degrees of freedom. 0 for n = 7, where nothing is left over.
    """
    log_attenuation = to_lower(tensors) @ design_matrix(bvals, bvecs)[:, :6].T
    log_s0 = _log_signal(dwi) - log_attenuation
    weights = torch.exp(2 * log_attenuation)
    mean = (weights * log_s0).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)
    freedom = max(dwi.shape[-1] - 7, 1)
    return ((weights * (log_s0 - mean).square()).sum(-1) / freedom).sqrt()
