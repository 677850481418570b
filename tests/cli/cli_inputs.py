"""Small inputs for the command line, and the register of the bad ones."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1.9, 0.3, -20], [0, -0.3, 2.1, 5], [0, 0, 0, 1]])


CASES: dict[str, Callable[[Path, dict[str, Path]], list[object]]] = {}


def case(function):
    """Register the builder of a case: (folder, weights) -> arguments, with input files made in the folder."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def recording(seed: int, n: int = 120) -> np.ndarray:
    """(n, 6) smooth turning in rad/s and about 1 g of acceleration."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, n)[:, None]
    turning = sum(rng.normal(0, 1, 3) * np.sin(2 * np.pi * k * t + rng.uniform(0, 6, 3)) for k in range(1, 4))
    return np.concatenate([turning, [0, 0, 1] + 0.1 * turning], 1)


def spd_field(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """SPD tensors (*shape, 3, 3) in mm^2/s, float32."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((*shape, 3, 3)))
    tensors = (q * rng.uniform(2e-4, 2e-3, (*shape, 1, 3))) @ q.swapaxes(-1, -2)
    return (0.5 * (tensors + tensors.swapaxes(-1, -2))).astype(np.float32)


def six(tensors: np.ndarray) -> np.ndarray:
    """The components xx, xy, xz, yy, yz, zz, FSL's order."""
    return np.stack([tensors[..., i, j] for i, j in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]], -1)


def nifti(path: Path, data: np.ndarray, intent: int = 0) -> Path:
    """Save ``data`` as NIfTI."""
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_intent(intent, (3,) if intent else ())
    nib.save(image, path)
    return path
