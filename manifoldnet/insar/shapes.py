"""Plain phases of the literature, without any chance: ramp, cone, peaks, nested squares, circular fringes."""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.insar.grid import unit_square
from manifoldnet.linalg import wrap_angle


def ramp(size: int, right: float | int, down: float | int) -> Float32[Tensor, "h w"]:
    """A plane that rises ``right`` and ``down`` radians a pixel, 0 at the upper left pixel."""
    line = torch.arange(size, dtype=torch.float32)
    return right * line + down * line[:, None]


def cone(size: int, height: float | int = 40.0) -> Float32[Tensor, "h w"]:
    """A cone of ``height`` radians over the largest disc inside the image, 0 round it."""
    return height * (1 - torch.hypot(*unit_square(size))).clamp_min(0)


def peaks(size: int, height: float | int = 30.0) -> Float32[Tensor, "h w"]:
    """Three hills and three hollows of very different slopes, ``height`` radians from lowest to highest."""
    u, v = (3 * axis.double() for axis in unit_square(size))
    surface = 3 * (1 - u) ** 2 * torch.exp(-(u**2) - (v + 1) ** 2)
    surface = surface - 10 * (u / 5 - u**3 - v**5) * torch.exp(-(u**2) - v**2)
    surface = surface - torch.exp(-((u + 1) ** 2) - v**2) / 3
    return (height * (surface - surface.min()) / (surface.max() - surface.min())).float()


def squares(size: int, step: float | int = 1.2) -> Float32[Tensor, "h w"]:
    """Five nested squares, each ``step`` radians above the one round it."""
    line = torch.arange(size)
    from_edge = torch.minimum(line, line.flip(0))
    depth = 5 * (2 * torch.minimum(from_edge, from_edge[:, None]) + 1) // size
    return step * depth.clamp(max=4).float()


def circular_fringes(size: int, height: float | int = 6 * math.pi) -> Float32[Tensor, "h w"]:
    """A wrapped paraboloid: rings that narrow outwards, in (-pi, pi].

    The phase is ``height`` radians in the middle and 0 at the middle of every side, as in the artificial
    fringe images on which variational filters are shown: a smooth phase seen through its jumps by 2 pi.
    """
    u, v = unit_square(size)
    return wrap_angle(height * (1 - (u * u + v * v)))
