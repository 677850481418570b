"""How long the phasors of an interferogram are beside their neighbours, and how far they agree with them."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

NEIGHBOURHOOD = 9
WINDOW = 5


def mean_around(x: Float[Tensor, "b h w"], size: int) -> Float[Tensor, "b h w"]:
    """Mean over a square of ``size`` by ``size`` pixels, odd, with zeros outside the image."""
    rows = avg_pool2d(x[:, None], (size, 1), 1, (size // 2, 0))
    return avg_pool2d(rows, (1, size), 1, (0, size // 2))[:, 0]


def relative_modulus(modulus: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Moduli over their mean in a square of 9 by 9 pixels, of those with data; 1 where there are none (modulus 0)."""
    there = modulus > 0
    share = mean_around(there.to(modulus.dtype), NEIGHBOURHOOD).clamp_min(1e-6)
    mean = mean_around(modulus, NEIGHBOURHOOD) / share
    return torch.where(there, modulus / mean.clamp_min(torch.finfo(modulus.dtype).tiny), 1.0)


def coherence_around(z: Complex[Tensor, "b h w"], power: Float[Tensor, "b h w"], size: int) -> Float[Tensor, "b h w"]:
    """|sum z| / sum power in a square of ``size`` pixels, at most 1, as most processors estimate coherence.

    ``power`` is the geometric mean of the two images' powers; |z| where only the interferogram is known, which for a
    single look is the same. Fringes lower the estimate, and it is above the truth where the square is small.
    """
    total = torch.complex(mean_around(z.real, size), mean_around(z.imag, size)).abs()
    return (total / mean_around(power, size).clamp_min(1e-6)).clamp(max=1)


def coherence_of_phasors(phasor: Complex[Tensor, "b h w"], modulus: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """What takes the place of a coherence that is not known: :func:`coherence_around` of 5 by 5 weighted phasors."""
    weighted = phasor * modulus
    return coherence_around(weighted, weighted.abs(), WINDOW)
