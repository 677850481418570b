"""The denoiser of tensors beside a plain twin: a CNN of six log-Euclidean channels, of the same size; see README.md.

Both are trained for the same time of one CPU core on the same crops and told the same, and how far each is followed is
chosen on the slices of the training scan that are kept for that. So is the mean of all seeds' networks, as the shipped
weights are one.

python benchmarks/dti_twins.py --seconds 600
python benchmarks/dti_twins.py --seconds 600 --tenth --seeds 0 1 2
python benchmarks/dti_twins.py --seconds 1250 --only CNN --seeds 2052 2053 2054 # as long as the shipped weights took

With --ratio on the loss and the share of phantoms that suit the CNN better on scans. With --refined the last fifth of
the time is a refinement like that of the shipped weights, and what is measured before it has rows of its own.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import math
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from timed_training import trained
from torch import Tensor, nn
from torch.nn import functional

from manifoldnet.dti.examples import Crops, ScanSource, from_step
from manifoldnet.dti.metrics import scores
from manifoldnet.dti.model import DtiDenoiser, Known, filtered, told_by_signals
from manifoldnet.dti.protocol import TRIALS, TUNING, Case, Trial, splits
from manifoldnet.dti.train import loss_function, move, pools, shipped_config
from manifoldnet.linalg import compilation
from manifoldnet.nn import SPDEnsemble

WIDTH = 12  # as many parameters as ours
DILATIONS = (1, 2, 4, 2)
STRENGTHS = (0.4, 0.55, 0.7, 0.85, 1.0)
INPUTS = 6 + 6 + 5
MODES = ("tensors", "signals")
#: about a tenth of the voxels that are trained on, of each scan
TENTHS = {
    "tractseg": (slice(20, 50), slice(28, 60), slice(4, 28)),
    "nlsam": (slice(8, 38), slice(36, 66), slice(4, 18)),
}


class LogCNN(nn.Module):
    """Residual 3 x 3 x 3 convolutions of the components of logarithms and of all else that ours is told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(INPUTS, width, 3, padding=1)
        self.body = nn.ModuleList([nn.Conv3d(width, width, 3, padding=d, dilation=d) for d in DILATIONS])
        self.last = nn.Conv3d(width, 6, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
        self.width, self.error = width, nn.Conv3d(width, 1, 1)

    def forward(self, *told: Tensor | None) -> Tensor:
        return self.with_features(*told)[0]

    def with_features(
        self,
        logs: Tensor,
        mask: Tensor,
        sigma: Tensor,
        directions: Tensor,
        filtered: Tensor | None = None,
        slab: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        inside = mask.to(logs.dtype)
        n = directions[:, None, None, None, None] * inside
        other = torch.zeros_like(logs) if filtered is None else filtered
        told = [inside, sigma, (sigma > 0).to(logs.dtype), n.clamp_min(1).log(), inside * (filtered is not None)]
        x = self.first(torch.cat([torch.where(mask, logs, 0.0), torch.where(mask, other, 0.0), *told], 1))
        for layer in self.body:
            x = x + layer(functional.gelu(x))
        start = logs if filtered is None else 0.5 * (logs + filtered)
        features = functional.gelu(x)
        return torch.where(mask, start + self.last(features), 0.0), features


class Mean(SPDEnsemble):
    """The mean of plain networks."""

    def with_features(self, *told: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        outs, features = zip(*(member.with_features(*told) for member in self._each()), strict=True)
        return torch.stack(outs).mean(0), torch.cat(features, 1)


class Twin(DtiDenoiser):
    """The plain network in the place of ours."""

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.net = Mean(LogCNN(WIDTH) for _ in range(config["members"]))  # type: ignore[misc]


KINDS: dict[str, type[DtiDenoiser]] = {"CNN": Twin, "ours": DtiDenoiser}


def crops(config: dict[str, Any], tenth: bool) -> Crops:
    """The training data of the configuration, or a tenth of them."""
    if not tenth:
        return Crops(pools(config), config)
    phantoms, *scans = pools({**config, "phantoms": max(1, config["phantoms"] // 10)})
    parts = [phantoms]
    for pool, about in zip(scans, config["scans"], strict=True):
        (scan,), box = pool.sources, TENTHS[about["name"]]
        assert isinstance(scan, ScanSource)
        part = dataclasses.replace(scan, signals=scan.signals[box].contiguous(), mask=scan.mask[box])
        parts.append(pool._replace(sources=[part]))
    return Crops(parts, {**config, "slab": 30})


@functools.cache
def cases_of(trial: Trial, seed: int) -> list[tuple[Case, dict[str, Known]]]:
    """The cases of a split and what is known of each; finding that takes longer than all networks."""
    (cases,) = splits(trial, [seed])
    found = []
    for one in cases:
        signals = told_by_signals(1e-3 * one.noisy, one.mask, one.signals, one.bvals, one.bvecs)
        tensors = Known(torch.zeros_like(signals.sigma), signals.directions)
        found.append((one, {"tensors": tensors, "signals": signals}))
    return found


def figures(model: DtiDenoiser, trial: Trial, seed: int, mode: str) -> tuple[float, float]:
    """dSNR and FA bias on a split, as :func:`manifoldnet.dti.evaluate.evaluate_scans` has them."""
    noisy, true, estimate = [], [], []
    for one, known in cases_of(trial, seed):
        tensors = 1e3 * filtered(1e-3 * one.noisy, one.mask, known[mode], model).tensors
        for values, parts in ((one.noisy, noisy), (one.reference, true), (tensors, estimate)):
            parts.append(values[one.mask])
    found = scores(torch.cat(estimate), torch.cat(noisy), torch.cat(true))
    return found["delta_snr"], found["fa_bias"]


def follow(model: DtiDenoiser) -> None:
    """Set how far the model's results are followed to what is best on the tuning slices."""
    model.lean = {"signals": (0.0, 0.0)}
    for mode in MODES:
        gains = {}
        for strength in STRENGTHS:
            model.strength[mode] = (strength, 0.0)
            gains[strength] = figures(model, TUNING, 0, mode)[0]
        model.strength[mode] = (max(gains, key=lambda strength: gains[strength]), 0.0)


@compilation("never")
def measure(name: str, model: DtiDenoiser, seeds: int, gains: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    """Add gain and FA bias on every test set, followed as far as is best on the tuning slices."""
    follow(model)
    for trial in TRIALS:
        for mode in MODES:
            found = [figures(model, trial, seed, mode) for seed in range(seeds)]
            gain, bias = np.mean(found, 0)
            gains.setdefault((trial.name, f"{name}, {mode}"), []).append((float(gain), float(bias)))


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--tenth", action="store_true", help="train on a tenth of the data")
    parser.add_argument("--ratio", action="store_true", help="the ratio as the loss, fewer phantoms")
    parser.add_argument("--refined", action="store_true", help="FA counts for more in the last fifth of the time")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    # crops with much noise are the smaller part of the ratio itself, as little of theirs is left
    of = torch.clone if given.ratio else torch.log
    parts = [("", 1.0, 1.0)]  # what its rows are called, share of the time, learning rate
    if given.refined:
        parts = [("", 0.8, 1.0), (", refined", 0.2, 1 / 3)]
    gains: dict[tuple[str, str], list[tuple[float, float]]] = {}
    members: dict[tuple[str, str], list[Any]] = {}
    for seed in given.seeds:
        config = {**shipped_config(), "seed": seed, "members": 1}
        if given.ratio:
            config["scans"] = [{**scan, "share": 4 / 3 * scan["share"]} for scan in config["scans"]]
        data = crops(config, given.tenth)
        for name in given.only:
            torch.manual_seed(seed)
            model = KINDS[name](config, torch.Generator().manual_seed(seed))
            size, steps = sum(p.numel() for p in model.parameters()), []
            for part, share, rate in parts:
                before = [parameter.detach().clone() for parameter in model.parameters()]
                loss = loss_function(config["fa_weight"], config["refined_fa_weight"] if part else None, of)
                examples, seconds = from_step(data, sum(steps)), share * given.seconds
                steps.append(trained(model, examples, loss, seconds, config["optimizer"], rate * config["lr"]))
                move(model, before, config["refined_share"] if part else 1.0)
                members.setdefault((name, part), []).extend(copy.deepcopy(model.net.members))
                measure(name + part, model, given.splits, gains)
            print(f"{name}, seed {seed}: {size} parameters, {' + '.join(map(str, steps))} steps", flush=True)
    for (name, part), found in members.items() if len(given.seeds) > 1 else ():
        model = KINDS[name]({**shipped_config(), "members": len(found)}).eval()
        model.net = type(model.net)(found)
        measure(f"mean of {name}{part}", model, given.splits, gains)
    what = "a tenth of the data" if given.tenth else "all data"
    title = (
        f"{given.seconds:g} s each on one core, {what}, dSNR in dB, mean and standard error of {len(given.seeds)} seeds"
    )
    table = Table("data", "method", "dSNR", "+-", "FA bias", title=title, box=box.SIMPLE)
    for (trial, method), found in gains.items():
        gain, bias = np.transpose(found)
        spread = f"{np.std(gain, ddof=1) / math.sqrt(len(gain)):.2f}" if len(gain) > 1 else ""
        table.add_row(trial, method, f"{gain.mean():.2f}", spread, f"{bias.mean():.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
