"""Distances between images of angles.

Images are tensors or arrays (..., H, W) of radians; they need not be wrapped. Pixels where ``mask`` is
False or where either image is NaN do not count; results over a batch are pooled over all its pixels.
"""

import math
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines import gaussian
from manifoldnet.linalg import wrap_angle

Image = Float[Tensor, "*batch h w"] | Float[np.ndarray, "*batch h w"]
Mask = Bool[Tensor, "*batch h w"] | Bool[np.ndarray, "*batch h w"]
_Real = TypeVar("_Real", Tensor, np.ndarray)

#: name -> (from, below) of the coherence bins in which errors are reported
COHERENCE_BINS = {"<.3": (-math.inf, 0.3), ".3-.6": (0.3, 0.6), ">.6": (0.6, math.inf)}


def wrap(x: _Real) -> _Real:
    """:func:`manifoldnet.linalg.wrap_angle` of a tensor or an array: the same angles in (-pi, pi]."""
    if isinstance(x, Tensor):
        return wrap_angle(x)
    return wrap_angle(torch.from_numpy(np.array(x, dtype=x.dtype.newbyteorder("=")))).numpy()


def wrapped_rmse(est: Image, true: Image, mask: Mask | None = None) -> float:
    """Root of the mean squared arc distance, in radians (0 to pi).

    Raises InputError when no pixel counts.
    """
    return math.sqrt(_squares(est, true, mask).mean())


def rmse_by_coherence(est: Image, true: Image, coherence: Image, mask: Mask | None = None) -> dict[str, float]:
    """:func:`wrapped_rmse` in every bin of :data:`COHERENCE_BINS`; NaN for a bin without pixels."""
    errors = wrap(_tensor(est) - _tensor(true)) ** 2
    counted = _counted(errors, mask)
    level = _tensor(coherence)
    bins = {name: errors[counted & (level >= low) & (level < high)] for name, (low, high) in COHERENCE_BINS.items()}
    return {name: math.sqrt(values.mean()) if values.numel() else math.nan for name, values in bins.items()}


def delta_snr(est: Image, noisy: Image, true: Image, mask: Mask | None = None) -> float:
    """Noise removed by an estimate, in decibel: 10 log10(sum d(noisy, true)^2 / sum d(est, true)^2)."""
    counted = _counted(_tensor(est) + _tensor(noisy), mask)  # the same pixels before and after
    before, after = (float(_squares(image, true, counted).sum()) for image in (noisy, est))
    return 10 * math.log10(before / after) if after > 0 else math.inf


def residues(phase: Image) -> int:
    """Number of 2 by 2 loops round which the wrapped differences do not sum to zero.

    Goldstein, Zebker & Werner (1988), "Satellite radar interferometry: two-dimensional phase unwrapping".
    Loops through NaN do not count.
    """
    angles = _tensor(phase)
    right, down = wrap(angles.diff(dim=-1)), wrap(angles.diff(dim=-2))
    loops = right[..., :-1, :] + down[..., :, 1:] - right[..., 1:, :] - down[..., :, :-1]
    return int((loops.abs() > math.pi).sum())


def ssim(est: Image, true: Image, mask: Mask | None = None) -> float:
    """Structural similarity of cosine and sine, the mean of both; at most 1.

    Wang, Bovik, Sheikh & Simoncelli (2004), "Image quality assessment", with its Gaussian window (sigma 1.5,
    11 by 11 pixels, only those with data) and constants for values in [-1, 1].
    """
    a, b = _tensor(est), _tensor(true)
    a = torch.stack((a.cos(), a.sin()))
    b = torch.stack((b.cos(), b.sin()))
    counted = _counted(a + b, mask)
    nothing = torch.where(counted, 0.0, math.nan)  # NaN takes a pixel out of every window
    x, y, xx, yy, xy = (gaussian(part + nothing, 1.5, truncate=3.5) for part in (a, b, a * a, b * b, a * b))
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    similarity = (2 * x * y + c1) / (x * x + y * y + c1)
    similarity = similarity * (2 * (xy - x * y) + c2) / ((xx - x * x) + (yy - y * y) + c2)
    return float(similarity[counted].mean())


def _tensor(x: Any) -> Tensor:
    return torch.as_tensor(x).detach()


def _squares(est: Any, true: Any, mask: Any) -> Tensor:
    errors = wrap(_tensor(est) - _tensor(true)) ** 2
    return errors[_counted(errors, mask)].double()


def _counted(values: Tensor, mask: Any) -> Tensor:
    counted = torch.isfinite(values)
    if mask is not None:
        counted = counted & torch.as_tensor(mask, device=values.device)
    if not counted.any():
        raise InputError("mask: no pixel with data is left; wanted at least one")
    return counted
