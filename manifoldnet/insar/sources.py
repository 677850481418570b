"""Random sources of deformation under a batch of scenes, as the radar sees them."""

import math

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from manifoldnet.insar.deformation import circular_crack, mogi, rectangular_dislocation
from manifoldnet.insar.draws import Draws

_SOURCES = 3


def deformation(size: int, draw: Draws, *, cracks: bool) -> Float32[Tensor, "count size size"]:
    """Displacement towards the radar in radians, over ground of 40 to 120 m a pixel seen from a random side.

    Up to three Mogi sources (1 to 6 km deep, 4 to 60 rad) and with probability 1/2 a rectangular dislocation
    (10 to 80 rad); where ``cracks``, with probability 1/5 a circular crack (1 to 5 km deep, 4 to 60 rad).
    """
    pixel = draw.uniform(0.04, 0.12, 1, 1)
    line = torch.arange(size, dtype=torch.float32, device=pixel.device)
    x, y = pixel * line, pixel * line.flip(0)[:, None]
    x, y = (axis.expand(draw.count, size, size) for axis in (x, y))
    extent, look = (size - 1) * pixel, _towards_the_radar(draw)
    total = _mogi_sources(x, y, extent, look, draw) + _fault(x, y, extent, look, draw)
    return total + _crack(x, y, extent, look, draw) if cracks else total


def _towards_the_radar(draw: Draws) -> Float64[Tensor, "count 3"]:
    """Unit vector (east, north, up) to a radar that looks to its right on an ascending or descending orbit."""
    incidence = draw.uniform(0.35, 0.8).double()
    heading = torch.where(draw.chance(0.5), -0.2, math.pi + 0.2).double()
    side = incidence.sin()
    return torch.stack((-side * heading.cos(), side * heading.sin(), incidence.cos()), -1)


def _mogi_sources(x: Tensor, y: Tensor, extent: Tensor, look: Tensor, draw: Draws) -> Tensor:
    east, north = (draw.uniform(-0.1, 1.1, _SOURCES, 1, 1) * extent[:, None] for _ in range(2))
    field = _seen(mogi(x[:, None] - east, y[:, None] - north, draw.uniform(1, 6, _SOURCES)), look[:, None])
    height = draw.sign(_SOURCES) * draw.uniform(4, 60, _SOURCES)
    present = torch.arange(_SOURCES, device=height.device) < draw.integers(0, _SOURCES + 1, 1)
    return ((height * present)[..., None, None] * field).sum(1)


def _fault(x: Tensor, y: Tensor, extent: Tensor, look: Tensor, draw: Draws) -> Tensor:
    east, north = (draw.uniform(0.1, 0.9, 1, 1) * extent for _ in range(2))
    dip, width = draw.uniform(0.35, 1.55), draw.uniform(2, 8)
    displacement = rectangular_dislocation(
        x - east,
        y - north,
        depth=draw.uniform(0.3, 4) + width * dip.sin(),
        length=draw.uniform(3, 12),
        width=width,
        strike=draw.uniform(0, 2 * math.pi),
        dip=dip,
        rake=draw.uniform(-math.pi, math.pi),
    )
    height = draw.uniform(10, 80, 1, 1) * draw.chance(0.5, 1, 1)
    return height * _seen(displacement, look)


def _crack(x: Tensor, y: Tensor, extent: Tensor, look: Tensor, draw: Draws) -> Tensor:
    east, north = (draw.uniform(-0.1, 1.1, 1, 1) * extent for _ in range(2))
    depth = draw.uniform(1, 5)
    field = _seen(circular_crack(x - east, y - north, depth, draw.uniform(0.1, 0.8) * depth), look)
    return draw.sign(1, 1) * draw.uniform(4, 60, 1, 1) * draw.chance(0.2, 1, 1) * field


def _seen(displacement: Tensor, look: Tensor) -> Tensor:
    """The component towards the radar, 1 where it is largest."""
    field = (displacement * look[..., None, None]).sum(-3)
    return (field / field.abs().amax((-2, -1), keepdim=True)).float()
