"""The denoiser of interferograms, a plain twin, and ours with its geometry taken out piece by piece.

All have about as many parameters and are trained for the same time on the same data; see README.md.

python benchmarks/insar_twins.py --seconds 270
python benchmarks/insar_twins.py --seconds 270 --scenes 24 --only "plain U-Net" ours    # a tenth of the data
python benchmarks/insar_twins.py --seconds 270 --only ours --optimizer riemannian-sgd --lr 0.03
python benchmarks/insar_twins.py --seconds 120 --device cuda --batch 64 --patch 128
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from timed_training import trained
from torch import Tensor, nn
from torch.nn import functional

from manifoldnet.insar.metrics import rmse_by_coherence, wrapped_rmse
from manifoldnet.insar.moduli import coherence_of_phasors
from manifoldnet.insar.phase_net import Estimate, Observed, PhaseNet
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe
from manifoldnet.insar.train import squared_error
from manifoldnet.insar.training_data import SimulatedPatches
from manifoldnet.linalg import wrap_angle
from manifoldnet.nn.even_odd import Pair
from manifoldnet.training.optimizers import OPTIMIZERS

CHANNELS = ((24, 40, 56), (24, 40, 56), (16, 24))
PLAIN = (38, 60, 88, 101)  # as many parameters
TEST_LOOKS = (1.0, 4.0, 2.0, 9.0)


class PlainBlock(nn.Module):
    """x + conv(act(conv(act(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.first.weight, std=1.4 / math.sqrt(9 * channels))
        nn.init.normal_(self.second.weight, std=0.3 / math.sqrt(9 * channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(x))))


class PlainUNet(nn.Module):
    """A real-valued U-Net of residual blocks, built like the stages of ours but for their symmetry."""

    def __init__(self, inputs: int, outputs: int, channels: tuple[int, ...], blocks: int = 1) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*[PlainBlock(width) for _ in range(blocks)])

        self.first = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList([level(c) for c in channels])
        self.down = nn.ModuleList([nn.Conv2d(a, b, 2, 2) for a, b in pairs])
        self.up = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in pairs])
        self.decoder = nn.ModuleList([level(c) for c in channels])
        self.last = nn.Conv2d(channels[0], outputs, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=False):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.decoder[-1](self.encoder[-1](x))
        for stage, up, skip in reversed(list(zip(self.decoder, self.up, skips, strict=False))):
            x = stage(skip + functional.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return self.last(functional.silu(x))


class Plain(nn.Module):
    """The plain network on real and imaginary part and all else that ours is told."""

    def __init__(self, channels: tuple[int, ...] = PLAIN, blocks: int = 1) -> None:
        super().__init__()
        self.net = PlainUNet(6, 2, channels, blocks)

    def forward(self, known: Observed) -> list[Tensor]:
        told = [
            known.phasor.real, known.phasor.imag, known.coherence, (known.coherence > 0).to(known.looks.dtype),
            known.looks, torch.log(known.modulus.clamp(1e-2, 1e2)),
        ]  # fmt: skip
        out = self.net(torch.stack(told, 1)).float()
        return [torch.complex(out[:, 0], out[:, 1])]


class OneGauge(PhaseNet):
    """Ours, with all stages in the frame of the filter bank."""

    def begun(self, bank: Tensor) -> Estimate:
        self.first = super().begun(bank)
        return self.first

    def continued(self, phasor: Tensor) -> Estimate:
        return super().continued(phasor)._replace(frame=self.first.frame)


class NothingContinued(PhaseNet):
    """Ours, each stage in the frame of the phasors of the one before, whatever their moduli are."""

    def begun(self, bank: Tensor) -> Estimate:
        mean = bank.mean(1)
        return Estimate(mean, torch.zeros_like(mean), mean)

    def continued(self, phasor: Tensor) -> Estimate:
        return Estimate(phasor, torch.zeros_like(phasor), phasor)


class NoGauge(PhaseNet):
    """Ours on real and imaginary parts: no longer equivariant under phases, but still under conjugation."""

    def begun(self, bank: Tensor) -> Estimate:
        estimate = super().begun(bank)
        return estimate._replace(frame=torch.ones_like(estimate.frame))

    def continued(self, phasor: Tensor) -> Estimate:
        return super().continued(phasor)._replace(frame=torch.ones_like(phasor))


class NoFlow(PhaseNet):
    """Ours, ending with the last stage."""

    def flown(self, start: Tensor, said: Pair, known: Observed) -> Tensor:
        return start


class Mixed(nn.Module):
    """A plain U-Net of pairs: even and odd images in one."""

    def __init__(self, inputs: tuple[int, int], outputs: tuple[int, int], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.split = list(outputs)
        self.net = PlainUNet(sum(inputs), sum(outputs), tuple(round(c * math.sqrt(2)) for c in channels))

    def forward(self, x: Pair) -> Pair:
        return Pair(*self.net(torch.cat(x, 1)).split(self.split, 1))


class NoConjugation(PhaseNet):
    """Ours with plain U-Nets: equivariant under phases, no longer under conjugation."""

    def __init__(self, channels: tuple[tuple[int, ...], ...], generator: torch.Generator | None = None) -> None:
        super().__init__(channels, generator=generator)
        for stage, own in zip(self.stages, channels, strict=True):
            inputs, outputs = (len(x) for x in (stage.net.first.even[0], stage.net.first.odd[0])), stage.net.last
            stage.net = Mixed(tuple(inputs), (len(outputs.even), len(outputs.odd)), own)


VARIANTS: dict[str, Callable[..., nn.Module]] = {
    "plain U-Net": lambda channels, generator: Plain(),
    "ours": PhaseNet,
    "one gauge": OneGauge,
    "nothing continued": NothingContinued,
    "no gauge": NoGauge,
    "no conjugation": NoConjugation,
    "no flow": NoFlow,
}


class Told(nn.Module):
    """A network of separate images, as losses call it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *known: Tensor) -> list[Tensor]:
        return self.net(Observed(*known))


def seen(looks: float, count: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """What is known of test scenes of 256 x 256 pixels, phases only; true phases and coherences."""
    generator = torch.Generator().manual_seed(4242)
    phase, coherence, _ = scenes(count, 256, generator=generator)
    observed, _ = observe(phase, coherence, looks, generator)
    phasor, one = torch.polar(torch.ones_like(phase), observed.angle()), torch.ones_like(phase)
    return [phasor, coherence_of_phasors(phasor, one), one, 0 * one], phase, coherence


@torch.no_grad()
def filtered(model: nn.Module, known: list[Tensor]) -> Tensor:
    """Phases, one image at a time."""
    return torch.cat([model(*(image[k : k + 1] for image in known))[-1].angle() for k in range(len(known[0]))])


def defects(model: nn.Module, known: list[Tensor], found: Tensor) -> tuple[float, float]:
    """Root mean square arc by which a turn by 2 radians and a conjugation do not pass through."""
    phasor, *rest = known
    turned = filtered(model, [phasor * torch.polar(torch.tensor(1.0), torch.tensor(2.0)), *rest])
    conjugate = filtered(model, [phasor.conj().resolve_conj(), *rest])
    gaps = wrap_angle(turned - found - 2), wrap_angle(conjugate + found)
    return gaps[0].square().mean().sqrt().item(), gaps[1].square().mean().sqrt().item()


def main() -> None:
    """Train the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=270)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--scenes", type=int, default=240, help="of the pool of training scenes")
    parser.add_argument("--test", type=int, default=16)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="riemannian-adam")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = {"seed": given.seed, "scenes": given.scenes, "scene_size": 256, "batch": given.batch, "patch": given.patch}
    data = SimulatedPatches(config, given.device)
    title = f"{given.seconds:g} s each on {given.device}, 1 thread, {given.scenes} scenes, phases only"
    columns = ("parameters", "steps", "looks", "RMSE", "<.3", ".3-.6", ">.6", "better on", "turn", "conjugation")
    table = Table("", *columns, title=title, box=box.SIMPLE)
    first: dict[float, list[float]] = {}
    for name in given.only:
        torch.manual_seed(given.seed)
        model = Told(VARIANTS[name](CHANNELS, generator=torch.Generator().manual_seed(given.seed)))
        model.to(memory_format=torch.channels_last)
        steps = trained(model, data, squared_error, given.seconds, given.optimizer, given.lr, given.device)
        size = sum(p.numel() for p in model.parameters())
        for looks in TEST_LOOKS:
            known, phase, coherence = seen(looks, given.test)
            found = filtered(model, known)
            cells = [wrapped_rmse(found, phase), *rmse_by_coherence(found, phase, coherence).values()]
            own = [wrapped_rmse(a, b) for a, b in zip(found, phase, strict=True)]
            better = sum(a < b for a, b in zip(own, first.setdefault(looks, own), strict=True))
            gaps = [f"{gap:.0e}" for gap in defects(model, known, found)] if looks == TEST_LOOKS[0] else []
            shown = [str(size), str(steps), f"{looks:g}", *(f"{cell:.3f}" for cell in cells)]
            table.add_row(name, *shown, f"{better} of {given.test}", *gaps)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
