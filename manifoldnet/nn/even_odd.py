"""Networks of images that commute with the complex conjugation of what they are fed.

Conjugating an interferogram, z -> conj z, keeps its real part and moduli and changes the sign of its imaginary part.
Features are pairs of images (even, odd), each (b, c, h, w): conjugation leaves even ones alone and negates odd ones.
Every layer maps pairs to pairs and commutes with that, exactly and in floating-point numbers too. A pair is a regular
representation of the group of two elements, (even + odd, even - odd) are its two copies, and linear equivariant maps
are block diagonal in (even, odd), so a layer costs half of a plain one of as many channels (Cohen & Welling, 2016,
"Group equivariant convolutional networks").
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Pair(NamedTuple):
    """Images that conjugation keeps, and images that it negates."""

    even: Float[Tensor, "b c h w"]
    odd: Float[Tensor, "b d h w"]


class EvenOddConv2d(nn.Module):
    """A convolution of even images and another of odd ones; only the even outputs have a bias.

    Args:
        inputs: numbers of even and of odd channels.
        outputs: likewise.
        size: side of the kernels; odd ones are padded with zeros so that images keep their size.
        stride: of the kernels; 2 with size 2 halves the images.
        gain: root mean square of an output for independent inputs of unit variance.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        outputs: tuple[int, int],
        size: int = 3,
        stride: int = 1,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def kernel(into: int, out: int) -> nn.Parameter:
            scale = gain / math.sqrt(max(1, into) * size * size)
            drawn = scale * torch.randn(out, into, size, size, generator=generator)
            # images take over the order; few channels are convolved a third faster where they lie side by side
            return nn.Parameter(drawn.contiguous(memory_format=torch.channels_last))

        self.even, self.odd = kernel(inputs[0], outputs[0]), kernel(inputs[1], outputs[1])
        self.bias = nn.Parameter(torch.zeros(outputs[0]))
        self.stride, self.padding = stride, (size // 2 if size % 2 else 0)

    def forward(self, x: Pair) -> Pair:
        return Pair(
            functional.conv2d(x.even, self.even, self.bias, self.stride, self.padding),
            functional.conv2d(x.odd, self.odd, None, self.stride, self.padding),
        )


def activated(x: Pair) -> Pair:
    """SiLU of both copies even + odd and even - odd."""
    # large images: nothing is kept that has no gradient
    one, other = (functional.silu(y, inplace=not y.requires_grad) for y in (x.even + x.odd, x.even - x.odd))
    return Pair((one + other).mul_(0.5), (one - other).mul_(0.5))


class EvenOddBlock(nn.Module):
    """x + conv(act(conv(act(x)))), near the identity before training."""

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        sizes = (channels, channels)
        self.first = EvenOddConv2d(sizes, sizes, gain=1.4, generator=generator)
        self.second = EvenOddConv2d(sizes, sizes, gain=0.3, generator=generator)

    def forward(self, x: Pair) -> Pair:
        step = self.second(activated(self.first(activated(x))))
        return Pair(x.even + step.even, x.odd + step.odd)


class EvenOddUNet(nn.Module):
    """An encoder that halves the images level by level and a decoder that adds the encoder's features on the way back.

    Args:
        inputs: numbers of even and odd channels.
        outputs: likewise.
        channels: even features, and as many odd ones, at each level, finest first.
        blocks: residual blocks a level in the encoder, and again in the decoder.
        generator: source of the initial parameters.

    Attributes:
        factor: the sides of images must be multiples of it.
        reach: pixels on each side that an output can depend on.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        outputs: tuple[int, int],
        channels: tuple[int, ...] = (24, 36, 56),
        blocks: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*[EvenOddBlock(width, generator) for _ in range(blocks)])

        self.first = EvenOddConv2d(inputs, (channels[0],) * 2, generator=generator)
        self.encoder = nn.ModuleList([level(width) for width in channels])
        self.down = nn.ModuleList([EvenOddConv2d((a, a), (b, b), 2, 2, generator=generator) for a, b in pairs])
        self.up = nn.ModuleList([EvenOddConv2d((b, b), (a, a), 1, generator=generator) for a, b in pairs])
        self.decoder = nn.ModuleList([level(width) for width in channels])
        self.last = EvenOddConv2d((channels[0],) * 2, outputs, gain=0.1, generator=generator)
        self.factor = 2 ** (len(channels) - 1)
        self.reach = 2 + 4 * blocks * (2 ** len(channels) - 1) + 2 * self.factor

    def forward(self, x: Pair) -> Pair:
        x = self.first(x)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=False):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.decoder[-1](self.encoder[-1](x))
        for stage, up, skip in reversed(list(zip(self.decoder, self.up, skips, strict=False))):
            small = up(x)
            x = stage(Pair(*(s + _double(y) for s, y in zip(skip, small, strict=True))))
        return self.last(activated(x))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
