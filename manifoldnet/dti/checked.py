"""Tensors of a file: symmetric positive definite, repaired, or refused in one line."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from manifoldnet.dti.fit import FLOOR, floored
from manifoldnet.errors import InputError

SPD_RATIO = 1e-6
SYMMETRY = 1e-4


def is_spd(tensors: Float[np.ndarray, "n 3 3"]) -> Bool[np.ndarray, "n"]:
    """Which matrices are finite with a smallest eigenvalue above 1e-6 of the largest, as float32 resolves."""
    finite = np.isfinite(tensors).all((-1, -2))
    values = np.linalg.eigvalsh(np.where(finite[:, None, None], tensors, 0).astype(np.float64))
    return finite & (values[:, 0] > SPD_RATIO * values[:, 2])


def checked(
    path: Path, tensors: Float[np.ndarray, "x y z 3 3"], used: Bool[np.ndarray, "x y z"], repair: bool
) -> tuple[Float[np.ndarray, "x y z 3 3"], Bool[np.ndarray, "x y z"], int]:
    """SPD tensors with NaN elsewhere, their mask, and how many of them were repaired.

    Raises:
        InputError: no voxel is used, a matrix is not symmetric to 1e-4 of its largest entry, or one in the mask is not
            SPD and ``repair`` is off or leaves none.
    """
    if not used.any():
        raise InputError(f"{path}: no voxel with data, every voxel is zero or NaN")
    tensors = _symmetric(path, tensors)
    used, raised = _positive(path, tensors, used, repair)
    tensors[~used] = np.nan
    return tensors, used, raised


def present(tensors: Float[np.ndarray, "x y z 3 3"]) -> Bool[np.ndarray, "x y z"]:
    """Voxels which are neither NaN nor all zero."""
    return ~np.isnan(tensors).any((-1, -2)) & (tensors != 0).any((-1, -2))


def first(where: Bool[np.ndarray, "x y z"]) -> tuple[int, ...]:
    """Index of the first voxel."""
    return tuple(int(i) for i in np.argwhere(where)[0])


def _symmetric(path: Path, tensors: np.ndarray) -> np.ndarray:
    """The symmetric parts, if the matrices are symmetric to 1e-4 of their largest entry."""
    with np.errstate(invalid="ignore"):  # infinity is reported as not SPD later
        asymmetry = np.abs(tensors - tensors.swapaxes(-1, -2))
        wrong = (asymmetry > SYMMETRY * np.abs(tensors).max((-1, -2), keepdims=True)).any((-1, -2))
        symmetric = 0.5 * (tensors + tensors.swapaxes(-1, -2))
    if wrong.any():
        raise InputError(f"{path}: {wrong.sum()} matrices are not symmetric, the first at voxel {first(wrong)}")
    return symmetric


def _positive(path: Path, tensors: np.ndarray, used: np.ndarray, repair: bool) -> tuple[np.ndarray, int]:
    """Repair tensors in place or refuse; the mask without hopeless voxels, and how many were repaired."""
    bad = np.zeros_like(used)
    bad[used] = ~is_spd(tensors[used])
    if not bad.any():
        return used, 0
    if not repair:
        raise InputError(
            f"{path}: {bad.sum()} of {used.sum()} tensors in the mask are not symmetric positive definite,"
            f" the first at voxel {first(bad)}; --repair (repair=True) raises their small eigenvalues to"
            f" {FLOOR} of the largest"
        )
    finite = np.isfinite(tensors[bad]).all((-1, -2))
    candidates = torch.from_numpy(np.where(finite[:, None, None], tensors[bad], 0).astype(np.float64))
    tensors[bad] = floored(candidates, smallest=0.0).numpy()
    repaired = np.zeros_like(used)
    repaired[bad] = is_spd(tensors[bad])
    used = used & (repaired | ~bad)
    if not used.any():
        raise InputError(f"{path}: no tensor in the mask has a positive eigenvalue")
    return used, int(repaired.sum())
