"""The denoiser of interferograms and a plain twin, trained for the same time on the same data.

python benchmarks/insar_twins.py --seconds 1200
python benchmarks/insar_twins.py --seconds 120 --device cuda --batch 64 --patch 128
"""

from __future__ import annotations

import argparse
import itertools
import math
import time

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from manifoldnet.insar.metrics import rmse_by_coherence, wrapped_rmse
from manifoldnet.insar.moduli import coherence_of_phasors
from manifoldnet.insar.phase_net import Observed, PhaseNet
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe
from manifoldnet.insar.train import squared_error
from manifoldnet.insar.training_data import SimulatedPatches

CHANNELS = ((24, 40, 56), (24, 40, 56))
PLAIN = (37, 58, 84, 97)  # as many parameters


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


class Told(nn.Module):
    """A network of separate images, as losses call it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *known: Tensor) -> list[Tensor]:
        return self.net(Observed(*known))


def trained(model: nn.Module, data: SimulatedPatches, seconds: float, lr: float, device: str) -> int:
    """Train for some seconds, the data's time counted, with a cosine in time; returns the number of steps."""
    model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=1e-4)
    start, step = time.perf_counter(), 0
    while (share := (time.perf_counter() - start) / seconds) < 1:
        rate = lr * min(1.0, share / 0.05 + 0.01) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        *known, phase = data(step)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = squared_error(model, *known, phase)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
    model.cpu().eval()
    return step


@torch.no_grad()
def errors(model: nn.Module, looks: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Estimates, true phases and coherences of test scenes of 256 x 256 pixels, seen as phases only."""
    generator = torch.Generator().manual_seed(4242)
    phase, coherence, _ = scenes(count, 256, generator=generator)
    observed, _ = observe(phase, coherence, looks, generator)
    phasor, one = torch.polar(torch.ones_like(phase), observed.angle()), torch.ones_like(phase)
    known = phasor, coherence_of_phasors(phasor, one), one, 0 * one
    found = [model(*(image[k : k + 1] for image in known))[-1].angle() for k in range(count)]
    return torch.cat(found), phase, coherence


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--scenes", type=int, default=240, help="of the pool of training scenes")
    parser.add_argument("--test", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = {"seed": given.seed, "scenes": given.scenes, "scene_size": 256, "batch": given.batch, "patch": given.patch}
    data = SimulatedPatches(config, given.device)
    torch.manual_seed(given.seed)
    models = {
        "plain U-Net": Told(Plain()),
        "ours": Told(PhaseNet(CHANNELS, generator=torch.Generator().manual_seed(given.seed))),
    }
    title = f"{given.seconds:g} s each on {given.device}, {torch.get_num_threads()} threads, phases only"
    columns = ("parameters", "steps", "looks", "RMSE", "<.3", ".3-.6", ">.6", "better on")
    table = Table("", *columns, title=title, box=box.SIMPLE)
    first: dict[float, list[float]] = {}
    for name, model in models.items():
        steps = trained(model, data, given.seconds, given.lr, given.device)
        size = sum(p.numel() for p in model.parameters())
        for looks in (1.0, 4.0):
            found, phase, coherence = errors(model, looks, given.test)
            cells = [wrapped_rmse(found, phase), *rmse_by_coherence(found, phase, coherence).values()]
            own = [wrapped_rmse(a, b) for a, b in zip(found, phase, strict=True)]
            better = sum(a < b for a, b in zip(own, first.setdefault(looks, own), strict=True))
            shown = [str(size), str(steps), f"{looks:g}", *(f"{cell:.3f}" for cell in cells)]
            table.add_row(name, *shown, f"{better} of {given.test}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
