"""How often the truth lies within the two widths that the denoiser of interferograms gives, for each kind of input.

python benchmarks/insar_coverage.py                          # 32 scenes, a quarter of an hour
python benchmarks/insar_coverage.py --size 128 --looks 3 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manifoldnet.insar.evaluate import Observations, observations
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.linalg import wrap_angle

STREAM, SEED = 5, 5151  # of random numbers; nothing was trained, tuned or calibrated on them


def inputs(scene: Observations) -> Iterator[tuple[str, Tensor, list[Tensor | None]]]:
    """The kinds of input: what is denoised, and the coherences that are given."""
    nothing: list[Tensor | None] = [None] * len(scene.observed)
    for name, given in (("phase", scene.observed.angle()), ("complex", scene.observed)):
        yield name, given, nothing
        if scene.estimate is not None:
            yield f"{name}, coherence", given, list(scene.estimate)


def main() -> None:
    """Print mean shares of pixels over scenes, and their standard errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--looks", type=float, nargs="+", default=[1, 2, 4, 9])
    parser.add_argument("--weights", default="default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = InsarDenoiser.named(given.weights)
    table = Table("looks", "input", "wanted 68.3 %", "wanted 95 %", box=box.SIMPLE)
    for looks in given.looks:
        scene = observations(given.scenes, given.size, looks, SEED, STREAM)
        for name, images, coherences in inputs(scene):
            shares = []
            for image, coherence, phase in zip(images, coherences, scene.phase, strict=True):
                found = denoise(image, coherence, model=model, uncertainty=True)
                error = wrap_angle(found.phase - phase).abs()
                shares.append([(error <= width).double().mean() for width in (found.uncertainty, found.bound)])
            share = 100 * torch.tensor(shares)
            spread = share.std(0) / given.scenes**0.5
            table.add_row(
                f"{looks:g}", name, *(f"{m:.1f} ± {s:.1f}" for m, s in zip(share.mean(0), spread, strict=True))
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
