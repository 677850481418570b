"""The network that filters interferograms: a filter bank, and stages that each start in the frame of the one before.

A *gauge* is a unit phasor g at every pixel that turns with the interferogram: under z -> exp(i a) z it becomes
exp(i a) g, under conjugation conj g. Phases relative to it, z conj g, do not notice a global phase, and conjugation
only changes the sign of their imaginary part, which the layers of :mod:`manifoldnet.nn.even_odd` respect. What a
network finds out there is turned back by g. So the whole is equivariant by construction, whatever the weights are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from manifoldnet.fields import CoupledPhases
from manifoldnet.insar.baselines import windowed_fourier
from manifoldnet.insar.moduli import mean_around
from manifoldnet.integrators import odeint
from manifoldnet.manifolds import Circle
from manifoldnet.nn.even_odd import EvenOddUNet, Pair

#: side and step of the windows and tau of the shrinkage, for each filter of the bank
BANK = ((32, 16, 8.0), (16, 8, 8.0), (8, 4, 4.0))
MODULUS = 1e-3  # phasors shorter than this lose their direction bit by bit
AROUND = 7  # side in pixels of the square over which phases are compared
FLOW_STEPS = 4
COMPLEX_FEATURES = 4 + len(BANK)
EVEN_FEATURES = COMPLEX_FEATURES + 6 + len(BANK)


class Observed(NamedTuple):
    """What is known of an interferogram, (b, h, w) each.

    Attributes:
        phasor: exp(i phase), 0 where there is no data.
        coherence: estimated, in [0, 1]; 0 where there is no data.
        modulus: of the interferogram over its mean in the neighbourhood; 1 where only phases are known.
        looks: 1 / number of looks, 0 if it is not known.
    """

    phasor: Complex[Tensor, "b h w"]
    coherence: Float[Tensor, "b h w"]
    modulus: Float[Tensor, "b h w"]
    looks: Float[Tensor, "b h w"]


def unit(z: Tensor) -> Tensor:
    """z / |z|, and less than one where z is next to nothing."""
    return z * torch.rsqrt(z.real.square() + z.imag.square() + MODULUS**2)


def angle(z: Tensor) -> Tensor:
    """Angles whose gradients do not grow beyond those at modulus 1 / 10, where directions are mostly noise."""
    at = z.detach()
    turn = at.real * z.imag - at.imag * z.real
    return at.angle() + turn / (at.real.square() + at.imag.square()).clamp_min(0.01)


class Stage(nn.Module):
    """A U-Net on phases relative to ``reference``; its output turns and stretches it.

    With ``scale`` s it sees means over s x s pixels, the multilook of radar images, without fringes to blur.
    """

    def __init__(
        self, channels: tuple[int, ...], blocks: int, outputs: tuple[int, int], scale: int, generator: Any
    ) -> None:
        super().__init__()
        self.scale = scale
        self.net = EvenOddUNet((EVEN_FEATURES, COMPLEX_FEATURES), outputs, channels, blocks, generator)

    def forward(self, known: Observed, bank: Tensor, reference: Tensor) -> tuple[Tensor, Pair]:
        """The next reference, and what else the network has to say."""
        # a gauge is a frame to work in; gradients with respect to it grow without bound where it is short
        gauge = unit(reference.detach())
        weighted = known.phasor * known.modulus.clamp(max=4)
        images = [known.phasor, weighted * known.coherence, *bank.unbind(1)]
        relative = torch.stack(images, 1) * gauge.conj()[:, None]
        links = torch.stack([_link(gauge, -1), _link(gauge, -2)], 1)
        near = relative[:, 0]
        mean = torch.complex(*(mean_around(x, AROUND) for x in (near.real, near.imag)))
        moduli = [
            reference.abs(), mean.abs(), known.coherence, (known.coherence > 0).to(mean.real.dtype), known.looks,
            torch.log(known.modulus.clamp(1e-2, 1e2)), *bank.abs().unbind(1),
        ]  # fmt: skip
        complexes = torch.cat([relative, links], 1)
        even = torch.cat([complexes.real, torch.stack(moduli, 1)], 1)
        out = self.net(Pair(*(avg_pool2d(x, self.scale) for x in (even, complexes.imag))))
        even, odd = (self._enlarged(x.to(mean.real.dtype)) for x in out)
        step = torch.complex(even[:, 0] + reference.abs(), odd[:, 0])
        return step * gauge, Pair(even[:, 1:], odd[:, 1:])

    def _enlarged(self, x: Tensor) -> Tensor:
        return x if self.scale == 1 else interpolate(x, scale_factor=float(self.scale), mode="bilinear")


def _link(gauge: Tensor, dim: int) -> Tensor:
    """g(x) conj g(x - 1), 0 at the first pixel."""
    n = gauge.shape[dim]
    link = gauge.narrow(dim, 1, n - 1) * gauge.narrow(dim, 0, n - 1).conj()
    return pad(link, (1, 0) if dim == -1 else (0, 0, 1, 0))


class PhaseNet(nn.Module):
    """Filtered phasors of interferograms; the modulus is the expected resultant length.

    The stages are followed by a gradient flow of their phases (:class:`CoupledPhases`).

    Args:
        channels: of each stage's U-Net, finest level first; all stages but the last see means over 2 x 2 pixels.
        blocks: residual blocks a level.
        generator: source of the initial parameters.
    """

    def __init__(
        self,
        channels: tuple[tuple[int, ...], ...],
        blocks: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        # the last one also sets the edges and the trust of the flow
        outputs = [(1, 1)] * (len(channels) - 1) + [(4, 3)]
        scales = [2] * (len(channels) - 1) + [1]
        parts = zip(channels, outputs, scales, strict=True)
        stages = [Stage(tuple(c), blocks, o, scale, generator) for c, o, scale in parts]
        self.stages = nn.ModuleList(stages)
        # blocks of an image must start where the windows of the bank do
        self.factor = max(*(s.scale * s.net.factor for s in stages), *(step for _, step, _ in BANK))
        of_stages = sum(s.scale * (s.net.reach + 2) + AROUND // 2 for s in stages)
        reach = max(window for window, _, _ in BANK) + of_stages + FLOW_STEPS
        self.margin = -(-reach // self.factor) * self.factor

    def compile_stages(self) -> None:
        """Compile what is real-valued, for long trainings on a device."""
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.net.compile()

    def forward(self, known: Observed) -> list[Complex[Tensor, "b h w"]]:
        """The outputs of all stages, the last one being the result."""
        trust = known.coherence.clamp_min(0.05)
        weighted = 2 * known.phasor * known.modulus.clamp(max=4) * trust
        bank = torch.stack([windowed_fourier(weighted, *options) for options in BANK], 1)
        results: list[Tensor] = []
        reference = bank.mean(1)
        for stage in self.stages:
            reference, said = stage(known, bank, reference)
            results.append(reference)
        return [*results, self._flown(reference, said, known)]

    def _flown(self, start: Tensor, said: Pair, known: Observed) -> Tensor:
        y0, data = angle(start), angle(known.phasor)
        weights = torch.sigmoid(said.even - 2)
        right = y0.diff(dim=-1).detach() + said.odd[:, 0, :, 1:], weights[:, 0, :, 1:]
        down = y0.diff(dim=-2).detach() + said.odd[:, 1, 1:], weights[:, 1, 1:]
        field = CoupledPhases(right, down, (data, weights[:, 2] * known.phasor.abs()))
        t = torch.tensor([0.0, 1.0])
        y = odeint(field, y0, t, space=Circle(), method="lie-euler", steps=FLOW_STEPS)[-1]
        return torch.polar(start.abs(), y)
