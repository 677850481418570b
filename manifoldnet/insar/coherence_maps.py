"""Random maps of coherence: a fractal background with sharp patches in which it is low."""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.insar.draws import Draws
from manifoldnet.insar.fractal import fractal, quantile
from manifoldnet.insar.grid import turned, unit_square

_RECTANGLES = 3
_WAVES = 5


def coherence_map(size: int, draw: Draws) -> Float32[Tensor, "count size size"]:
    """A background of .45 to .85 with blobs, up to three rectangles and a river of 0 to .4 each."""
    background = fractal(size, draw.uniform(2, 3.5), draw)
    coherence = 0.65 + 0.2 * torch.tanh(background - draw.uniform(0, 0.8, 1, 1))
    blobs = fractal(size, draw.uniform(2.8, 4), draw)
    blobs = (blobs > quantile(blobs, draw.uniform(0.82, 0.97, 1, 1))) & draw.chance(0.7, 1, 1)
    coherence = torch.where(blobs, draw.uniform(0, 0.4, 1, 1), coherence)
    number = draw.integers(0, _RECTANGLES + 1, 1, 1)
    for k in range(_RECTANGLES):
        coherence = torch.where(rectangle(size, draw) & (k < number), draw.uniform(0, 0.4, 1, 1), coherence)
    return torch.where(_river(size, draw) & draw.chance(0.5, 1, 1), draw.uniform(0, 0.4, 1, 1), coherence)


def with_land_cover(
    coherence: Float32[Tensor, "count size size"], terrain: Float32[Tensor, "count size size"], draw: Draws
) -> Float32[Tensor, "count size size"]:
    """The map with vegetation (.1 to .4, textured) in two scenes of five and water (below .03) in one of four.

    Water covers up to three tenths of a scene, where the terrain is lowest.
    """
    size = coherence.shape[-1]
    plants = fractal(size, draw.uniform(2.2, 3.5), draw)
    covered = (plants > quantile(plants, draw.uniform(0.6, 0.95, 1, 1))) & draw.chance(0.4, 1, 1)
    density = 0.25 + draw.uniform(-0.05, 0.05, 1, 1) + 0.1 * torch.sin(3 * plants)
    coherence = torch.where(covered, density, coherence)
    water = (terrain < quantile(terrain, draw.uniform(0.02, 0.3, 1, 1))) & draw.chance(0.25, 1, 1)
    return torch.where(water, draw.uniform(0, 0.03, 1, 1), coherence)


def rectangle(size: int, draw: Draws) -> Tensor:
    """Pixels of a rectangle anywhere in a scene, turned by any angle, with sides of .05 to .3 of the scene's."""
    turn = draw.uniform(0, math.pi, 1, 1)
    u, v = unit_square(size, turn.device)
    u, v = u - draw.uniform(-1, 1, 1, 1), v - draw.uniform(-1, 1, 1, 1)
    along, across = turned(u, v, turn)
    return (along.abs() < draw.uniform(0.05, 0.3, 1, 1)) & (across.abs() < draw.uniform(0.05, 0.3, 1, 1))


def _river(size: int, draw: Draws) -> Tensor:
    """Pixels within a few pixels of a winding line from one side to the other."""
    order = torch.arange(1, _WAVES + 1, device=draw.generator.device)
    along = torch.linspace(0, 1, size, device=order.device)
    waves = draw.normal(_WAVES, 1) / order[:, None]
    phases = draw.uniform(0, 2 * math.pi, _WAVES, 1)
    winding = (waves * torch.sin(2 * math.pi * order[:, None] * along + phases)).sum(1)
    line = draw.uniform(0.1, 0.9, 1) + 0.15 * winding
    (slope,) = torch.gradient(line, spacing=1 / (size - 1), dim=-1)
    distance = (along - line[..., None]).abs() / torch.hypot(slope, torch.ones_like(slope))[..., None] * size
    river = distance < draw.uniform(1, 4, 1, 1)
    return torch.where(draw.chance(0.5, 1, 1), river.mT, river)
