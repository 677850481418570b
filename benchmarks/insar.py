"""The denoiser of interferograms beside BM3D and the windowed-Fourier filter, scene by scene; see README.md.

python benchmarks/insar.py              # 16 scenes, a quarter of an hour: BM3D takes 10 s an image
python benchmarks/insar.py --scenes 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manifoldnet.insar.baselines import bm3d, windowed_fourier
from manifoldnet.insar.evaluate import TEST, Observations, observations
from manifoldnet.insar.metrics import residues, rmse_by_coherence, wrapped_rmse
from manifoldnet.insar.model import denoise

SEED, SIZE = 7, 256
SIGMA = {1.0: 0.9, 4.0: 0.7}  # of BM3D: the best of .6 to 1 on the tuning scenes of `manifoldnet evaluate insar`


def estimates(scene: Observations) -> dict[str, Callable[[], Tensor]]:
    """Names and functions of no arguments that give phases (count, H, W)."""
    z = torch.polar(torch.ones_like(scene.phase), scene.observed.angle())
    found: dict[str, Callable[[], Tensor]] = {
        "BM3D": lambda: bm3d(z, sigma=SIGMA[scene.looks]).angle(),
        "windowed Fourier": lambda: windowed_fourier(z, tau=16.0).angle(),
        "ours, phase only": lambda: torch.stack([denoise(image) for image in z]),
        "ours, complex": lambda: torch.stack([denoise(image) for image in scene.observed]),
    }
    known = scene.estimate
    if known is not None:
        found["ours, with coherence"] = lambda: torch.stack(
            [denoise(image, c) for image, c in zip(z, known, strict=True)]
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=16)
    count = parser.parse_args().scenes
    torch.set_num_threads(1)
    console = Console(width=130)
    columns = ("RMSE", "<.3", ".3-.6", ">.6", "residues left %", "over BM3D", "better than BM3D on", "CPU s/image")
    table = Table("looks", "", *columns, title=f"{count} simulated scenes of 256 x 256 pixels", box=box.SIMPLE)
    for looks in SIGMA:
        scene = observations(count, SIZE, looks, SEED, TEST)
        noisy = scene.observed.angle()
        table.add_row(f"{looks:g}", "noisy", f"{wrapped_rmse(noisy, scene.phase):.3f}")
        errors: list[float] = []
        for name, run in estimates(scene).items():
            start = time.process_time()
            found = run()
            spent = (time.process_time() - start) / count
            rmse = wrapped_rmse(found, scene.phase)
            own = [wrapped_rmse(a, b) for a, b in zip(found, scene.phase, strict=True)]
            errors = errors or [rmse, *own]
            bins = rmse_by_coherence(found, scene.phase, scene.coherence).values()
            better = sum(a < b for a, b in zip(own, errors[1:], strict=True))
            share = 100 * residues(found) / residues(noisy)
            cells = [f"{rmse:.3f}", *(f"{x:.3f}" for x in bins), f"{share:.2f}", f"{rmse / errors[0]:.3f}"]
            table.add_row(f"{looks:g}", name, *cells, f"{better} of {count}", f"{spent:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
