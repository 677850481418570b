"""Time of an optimiser's step beside geoopt's and torch's, as ratios within the same run; see README.md.

python benchmarks/optimisers.py
python benchmarks/optimisers.py --quick
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import geoopt
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from timing import interleaved, ratio
from torch import Tensor

import manifoldnet as mn
from manifoldnet.training.riemannian_adam import RiemannianAdam
from manifoldnet.training.riemannian_sgd import RiemannianSGD

# geoopt has no rotations, so its optimiser gets our space there
SPACES: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
    "SPD, affine-invariant": (lambda: mn.SPD("affine-invariant", n=3), geoopt.SymmetricPositiveDefinite),
    "SO3": (mn.SO3, None),
    "Stiefel": (lambda: mn.Stiefel(3, 3), geoopt.CanonicalStiefel),
}
LR = 1e-4
# geoopt's time over ours, at least, and ours over torch's, at most
FASTER, SLOWER = 20.0, 5.0


def parameters(points: Tensor, make: Callable[[], Any] | None) -> list[Tensor]:
    """One parameter for each point with a small gradient, each on a space object of its own; plain ones for None."""
    generator = torch.Generator().manual_seed(1)
    found: list[Tensor] = []
    for x in points:
        p = torch.nn.Parameter(x.clone()) if make is None else geoopt.ManifoldParameter(x.clone(), manifold=make())
        p.grad = 1e-2 * torch.randn(x.shape, dtype=torch.double, generator=generator).to(x)
        found.append(p)
    return found


def sgd_steps(points: Tensor, ours: Callable[[], Any], theirs: Callable[[], Any] | None) -> dict[str, Any]:
    """A step of gradient descent with momentum by each candidate."""
    options = {"lr": LR, "momentum": 0.9}
    candidates = {
        "ours": RiemannianSGD(parameters(points, ours), **options).step,
        "ours, expmap": RiemannianSGD(parameters(points, ours), retraction="expmap", **options).step,
        "geoopt on our space": geoopt.optim.RiemannianSGD(parameters(points, ours), **options).step,
        "torch foreach": torch.optim.SGD(parameters(points, None), foreach=True, **options).step,
        "torch": torch.optim.SGD(parameters(points, None), foreach=False, **options).step,
    }
    if theirs is not None:
        candidates["geoopt"] = geoopt.optim.RiemannianSGD(parameters(points, theirs), **options).step
    return candidates


def adam_steps(points: Tensor, ours: Callable[[], Any], theirs: Callable[[], Any] | None) -> dict[str, Any]:
    """A step of Adam by each candidate."""
    candidates = {
        "ours": RiemannianAdam(parameters(points, ours), lr=LR).step,
        "ours, expmap": RiemannianAdam(parameters(points, ours), lr=LR, retraction="expmap").step,
        "geoopt on our space": geoopt.optim.RiemannianAdam(parameters(points, ours), lr=LR).step,
        "torch foreach": torch.optim.Adam(parameters(points, None), lr=LR, foreach=True).step,
        "torch": torch.optim.Adam(parameters(points, None), lr=LR, foreach=False).step,
    }
    if theirs is not None:
        candidates["geoopt"] = geoopt.optim.RiemannianAdam(parameters(points, theirs), lr=LR).step
    return candidates


def repeated(step: Callable[[], object], times: int) -> Callable[[], object]:
    """What is timed: so many steps, because one of ours is over before a busy machine has warmed its caches."""
    return lambda: [step() for _ in range(times)]


METHODS = {"SGD with momentum": sgd_steps, "Adam": adam_steps}


def measure(name: str, method: str, dtype: torch.dtype, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    ours, theirs = SPACES[name]
    generator = torch.Generator().manual_seed(0)
    points = ours().random(options.count, 3, 3, dtype=dtype, generator=generator).to(options.device)
    steps = METHODS[method](points, ours, theirs)
    calls = {label: repeated(step, options.steps) for label, step in steps.items()}
    seconds = {label: [t / options.steps for t in times] for label, times in interleaved(calls, options.rounds).items()}
    geoopts = {label: ratio(times, seconds["ours"]) for label, times in seconds.items() if label.startswith("geoopt")}
    return {
        "space": name,
        "method": method,
        "dtype": str(dtype).removeprefix("torch."),
        "ms": {label: 1e3 * median(times) for label, times in seconds.items()},
        "best of geoopt": min(geoopts, key=geoopts.__getitem__),
        "geoopt / ours": min(geoopts.values()),
        "ours / torch foreach": ratio(seconds["ours"], seconds["torch foreach"]),
        "ours, expmap / torch foreach": ratio(seconds["ours, expmap"], seconds["torch foreach"]),
    }


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Milliseconds and ratios, and whether the ratios wanted of SGD with momentum hold."""
    labels = ("ours", "ours, expmap", "geoopt", "geoopt on our space", "torch foreach", "torch")
    ratios = ("geoopt / ours", "ours / torch foreach", "ours, expmap / torch foreach")
    table = Table(title="milliseconds a step; ratios are medians over the rounds", box=box.SIMPLE)
    for column in ("space", "method", "dtype", *labels, *ratios):
        table.add_column(column, justify="left" if column in ("space", "method", "dtype") else "right")
    for row in rows:
        times = [f"{row['ms'][label]:.2f}" if label in row["ms"] else "-" for label in labels]
        table.add_row(row["space"], row["method"], row["dtype"], *times, *(f"{row[name]:.1f}" for name in ratios))
    console.print(table)
    chosen = [row for row in rows if row["method"] == "SGD with momentum"]
    if chosen:
        least, most = min(r["geoopt / ours"] for r in chosen), max(r["ours / torch foreach"] for r in chosen)
        console.print(f"geoopt / ours with momentum: wanted at least {FASTER:g}, smallest {least:.1f}")
        console.print(f"ours / torch foreach with momentum: wanted at most {SLOWER:g}, largest {most:.1f}")
        console.print(f"bars {'hold' if least >= FASTER and most <= SLOWER else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="number of 3 x 3 parameters")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5, help="of each candidate in a round")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the same as --rounds 3 --dtype float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.dtype = 3, ["float32"]
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    console = Console(width=200)
    console.print(
        f"torch {torch.__version__}, geoopt {geoopt.__version__}, {options.device}, {options.threads} thread(s), "
        f"{options.count} parameters, {options.rounds} rounds of {options.steps} steps, wall clock; {os.cpu_count()} "
        f"processors, load at the start {os.getloadavg()[0]:.1f}"
    )
    rows = [
        measure(name, method, getattr(torch, dtype), options)
        for dtype in options.dtype
        for method in options.method
        for name in SPACES
    ]
    show(rows, console)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
