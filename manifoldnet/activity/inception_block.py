"""Convolutions over time of several widths beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class InceptionBlock(nn.Module):
    """Convolutions of several widths behind a bottleneck, and a maximum, side by side; added to a shortcut.

    After Ismail Fawaz et al. 2020, "InceptionTime", Fig. 1, with the shortcut round every block.
    """

    def __init__(self, channels: int, filters: int, bottleneck: int, widths: Sequence[int]) -> None:
        super().__init__()
        out = filters * (len(widths) + 1)
        self.squeeze = nn.Conv1d(channels, bottleneck, 1, bias=False)
        self.wide = nn.ModuleList(nn.Conv1d(bottleneck, filters, w, padding=w // 2, bias=False) for w in widths)
        self.pooled = nn.Conv1d(channels, filters, 1, bias=False)
        self.norm = nn.BatchNorm1d(out)
        self.shortcut = nn.Sequential(nn.Conv1d(channels, out, 1, bias=False), nn.BatchNorm1d(out))

    def forward(self, x: Float[Tensor, "n channels t"]) -> Float[Tensor, "n out t"]:
        """The block's answer at every moment."""
        squeezed = self.squeeze(x)
        parts = [convolution(squeezed) for convolution in self.wide]
        parts.append(self.pooled(functional.max_pool1d(x, 3, stride=1, padding=1)))
        return functional.relu(self.norm(torch.cat(parts, 1)) + self.shortcut(x))
