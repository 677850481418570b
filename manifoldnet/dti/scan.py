"""From a diffusion-weighted scan to tensors: which voxels hold tissue, and the fit by dipy slice by slice."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped

from manifoldnet.dti.fit import floored
from manifoldnet.dti.gradients import B0_THRESHOLD, is_b0, tensor_model_holds

DARK_RIM = 0.25


@dataclass(frozen=True)
class ScanFit:
    """A fitted scan.

    Attributes:
        tensors: mm^2/s for b-values in s/mm^2, NaN outside the mask.
        floored: how many voxels had an eigenvalue raised.
    """

    tensors: Float[np.ndarray, "x y z 3 3"]
    floored: int


def mean_signal(signal: Shaped[np.ndarray, "x y z n"], volumes: Bool[np.ndarray, "n"]) -> np.ndarray:
    """Mean (x, y, z) float32 over the chosen volumes, added up one by one: the selection is never copied."""
    total = np.zeros(signal.shape[:3], np.float32)
    for volume in np.flatnonzero(volumes):
        total += signal[..., volume]
    return total / np.float32(volumes.sum())


def has_signal(signal: Shaped[np.ndarray, "x y z n"], bvals: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "x y z"]:
    """Voxels with a positive mean b0 and no value that is infinite or NaN."""
    finite = np.isfinite(mean_signal(signal, np.ones_like(bvals, bool)))
    return finite & (mean_signal(signal, is_b0(bvals)) > 0)


def foreground(signal: Shaped[np.ndarray, "x y z n"], bvals: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "x y z"]:
    """Voxels to fit where no mask is given.

    dipy's ``median_otsu`` (radius 2, one pass) of the mean b0, which drops air, skull and a background that
    was set to zero. Where the scan has no dark rim (the median diffusion-weighted signal on its four side
    faces is above a quarter of that inside) it is a crop out of the head; Otsu's threshold would then part
    fluid from tissue, and every voxel with a b0 signal is taken.
    """
    from dipy.segment.mask import median_otsu

    b0 = np.nan_to_num(mean_signal(signal, is_b0(bvals)))
    weighted = mean_signal(signal, tensor_model_holds(bvals) & ~is_b0(bvals))
    present = has_signal(signal, bvals)
    if not present.any():
        return present
    head = median_otsu(b0, median_radius=2, numpass=1)[1] & present
    sides = np.concatenate([weighted[[0, -1]].ravel(), weighted[:, [0, -1]].ravel()])
    if not head.any() or np.nanmedian(sides) > DARK_RIM * np.median(weighted[head]):
        return present
    return head


def fit_scan(
    signal: Shaped[np.ndarray, "x y z n"],
    bvals: Float[np.ndarray, "n"],
    bvecs: Float[np.ndarray, "n 3"],
    mask: Bool[np.ndarray, "x y z"],
) -> ScanFit:
    """Weighted least-squares tensors (dipy's ``TensorModel``) in the mask from the volumes with b <= 1500
    s/mm^2.

    Signals below 1, or below 1 % of the median b0 where that is smaller (a scan scaled to b0 = 1), are
    raised to it. Eigenvalues are raised to 1e-2 * max(largest eigenvalue, 1 / largest b), at b = 1000
    s/mm^2 never below 1e-5 mm^2/s, so that every tensor is SPD; dipy's own floor of 1e-9 would make every
    logarithm an outlier.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    used = tensor_model_holds(bvals)
    b, v = bvals[used], bvecs[used]
    min_signal = min(1.0, 1e-2 * float(np.median(mean_signal(signal, is_b0(bvals))[mask])))
    model = TensorModel(gradient_table(b, bvecs=v, b0_threshold=B0_THRESHOLD), fit_method="WLS", min_signal=min_signal)
    tensors = np.full((*mask.shape, 3, 3), np.nan, np.float32)
    raised = 0
    for z in np.flatnonzero(mask.any((0, 1))):
        inside = mask[:, :, z]
        voxels = signal[:, :, z][inside][:, used].astype(np.float64)
        raw = torch.from_numpy(model.fit(voxels).quadratic_form)
        slab = floored(raw, smallest=1 / b.max())
        raised += int((slab != raw).any(-1).any(-1).sum())
        tensors[:, :, z][inside] = slab.numpy()
    return ScanFit(tensors, raised)
