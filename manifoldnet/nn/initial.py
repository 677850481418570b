"""Initial parameters drawn from a given generator, not from torch's global one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def seeded(
    layer: nn.Conv2d | nn.Conv3d, gain: float, generator: torch.Generator | None, bias: Tensor | None = None
) -> None:
    """Normal weights with variance gain^2 / (inputs of one output), and the given biases or zeros."""
    fan = layer.weight[0].numel()
    with torch.no_grad():
        layer.weight.normal_(0, gain / math.sqrt(fan), generator=generator)
        if layer.bias is not None:
            layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)
