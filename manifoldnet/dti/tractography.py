"""Streamlines of tensor fields by dipy, to see what a filter does to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from manifoldnet.dti.maps import principal_direction
from manifoldnet.dti.metrics import fa

LEAST_FA = 0.2
SHARPEST = 60.0  # degrees a step
LONGEST = 500  # voxels


def streamlines(
    tensors: Float[np.ndarray, "x y z 3 3"],
    mask: Bool[np.ndarray, "x y z"],
    seeds: Float[np.ndarray, "n 3"],
    step: float = 0.5,
    least_fa: float = LEAST_FA,
) -> list[Float[np.ndarray, "_ 3"]]:
    """Deterministic streamlines (dipy's EuDX, Garyfallidis 2012), one for each seed, in voxel coordinates.

    They follow the axis of largest diffusivity both ways from the seed, and end where the fractional anisotropy falls
    below ``least_fa``, at a turn of more than 60 degrees, and at the mask's rim. A seed in such a place is a line of
    one point.

    Args:
        tensors: in any unit; what is outside the mask does not matter.
        mask: where to go.
        seeds: in voxels; (0, 0, 0) is the centre of the first.
        step: in voxels.
        least_fa: in [0, 1].
    """
    from dipy.data import default_sphere
    from dipy.direction.peaks import PeaksAndMetrics
    from dipy.tracking.stopping_criterion import ThresholdStoppingCriterion
    from dipy.tracking.tracker import eudx_tracking

    chosen = torch.from_numpy(tensors[mask].astype(np.float64))
    anisotropy = np.zeros(mask.shape)
    anisotropy[mask] = fa(chosen).numpy()
    nearest = np.zeros((*mask.shape, 1), np.int32)
    nearest[mask, 0] = np.abs(principal_direction(chosen).numpy() @ default_sphere.vertices.T).argmax(1)
    peaks = PeaksAndMetrics()
    peaks.sphere, peaks.peak_indices, peaks.peak_values = default_sphere, nearest, anisotropy[..., None]
    peaks.ang_thr, peaks.qa_thr = SHARPEST, least_fa
    found = eudx_tracking(
        seeds, ThresholdStoppingCriterion(anisotropy, least_fa), np.eye(4), pam=peaks, max_cross=1, min_len=0,
        max_len=LONGEST, step_size=step, max_angle=SHARPEST, pmf_threshold=least_fa, random_seed=1, save_seeds=True,
    )  # fmt: skip
    lines = {tuple(seed): line for line, seed in found}
    alone = seeds.astype(np.float64)
    return [np.asarray(lines.get(tuple(seed), seed[None]), np.float64) for seed in alone]


def length(line: Float[np.ndarray, "m 3"]) -> float:
    """In voxels."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def apart(a: Sequence[Float[np.ndarray, "_ 3"]], b: Sequence[Float[np.ndarray, "_ 3"]]) -> Float[np.ndarray, " n"]:
    """How far the two streamlines of each seed are from one another, in voxels.

    The mean over the points of either line of the distance to the nearest point of the other (mean of closest
    distances, Corouge et al. 2004).
    """
    out = []
    for one, other in zip(a, b, strict=True):
        gaps = np.linalg.norm(one[:, None] - other, axis=-1)
        out.append(0.5 * (gaps.min(0).mean() + gaps.min(1).mean()))
    return np.array(out)
