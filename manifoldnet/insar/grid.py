"""Coordinates of the pixels of square images."""

import torch
from jaxtyping import Float32
from torch import Tensor


def unit_square(size: int, device: torch.device | None = None) -> tuple[Float32[Tensor, " w"], Float32[Tensor, "h 1"]]:
    """Coordinates of pixel centres in [-1, 1], right and down."""
    line = (2 * torch.arange(size, dtype=torch.float32, device=device) + 1) / size - 1
    return line, line[:, None]


def turned(u: Tensor, v: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates along axes that are turned by an angle (radians)."""
    return u * turn.cos() + v * turn.sin(), v * turn.cos() - u * turn.sin()
