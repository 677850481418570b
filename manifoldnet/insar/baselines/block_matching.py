"""BM3D on real and imaginary part, through the package ``bm3d``."""

import math
from importlib.util import find_spec

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from manifoldnet.errors import InputError


def bm3d(z: Complex[Tensor, "*batch h w"], sigma: float | int = 0.7) -> Complex[Tensor, "*batch h w"]:
    """Collaborative filter of blocks that look alike; real and imaginary part one after the other, on the CPU.

    Dabov, Foi, Katkovnik & Egiazarian (2007), "Image denoising by sparse 3-D transform-domain collaborative
    filtering", in the authors' implementation (Mäkinen, Azzari & Foi 2020). NaN is taken for 0 and stays.

    Args:
        z: complex images.
        sigma: standard deviation of the noise of either part, in the units of z, positive.

    Raises:
        InputError: if ``sigma`` is not positive, or the package is not installed.
    """
    if not sigma > 0:
        raise InputError(f"sigma: {sigma}; wanted a positive number")
    if find_spec("bm3d") is None:
        raise InputError("bm3d: the package is not installed; wanted what `pip install 'manifoldnet[bm3d]'` brings")
    from bm3d import bm3d as filtered

    valid = torch.isfinite(z)
    parts = torch.view_as_real(torch.where(valid, z, 0)).movedim(-1, 0)
    images = parts.reshape(-1, *z.shape[-2:]).double().cpu().numpy()
    done = np.stack([filtered(image, sigma) for image in images]) if len(images) else images
    real, imaginary = torch.from_numpy(done).to(z.real).reshape(parts.shape)
    return torch.where(valid, torch.complex(real, imaginary), math.nan)
