"""Convolutions of volumes that treat all axes and directions of the grid alike."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class IsotropicConv3d(nn.Module):
    """A 3 x 3 x 3 convolution that commutes with the 48 rotations and reflections of the grid.

    Its kernels have one value for the centre, one for the six faces, one for the edges and one for the corners. Zeros
    are put round the volume, which keeps its size.

    Args:
        inputs, outputs: numbers of channels.
        dilation: step between the voxels of the kernel.
        gain: factor of the initial weights; they keep the mean square of random channels at 1.
        generator: source of the initial weights.
    """

    orbit: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dilation: int = 1,
        gain: float | int = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.dilation = dilation
        spread = gain / math.sqrt(27 * inputs)
        self.weight = nn.Parameter(spread * torch.randn(outputs, inputs, 4, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs))
        orbit = [sum(map(abs, offset)) for offset in itertools.product((-1, 0, 1), repeat=3)]
        self.register_buffer("orbit", torch.tensor(orbit), persistent=False)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x y z"]:
        """The volume of ``outputs`` channels."""
        kernel = self.weight[..., self.orbit].unflatten(-1, (3, 3, 3))
        return functional.conv3d(x, kernel, self.bias, padding=self.dilation, dilation=self.dilation)
