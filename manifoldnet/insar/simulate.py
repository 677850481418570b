"""Random scenes with known phase, coherence and amplitude, a batch at a time, on any device."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar.coherence_maps import coherence_map, with_land_cover
from manifoldnet.insar.delays import delays
from manifoldnet.insar.draws import Draws
from manifoldnet.insar.fractal import fractal, quantile
from manifoldnet.insar.plateaus import plateaus
from manifoldnet.insar.sources import deformation

#: "mixed" is what errors are reported on; "training" has everything in it and more
DISTRIBUTIONS = ("mixed", "training")


class Scenes(NamedTuple):
    """A batch of scenes without noise.

    Attributes:
        phase: unwrapped, in radians.
        coherence: true coherence, in [0, 1].
        amplitude: of either image of the pair, positive, with unit mean square over each scene.
    """

    phase: Float32[Tensor, "count size size"]
    coherence: Float32[Tensor, "count size size"]
    amplitude: Float32[Tensor, "count size size"]


def scenes(count: int, size: int, *, generator: torch.Generator, distribution: str = "mixed") -> Scenes:
    """``count`` random scenes of ``size`` by ``size`` pixels, on the generator's device.

    The phase sums deformation (:func:`sources.deformation`) and nuisances (:func:`delays.delays`) and is scaled so
    that the 99th percentile of its gradient is .6 to 1.8 rad a pixel: fringes that can be sampled. The amplitude
    is a lognormal fractal texture that follows the coherence more or less. Nothing is read back from the device.

    Args:
        count: number of scenes, at least 1.
        size: side in pixels, at least 8.
        generator: the only source of chance.
        distribution: "mixed", or "training", which adds circular cracks, twisted ramps, vegetation and water, and
            in which the phase of three scenes of ten is piecewise constant (:func:`plateaus.plateaus`).

    Raises:
        InputError: if an argument is out of range.
    """
    if count < 1:
        raise InputError(f"count: {count}; wanted at least 1 scene")
    if size < 8:
        raise InputError(f"size: {size}; wanted at least 8 pixels")
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"distribution: {distribution!r}; wanted one of {', '.join(DISTRIBUTIONS)}")
    draw, everything = Draws(count, generator), distribution == "training"
    terrain = fractal(size, draw.uniform(3.2, 4.2), draw)
    phase = deformation(size, draw, cracks=everything) + delays(terrain, draw, bilinear=everything)
    phase = _sampled(phase, draw)
    coherence = coherence_map(size, draw)
    if everything:
        phase = torch.where(draw.chance(0.3, 1, 1), plateaus(size, draw), phase)
        coherence = with_land_cover(coherence, terrain, draw)
    phase = phase + draw.uniform(-math.pi, math.pi, 1, 1)
    return Scenes(phase, coherence, _amplitude(coherence, draw))


def _sampled(phase: Tensor, draw: Draws) -> Tensor:
    """The phase times the number that makes the 99th percentile of its gradient .6 to 1.8 rad a pixel."""
    down, right = torch.gradient(phase, dim=(-2, -1))
    steep = quantile(torch.hypot(down, right), torch.full((draw.count, 1, 1), 0.99, device=phase.device))
    return phase * (draw.uniform(0.6, 1.8, 1, 1) / steep)


def _amplitude(coherence: Tensor, draw: Draws) -> Tensor:
    texture = draw.uniform(0.1, 0.5, 1, 1) * fractal(coherence.shape[-1], draw.uniform(2, 3), draw)
    amplitude = torch.exp(texture + draw.uniform(0, 2, 1, 1) * coherence)  # water is dark, towns are bright
    return amplitude / amplitude.square().mean((-2, -1), keepdim=True).sqrt()
