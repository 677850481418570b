"""The spectral filter of Goldstein and Werner, and Baran's, whose strength follows the coherence."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines.patches import Area, Patches, smooth_spectrum


def goldstein(
    z: Complex[Tensor, "*batch h w"],
    alpha: float | int | Float[Tensor, "*batch h w"] = 0.5,
    patch: int = 32,
    step: int = 8,
) -> Complex[Tensor, "*batch h w"]:
    """Spectral filter: the spectrum of every patch is multiplied by a power of its own smoothed modulus.

    Goldstein & Werner (1998), "Radar interferogram filtering for geophysical applications". Patches of
    ``patch`` pixels start every ``step`` pixels and are blended under a triangular window. The modulus of a
    patch's spectrum, averaged over 3 by 3 frequencies and divided by its maximum, is raised to ``alpha``: 0
    changes nothing, 1 is the strongest filter of the paper, more is stronger still. An image of exponents is
    averaged over the pixels with data of every patch.
    """
    patches = Patches(z.shape, patch, step)
    exponents = torch.as_tensor(alpha, dtype=z.real.dtype, device=z.device)
    if not bool((exponents[torch.isfinite(exponents)] >= 0).all()):
        raise InputError(f"alpha: {exponents.min().item():g}; wanted 0 or more")
    if exponents.dim():
        known = torch.isfinite(exponents) & torch.isfinite(z)
        sums = patches.padded(torch.stack((torch.where(known, exponents, 0), known.to(exponents.dtype))))

    def gain(spectra: Tensor, area: Area) -> Tensor:
        size = smooth_spectrum(spectra.abs())
        peak = size.amax((-3, -1), keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
        if not exponents.dim():
            return (size / peak) ** exponents
        inside = sums[area].unflatten(-2, (-1, patch)).unflatten(-1, (-1, patch))
        total, count = inside.sum((-3, -1), keepdim=True)
        return (size / peak) ** (total / count.clamp_min(1))

    return patches.filtered(
        z, torch.ones(patch, dtype=exponents.dtype, device=z.device), _triangle(patch, step, z), gain
    )


def baran(
    z: Complex[Tensor, "*batch h w"], coherence: Float[Tensor, "*batch h w"], patch: int = 32, step: int = 8
) -> Complex[Tensor, "*batch h w"]:
    """:func:`goldstein` with the exponent 1 - (mean coherence of the patch), so that good patches are left alone.

    Baran, Stewart, Kampes, Perski & Lilly (2003), "A modification to the Goldstein radar interferogram filter".
    ``coherence`` lies in [0, 1]; where it is NaN it does not count.
    """
    return goldstein(z, 1 - coherence, patch, step)


def _triangle(patch: int, step: int, like: Tensor) -> Tensor:
    """A triangular window whose copies, ``step`` pixels apart, sum to one."""
    ramp = torch.arange(patch, dtype=like.real.dtype, device=like.device) + 0.5
    window = torch.minimum(ramp, patch - ramp)
    return window / window.reshape(-1, step).sum(0).repeat(patch // step)
