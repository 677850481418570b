"""What an interferogram shows besides deformation: topographic residual, atmospheric delay, orbital ramp."""

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.insar.draws import Draws
from manifoldnet.insar.fractal import fractal
from manifoldnet.insar.grid import unit_square

KOLMOGOROV = 11 / 3


def delays(
    terrain: Float32[Tensor, "count size size"], draw: Draws, *, bilinear: bool
) -> Float32[Tensor, "count size size"]:
    """Sum of the nuisance terms over a ``terrain`` of unit variance, in radians.

    A topographic residual (power spectrum k^-3.2 to k^-4.2), a stratified delay that follows the terrain, a
    turbulent delay (k^-11/3; Hanssen, 2001, "Radar Interferometry") and an orbital ramp, a plane; where
    ``bilinear``, in one scene of five a plane with a twist.
    """
    size = terrain.shape[-1]
    residual = draw.uniform(0.2, 2, 1, 1) * fractal(size, draw.uniform(3.2, 4.2), draw)
    # the delay falls off exponentially with height, which bends the proportionality
    stratified = draw.uniform(-4, 4, 1, 1) * torch.expm1(-0.4 * terrain) / 0.4
    exponent = torch.full((draw.count,), KOLMOGOROV, device=terrain.device)
    turbulent = draw.uniform(0.3, 3, 1, 1) * fractal(size, exponent, draw)
    u, v = unit_square(size, terrain.device)
    ramp = 6 * (draw.normal(1, 1) * u + draw.normal(1, 1) * v)
    if bilinear:
        ramp = ramp + 6 * draw.normal(1, 1) * draw.chance(0.2, 1, 1) * u * v
    return residual + stratified + turbulent + ramp
