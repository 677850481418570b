"""Convolutions of circle-valued images.

A feature is a point of the circle with a confidence, written as the complex number z = rho exp(i theta); images
have shape (batch, channels, height, width) and complex dtype. Every layer commutes with a rotation of all angles:
layer(exp(i a) z) = exp(i a) layer(z), because kernels act linearly and everything nonlinear sees moduli only.
"""

from __future__ import annotations

import itertools
import math

import geoopt
import torch
from jaxtyping import Complex
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from manifoldnet.manifolds import Circle
from manifoldnet.nn.initial import seeded

EPSILON = 1e-6


class CircleConv2d(nn.Module):
    """sum_j w_j R(alpha_j) z_j over a window: neighbours are rotated by learned angles, weighted, and added.

    The angles alpha are parameters on the circle, so that a kernel can follow a fringe; weights w are real.

    Args:
        inputs: channels in.
        outputs: channels out.
        size: side of the window, odd; the image is padded with zeros (no confidence), its size is kept.
        generator: source of the initial weights and angles.
        gain: root mean square modulus of an output for inputs of modulus 1, before training.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        generator: torch.Generator | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size: wanted an odd window, got {size}")
        shape = (outputs, inputs, size, size)
        scale = gain / math.sqrt(inputs * size * size)
        self.weight = nn.Parameter(scale * torch.randn(shape, generator=generator))
        angles = Circle().random(*shape, generator=generator)
        self.angle = geoopt.ManifoldParameter(angles, manifold=Circle())

    def forward(self, z: Complex[Tensor, "b c h w"]) -> Complex[Tensor, "b d h w"]:
        real, imaginary = self.weight * self.angle.cos(), self.weight * self.angle.sin()
        kernel = torch.cat([torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)], 0)
        out = functional.conv2d(torch.cat([z.real, z.imag], 1), kernel, padding="same")
        return torch.complex(*out.chunk(2, 1))


class CircleBlock(nn.Module):
    """z + conv(g z / |z|_channels): a residual step whose gates g in (0, 2) are read off the moduli around a pixel."""

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        # small steps: a stack of blocks starts near the identity
        self.conv = CircleConv2d(channels, channels, 3, generator, gain=0.3)
        self.gate = skip_init(nn.Conv2d, channels + 1, channels, 3, padding=1)
        seeded(self.gate, 1.0, generator)

    def forward(self, z: Complex[Tensor, "b c h w"]) -> Complex[Tensor, "b c h w"]:
        power = z.real.square() + z.imag.square()
        mean = power.mean(1, keepdim=True) + EPSILON
        moduli = torch.cat([(power / mean + EPSILON).sqrt(), mean.log()], 1)
        gates = 2 * torch.sigmoid(self.gate(moduli)) * mean.rsqrt()
        return z + self.conv(gates * z)


def halve(z: Complex[Tensor, "b c h w"]) -> Complex[Tensor, "b c half_h half_w"]:
    """Mean over 2 x 2 pixels, the multilook of radar images: sides are halved."""
    return torch.complex(functional.avg_pool2d(z.real, 2), functional.avg_pool2d(z.imag, 2))


def double(z: Complex[Tensor, "b c h w"]) -> Complex[Tensor, "b c twice_h twice_w"]:
    """Each pixel repeated 2 x 2 times."""
    return z.repeat_interleave(2, -1).repeat_interleave(2, -2)


class CircleAutoencoder(nn.Module):
    """Denoising autoencoder of circle-valued images, exactly equivariant under a global rotation of the phase.

    An encoder halves the image level by level and a decoder brings it back, with the encoder's features added.

    Args:
        inputs: channels in; the output has one channel.
        channels: number of circle-valued features at each level, finest first.
        blocks: residual blocks a level, in the encoder and again in the decoder.
        size: side of the first window.
        generator: source of the initial parameters.
    """

    def __init__(
        self,
        inputs: int = 2,
        channels: tuple[int, ...] = (16, 24, 32),
        blocks: int = 2,
        size: int = 7,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*[CircleBlock(width, generator) for _ in range(blocks)])

        pairs = list(itertools.pairwise(channels))
        self.first = CircleConv2d(inputs, channels[0], size, generator)
        self.encoder = nn.ModuleList([level(width) for width in channels])
        self.down = nn.ModuleList([CircleConv2d(a, b, 1, generator) for a, b in pairs])
        self.up = nn.ModuleList([CircleConv2d(b, a, 1, generator) for a, b in pairs])
        self.decoder = nn.ModuleList([level(width) for width in channels[:-1]])
        self.last = CircleConv2d(channels[0], 1, 3, generator, gain=0.1)
        self.factor = 2 ** (len(channels) - 1)
        # pixels on each side that an output pixel can depend on, over all levels
        reach = [2 * blocks * 2**k * (2 if k < len(channels) - 1 else 1) for k in range(len(channels))]
        self.margin = -(-(size // 2 + 1 + sum(reach) + self.factor) // self.factor) * self.factor

    def forward(self, z: Complex[Tensor, "b c h w"]) -> Complex[Tensor, "b 1 h w"]:
        """Filtered phasors whose modulus is a confidence; sides must be multiples of ``factor``."""
        z = self.first(z)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=False):
            z = stage(z)
            skips.append(z)
            z = down(halve(z))
        z = self.encoder[-1](z)
        stages = list(zip(self.decoder, self.up, skips, strict=True))
        for stage, up, skip in reversed(stages):
            z = stage(skip + double(up(z)))
        return self.last(z)
