"""How far one field of diffusion tensors is from another."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.linalg import affine_squared_distance, sym_eigh

INPUT_RANGE = (0.05, 4.0)
OUTPUT_RANGE = (1e-3, 20.0)
ANISOTROPIC = 0.3


def md(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Mean diffusivity: the mean eigenvalue, in the unit of D."""
    return D.diagonal(dim1=-2, dim2=-1).mean(-1)


def fa(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Fractional anisotropy (Basser and Pierpaoli 1996): 0 for an isotropic tensor or zero, 1 for a line."""
    deviator = D - md(D)[..., None, None] * torch.eye(3, dtype=D.dtype, device=D.device)
    total = D.square().sum((-2, -1))
    ratio = deviator.square().sum((-2, -1)) / torch.where(total > 0, total, 1.0)
    return (1.5 * ratio).clamp(max=1.0).sqrt()


def principal_direction_error(
    D: Float[Tensor, "*batch 3 3"], reference: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angle in degrees, 0 to 90, between the axes of largest diffusivity (d and -d agree)."""
    a, b = (sym_eigh(x)[1][..., 2] for x in (D, reference))
    # the cosine alone would lose half the digits of a small angle
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1).abs()))


def squared_distance(D: Float[Tensor, "*batch 3 3"], reference: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Squared affine-invariant distance |log(R^-1/2 D R^-1/2)|^2 of SPD matrices (Pennec, Fillard and
    Ayache 2006).

    It does not change when both are scaled or mapped to A D A'. A factor s on every eigenvalue is 3 log(s)^2.
    """
    return affine_squared_distance(reference, D)


def bounded(D: Float[Tensor, "*batch 3 3"], low: float, high: float) -> Float[Tensor, "*batch 3 3"]:
    """Symmetric D with its eigenvalues clamped to [low, high]."""
    values, vectors = sym_eigh(D)
    return (vectors * values.clamp(low, high)[..., None, :]) @ vectors.mT


def distance_to_truth(
    estimate: Float[Tensor, "*batch 3 3"], true: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Squared affine-invariant distance in float64; tensors in um^2/ms, SPD or not.

    Eigenvalues of the truth are clamped to [.05, 4] um^2/ms and those of the estimate to [1e-3, 20],
    because single near-singular fits would decide a mean otherwise.
    """
    return squared_distance(bounded(estimate.double(), *OUTPUT_RANGE), bounded(true.double(), *INPUT_RANGE))


def delta_snr(
    noisy: Float[Tensor, "*batch 3 3"],
    estimate: Float[Tensor, "*batch 3 3"],
    true: Float[Tensor, "*batch 3 3"],
) -> float:
    """Gain 10 log10(sum d(noisy, true)^2 / sum d(estimate, true)^2) in dB; > 0 is an improvement.

    All in um^2/ms (1e3 times mm^2/s), one tensor a voxel of the mask; d as in :func:`distance_to_truth`,
    but the noisy tensors, an input, are clamped as the truth is.
    """
    before = distance_to_truth(bounded(noisy.double(), *INPUT_RANGE), true)
    return float(10 * torch.log10(before.sum() / distance_to_truth(estimate, true).sum()))


def scores(
    estimate: Float[Tensor, "*batch 3 3"],
    noisy: Float[Tensor, "*batch 3 3"],
    true: Float[Tensor, "*batch 3 3"],
) -> dict[str, float]:
    """The figures of a results table; tensors in um^2/ms, distances as in :func:`distance_to_truth`.

    d2 and d2_median: squared affine-invariant distance to the truth. delta_snr in dB. fa_error: mean
    |difference|,
    fa_bias: mean difference, both of fa in [0, 1]. md_error: mean |difference| in um^2/ms. direction_error:
    mean angle in degrees where the truth has fa > .3. not_spd: share of estimates with an eigenvalue <= 0.
    """
    distance = distance_to_truth(estimate, true)
    fa_difference = fa(estimate) - fa(true)
    single = fa(true) > ANISOTROPIC
    return {
        "d2": float(distance.mean()),
        "d2_median": float(distance.median()),
        "delta_snr": delta_snr(noisy, estimate, true),
        "fa_error": float(fa_difference.abs().mean()),
        "fa_bias": float(fa_difference.mean()),
        "md_error": float((md(estimate) - md(true)).abs().mean()),
        "direction_error": float(principal_direction_error(estimate[single], true[single]).mean()),
        "not_spd": float(_not_spd(estimate).double().mean()),
    }


def _not_spd(D: Tensor) -> Bool[Tensor, "..."]:
    return torch.linalg.eigvalsh(D)[..., 0] <= 0
