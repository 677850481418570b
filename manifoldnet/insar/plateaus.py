"""Random piecewise-constant phases, where filters that assume smooth fringes fail."""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.insar.coherence_maps import rectangle
from manifoldnet.insar.draws import Draws
from manifoldnet.insar.grid import turned, unit_square

_CELLS = 12
_RECTANGLES = 5


def plateaus(size: int, draw: Draws) -> Float32[Tensor, "count size size"]:
    """Voronoi cells, overlapping rectangles or nested squares, a third of the scenes each, in radians.

    Levels of cells and rectangles are uniform over a range of 2 to 12 rad; nested squares rise by .4 to 3 rad.
    """
    spread = draw.uniform(1, 6, 1, 1)
    kind = draw.integers(0, 3, 1, 1)
    smooth = torch.where(kind == 1, _rectangles(size, spread, draw), _squares(size, draw))
    return torch.where(kind == 0, _cells(size, spread, draw), smooth)


def _cells(size: int, spread: Tensor, draw: Draws) -> Tensor:
    """The level of the nearest of 3 to 12 points."""
    u, v = unit_square(size, spread.device)
    number = draw.integers(3, _CELLS + 1, 1, 1)
    nearest = torch.full((draw.count, size, size), math.inf, device=spread.device)
    phase = torch.zeros_like(nearest)
    for k in range(_CELLS):
        distance = (u - draw.uniform(-1, 1, 1, 1)) ** 2 + (v - draw.uniform(-1, 1, 1, 1)) ** 2
        closer = (distance < nearest) & (k < number)
        nearest = torch.where(closer, distance, nearest)
        phase = torch.where(closer, spread * draw.uniform(-1, 1, 1, 1), phase)
    return phase


def _rectangles(size: int, spread: Tensor, draw: Draws) -> Tensor:
    phase = torch.zeros(draw.count, size, size, device=spread.device)
    for _ in range(_RECTANGLES):
        phase = torch.where(rectangle(size, draw), spread * draw.uniform(-1, 1, 1, 1), phase)
    return phase


def _squares(size: int, draw: Draws) -> Tensor:
    """Three to eight squares round a random point, turned by any angle."""
    turn = draw.uniform(0, math.pi / 2, 1, 1)
    u, v = unit_square(size, turn.device)
    u, v = u - draw.uniform(-0.4, 0.4, 1, 1), v - draw.uniform(-0.4, 0.4, 1, 1)
    along, across = turned(u, v, turn)
    number = draw.integers(3, 9, 1, 1)
    depth = (number * (1 - torch.maximum(along.abs(), across.abs()))).floor().clamp_min(0)
    return draw.sign(1, 1) * draw.uniform(0.4, 3, 1, 1) * depth
