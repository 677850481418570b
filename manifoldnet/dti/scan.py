"""From a diffusion-weighted scan to tensors: which voxels hold tissue, and the fit by dipy slice by slice."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from scipy.ndimage import convolve1d
from scipy.special import gammaincinv

from manifoldnet.dti.fit import floored, residual_sigma, wls
from manifoldnet.dti.gradients import B0_THRESHOLD, is_b0, tensor_model_holds
from manifoldnet.errors import InputError

DARK_RIM = 0.25
FITS = ("wls", "restore")
SAMPLE = 20_000  # voxels that the noise level is measured in
UNKNOWNS = 7  # of a fit: six components and the signal without weighting


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


def box_round(mask: Bool[np.ndarray, "x y z"], rim: int) -> tuple[slice, ...]:
    """Where the voxels of a mask and ``rim`` voxels round them are, as far as the image has them."""
    return tuple(slice(max(0, int(i.min()) - rim), int(i.max()) + 1 + rim) for i in np.nonzero(mask))


def block_means(
    signal: Shaped[np.ndarray, "x y z n"], mask: Bool[np.ndarray, "x y z"], block: int
) -> tuple[Float[np.ndarray, "X Y Z n"], Bool[np.ndarray, "X Y Z"]]:
    """Means over ``block``^3 voxels, as of a scan with larger voxels, and which blocks are inside the mask as a whole.

    What is left over at the upper ends is dropped.

    Raises:
        InputError: if ``block`` is below 1 or above the smallest side.
    """
    if not 1 <= block <= min(mask.shape):
        raise InputError(f"block: wanted 1 to {min(mask.shape)}, the smallest side, got {block}")
    x, y, z = (side // block for side in mask.shape)

    def blocks(volume: np.ndarray) -> np.ndarray:
        trimmed = volume[: x * block, : y * block, : z * block]
        return trimmed.reshape(x, block, y, block, z, block, *volume.shape[3:])

    whole = np.asarray(blocks(mask).all((1, 3, 5)))
    return blocks(signal).mean((1, 3, 5), dtype=np.float32), whole


def blurred(
    signal: Float[np.ndarray, "x y z n"], mask: Bool[np.ndarray, "x y z"], weight: float
) -> Float[np.ndarray, "x y z n"]:
    """Means of the voxels of the mask and, with a weight, their two neighbours in it along y; 0 outside.

    So noise is correlated as interpolation leaves it.
    """
    kernel = np.array([weight, 1, weight]) / (1 + 2 * weight)
    inside = mask.astype(signal.dtype)
    total = convolve1d(signal * inside[..., None], kernel, axis=1, mode="constant")
    share = convolve1d(inside, kernel, axis=1, mode="constant").clip(min=float(kernel[1]))
    return total / share[..., None] * inside[..., None]


def fit_scan(
    signal: Shaped[np.ndarray, "x y z n"],
    bvals: Float[np.ndarray, "n"],
    bvecs: Float[np.ndarray, "n 3"],
    mask: Bool[np.ndarray, "x y z"],
    method: str = "wls",
) -> ScanFit:
    """Tensors in the mask fitted by dipy's ``TensorModel`` to the volumes with b <= 1500 s/mm^2.

    Signals below 1, or below 1 % of the median b0 where that is smaller (a scan scaled to b0 = 1), are
    raised to it. Eigenvalues are raised to 1e-2 * max(largest eigenvalue, 1 / largest b), at b = 1000
    s/mm^2 never below 1e-5 mm^2/s, so that every tensor is SPD; dipy's own floor of 1e-9 would make every
    logarithm an outlier.

    Args:
        method: "wls", weighted least squares, or "restore" (Chang, Jones and Pierpaoli 2005), which fits each voxel
            again without the volumes that lie more than three noise levels off: for scans with motion or spikes, of
            many more volumes than the seven that a fit needs. It takes about a millisecond a voxel.

    Raises:
        InputError: another method, or "restore" where no volume is left over to tell the noise by.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    if method not in FITS:
        raise InputError(f"fit: wanted one of {', '.join(FITS)}, got {method!r}")
    used = tensor_model_holds(bvals)
    b, v = bvals[used], bvecs[used]
    how: dict[str, Any] = {"fit_method": "WLS"}
    if method == "restore":
        how = {"fit_method": "RESTORE", "sigma": noise_level(signal, bvals, bvecs, mask)}
    min_signal = min(1.0, 1e-2 * float(np.median(mean_signal(signal, is_b0(bvals))[mask])))
    model = TensorModel(gradient_table(b, bvecs=v, b0_threshold=B0_THRESHOLD), min_signal=min_signal, **how)
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


def noise_level(
    signal: Shaped[np.ndarray, "x y z n"],
    bvals: Float[np.ndarray, "n"],
    bvecs: Float[np.ndarray, "n 3"],
    mask: Bool[np.ndarray, "x y z"],
) -> float:
    """Standard deviation of the noise, in the unit of the signal, by the residuals of fits to the voxels of a mask.

    The median of the voxels' variances, divided by that of the chi-square law which they have where nothing but noise
    is left of the signal; so a minority of voxels with corrupted volumes hardly counts. Up to 20000 voxels, spread
    over the mask.

    Raises:
        InputError: no more than the seven volumes with b <= 1500 s/mm^2 that a fit uses up.
    """
    used = tensor_model_holds(bvals)
    freedom = int(used.sum()) - UNKNOWNS
    if freedom < 1:
        raise InputError(f"bvals: the noise level needs more than {UNKNOWNS} volumes to fit, got {used.sum()}")
    voxels = np.argwhere(mask)
    chosen = voxels[:: -(-len(voxels) // SAMPLE)]
    measured = torch.from_numpy(signal[tuple(chosen.T)][:, used].astype(np.float64))
    b, v = (torch.from_numpy(np.asarray(g[used], np.float64)) for g in (bvals, bvecs))
    level = residual_sigma(measured, b, v, wls(measured, b, v)) * measured[:, b <= B0_THRESHOLD].mean(-1)
    chi_square = 2 * gammaincinv(freedom / 2, 0.5)  # its median
    return float(level.median()) * float(np.sqrt(freedom / chi_square))
