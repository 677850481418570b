"""The network that filters interferograms: a filter bank, and stages that each start in the frame of the one before.

A *gauge* is a unit phasor g at every pixel that turns with the interferogram: under z -> exp(i a) z it becomes
exp(i a) g, under conjugation conj g. Phases relative to it, z conj g, do not notice a global phase, and conjugation
only changes the sign of their imaginary part, which the layers of :mod:`manifoldnet.nn.even_odd` respect. What a
network finds out there is turned back by g. So the whole is equivariant by construction, whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
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
WIDE = (32, 16, 8.0)  # of the windows that continue fringes into what a stage could not see
COMPLEX_FEATURES = 6 + len(BANK)
EVEN_FEATURES = COMPLEX_FEATURES + 7 + len(BANK)


Cut = tuple[slice, slice]


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


class Estimate(NamedTuple):
    """What is known of the true phasors, complex images (b, h, w).

    Attributes:
        phasor: whose modulus is the expected resultant length.
        continued: the phasors through windows that are wide enough to continue fringes into noise.
        frame: of both, the more of the second the shorter the first; its direction is the gauge.
    """

    phasor: Complex[Tensor, "b h w"]
    continued: Complex[Tensor, "b h w"]
    frame: Complex[Tensor, "b h w"]


class Stage(nn.Module):
    """A U-Net on phases relative to those of an estimate; its output is the next one's phasors.

    With ``scale`` s it sees means over s x s pixels, the multilook of radar images, without fringes to blur.
    """

    def __init__(
        self, channels: tuple[int, ...], blocks: int, outputs: tuple[int, int], scale: int, generator: Any
    ) -> None:
        super().__init__()
        self.scale = scale
        self.net = EvenOddUNet((EVEN_FEATURES, COMPLEX_FEATURES), outputs, channels, blocks, generator)

    def forward(self, known: Observed, bank: Tensor, so_far: Estimate) -> tuple[Tensor, Pair]:
        """The next phasors, and what else the network has to say."""
        # a gauge is a frame to work in; gradients with respect to it grow without bound where it is short
        gauge = unit(so_far.frame.detach())
        weighted = known.phasor * known.modulus.clamp(max=4)
        images = [known.phasor, weighted * known.coherence, so_far.phasor, so_far.continued, *bank.unbind(1)]
        relative = [image * gauge.conj() for image in images]
        mean = torch.complex(*(mean_around(x, AROUND) for x in (relative[0].real, relative[0].imag)))
        moduli = [
            so_far.phasor.abs(), so_far.continued.abs(), mean.abs(), known.coherence,
            (known.coherence > 0).to(mean.real.dtype), known.looks, torch.log(known.modulus.clamp(1e-2, 1e2)),
            *bank.abs().unbind(1),
        ]  # fmt: skip
        complexes = [*relative, _link(gauge, -1), _link(gauge, -2)]
        out = self.net(
            Pair(self._seen([*(z.real for z in complexes), *moduli]), self._seen([z.imag for z in complexes]))
        )
        even, odd = (self._enlarged(x.to(mean.real.dtype)) for x in out)
        step = torch.complex(even[:, 0] + so_far.frame.abs(), odd[:, 0])
        return step * gauge, Pair(even[:, 1:], odd[:, 1:])

    def _seen(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images if self.scale == 1 else [avg_pool2d(x, self.scale) for x in images], 1)

    def _enlarged(self, x: Tensor) -> Tensor:
        return x if self.scale == 1 else interpolate(x, scale_factor=float(self.scale), mode="bilinear")


def _link(gauge: Tensor, dim: int) -> Tensor:
    """g(x) conj g(x - 1), 0 at the first pixel."""
    n = gauge.shape[dim]
    link = gauge.narrow(dim, 1, n - 1) * gauge.narrow(dim, 0, n - 1).conj()
    return pad(link, (1, 0) if dim == -1 else (0, 0, 1, 0))


def around(cut: Cut, margin: int, factor: int, shape: Sequence[int]) -> tuple[tuple[Any, ...], Cut]:
    """The part of an image that is ``margin`` pixels wider than the cut, where there are any, and the cut in that."""
    area, rest = [], []
    for part, size in zip(cut, shape, strict=True):
        start, stop = max(0, part.start - margin), min(size, -(-(part.stop + margin) // factor) * factor)
        area.append(slice(start, stop))
        rest.append(slice(part.start - start, part.stop - start))
    return (..., *area), (rest[0], rest[1])


class PhaseNet(nn.Module):
    """Filtered phasors of interferograms; the modulus is the expected resultant length.

    The stages are followed by a gradient flow of their phases (:class:`CoupledPhases`).

    Args:
        channels: of each stage's U-Net, finest level first; all stages but the last see means over 2 x 2 pixels.
        blocks: residual blocks a level.
        generator: source of the initial parameters.

    Attributes:
        factor: the sides of images must be multiples of it.
        margin: pixels on each side that an output can depend on, a multiple of ``factor``.
        margins: likewise, for the inputs of each stage.
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
        # blocks of an image must start where the windows do
        self.factor = max(*(s.scale * s.net.factor for s in stages), *(step for _, step, _ in (*BANK, WIDE)))
        reach, margins = FLOW_STEPS, []
        for stage in reversed(stages):
            reach += stage.scale * (stage.net.reach + 2) + AROUND // 2
            margins.append(self.whole(reach))
            reach += WIDE[0]
        self.margins = margins[::-1]
        self.margin = self.whole(reach + max(window for window, _, _ in BANK))

    def compile_stages(self) -> None:
        """Compile what is real-valued, for long trainings on a device."""
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.net.compile()

    def whole(self, reach: int) -> int:
        """The multiple of :attr:`factor` that is ``reach`` pixels or a little more."""
        return -(-reach // self.factor) * self.factor

    def forward(self, known: Observed) -> list[Complex[Tensor, "b h w"]]:
        """The outputs of all stages, the last one being the result."""
        outputs, result, _ = self._run(known, None)
        return [*outputs, result]

    def last(self, known: Observed, cut: Cut) -> tuple[Complex[Tensor, "b h w"], Float[Tensor, "b h w"]]:
        """The result in these rows and columns, and the moduli there of the frame that the last stage worked in.

        Stages leave out what it does not depend on. The cut must start at multiples of :attr:`factor`.
        """
        _, result, frame = self._run(known, cut)
        return result, frame.abs()

    def _run(self, known: Observed, cut: Cut | None) -> tuple[list[Tensor], Tensor, Tensor]:
        """Outputs of the stages, the result and the last frame, the latter two within the cut."""
        trust = known.coherence.clamp_min(0.05)
        weighted = 2 * known.phasor * known.modulus.clamp(max=4) * trust
        bank = torch.stack([self._windowed(weighted, options) for options in BANK], 1)
        outputs: list[Tensor] = []
        so_far = self.begun(bank)
        for stage, margin in zip(self.stages, self.margins, strict=True):
            if outputs:
                so_far = self.continued(outputs[-1])
            if cut is not None:
                area, cut = around(cut, margin, self.factor, known.phasor.shape[-2:])
                known, bank = Observed(*(image[area] for image in known)), bank[area]
                so_far = Estimate(*(image[area] for image in so_far))
            phasor, said = stage(known, bank, so_far)
            outputs.append(phasor)
        inside = ... if cut is None else (..., *cut)
        return outputs, self.flown(phasor, said, known)[inside], so_far.frame[inside]

    def begun(self, bank: Tensor) -> Estimate:
        """The estimate that the first stage starts from."""
        mean = bank.mean(1)  # moduli are no resultant lengths yet
        wide = self._windowed(mean, WIDE)
        return Estimate(mean, wide, mean + wide)

    def continued(self, phasor: Tensor) -> Estimate:
        """The estimate with the phasors of a stage, whose moduli say how far they can be trusted."""
        # where phasors are short, a window sees little but their surroundings, and those are what it continues
        wide = self._windowed(phasor.detach(), WIDE)
        trust = (phasor.real.square() + phasor.imag.square()).clamp(max=1)
        return Estimate(phasor, wide, trust * phasor + (1 - trust) * wide)

    def _windowed(self, z: Tensor, options: tuple[int, int, float]) -> Tensor:
        # what noise leaves of a window is a gauge too, and shorter than the rounding errors of all that was in it
        exact = z if self.training else z.to(torch.complex128)
        return windowed_fourier(exact, *options).to(z.dtype)

    def flown(self, start: Tensor, said: Pair, known: Observed) -> Tensor:
        """The last stage's phasors after the flow of their phases that the network set."""
        y0, data = angle(start), angle(known.phasor)
        weights = torch.sigmoid(said.even - 2)
        right = y0.diff(dim=-1).detach() + said.odd[:, 0, :, 1:], weights[:, 0, :, 1:]
        down = y0.diff(dim=-2).detach() + said.odd[:, 1, 1:], weights[:, 1, 1:]
        field = CoupledPhases(right, down, (data, weights[:, 2] * known.phasor.abs()))
        t = torch.tensor([0.0, 1.0])
        y = odeint(field, y0, t, space=Circle(), method="lie-euler", steps=FLOW_STEPS)[-1]
        return torch.polar(start.abs(), y)
