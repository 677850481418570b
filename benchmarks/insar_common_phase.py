"""By how much a common phase fails to pass through the denoiser of interferograms in float32, pixel by pixel.

python benchmarks/insar_common_phase.py                 # 32 scenes a row, half a minute each
python benchmarks/insar_common_phase.py --steady 0 0.02 # without and with phases that are replaced
"""

from __future__ import annotations

import argparse
import math

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from manifoldnet.insar import model
from manifoldnet.insar.evaluate import observations
from manifoldnet.insar.metrics import residues, wrapped_rmse
from manifoldnet.linalg import wrap_angle

SIZE, STREAM = 256, 6
WANTED = 1e-5  # radians


def main() -> None:
    """Print how many pixels are off by more than 1e-5 rad, how many scenes have one, and the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("--seed", type=int, default=6161)
    parser.add_argument("--looks", type=float, nargs="+", default=[1, 4])
    parser.add_argument("--steady", type=float, nargs="+", default=[model.STEADY], help="see STEADY")
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = ("looks", "replaced below", "pixels off", "of", "scenes with one", "worst, rad", "RMSE", "residues left %")
    table = Table(*names, box=box.SIMPLE)
    for looks in given.looks:
        scenes = observations(given.scenes, SIZE, looks, given.seed, STREAM)
        phases = scenes.observed.angle()
        turns = 2 * math.pi * torch.arange(1, len(phases) + 1, dtype=torch.float64) / (len(phases) + 1)
        for steady in given.steady:
            model.STEADY = steady
            plain = torch.stack([model.denoise(phase) for phase in phases])
            turned = (wrap_angle(phase.double() + turn).float() for phase, turn in zip(phases, turns, strict=True))
            again = torch.stack([model.denoise(phase) for phase in turned])
            error = wrap_angle(again.double() - plain.double() - turns[:, None, None]).abs()
            off = error > WANTED
            left = 100 * residues(plain) / residues(phases)
            counts = (int(off.sum()), off.numel(), int(off.flatten(1).any(1).sum()))
            figures = (float(error.max()), wrapped_rmse(plain, scenes.phase), left)
            table.add_row(f"{looks:g}", f"{steady:g}", *map(str, counts), *(f"{x:.3g}" for x in figures))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
