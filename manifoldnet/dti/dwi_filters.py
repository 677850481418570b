"""Non-local means and Patch2Self of the diffusion-weighted signals before the fit."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.dti.gradients import B0_THRESHOLD

BLOCK = 2  # voxels, within which non-local means look for similar patches


def nlmeans(
    signals: Float[Tensor, "x y z n"], mask: Bool[Tensor, "x y z"], sigma: Float[Tensor, "x y z"], strength: float | int
) -> Float[Tensor, "x y z n"]:
    """Non-local means of every volume (Coupe et al. 2008), by dipy's ``nlmeans`` in its voxel-wise variant.

    ``sigma`` is the noise level relative to the signal without weighting; its median over the mask times ``strength``
    is the filter's. The block-wise variant, dipy's default, loses 2 dB and more on the tuning slices at any strength.
    The Rician bias is left in, since that of the reference is.
    """
    from dipy.denoise.nlmeans import nlmeans as dipy_nlmeans

    level = float(strength * sigma[mask].median() * signals[mask].amax(-1).median())
    found = dipy_nlmeans(
        signals.numpy(), level, mask=mask.numpy(), block_radius=BLOCK, rician=False, num_threads=1, method="classic"
    )
    return torch.where(mask[..., None], torch.from_numpy(np.ascontiguousarray(found)), signals)


def patch2self(
    signals: Float[Tensor, "x y z n"], mask: Bool[Tensor, "x y z"], bvals: Float[Tensor, " n"]
) -> Float[Tensor, "x y z n"]:
    """Every weighted volume predicted from the other weighted ones by least squares over the mask.

    Fadnavis, Batson & Garyfallidis (2020), "Patch2Self", with patches of one voxel, as dipy recommends; volumes without
    weighting stay as they are. All the regressions come from one inverse covariance P of the volumes: the residual of
    volume k is (P (x - mean))_k / P_kk. Not by dipy 1.12: its version 1 predicts from inputs that its fit has
    overwritten, its version 3 draws random numbers from no seed.
    """
    weighted = bvals > B0_THRESHOLD
    x = signals[mask][:, weighted].double()
    centred = x - x.mean(0)
    precision = torch.linalg.pinv(centred.T @ centred, hermitian=True)
    out = signals.clone()
    filtered = signals[mask]
    filtered[:, weighted] = (x - centred @ precision / precision.diagonal()).to(signals.dtype)
    out[mask] = filtered
    return out
