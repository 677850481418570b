"""Pictures of the integrators: work against error on rotations, energy over long times; see README.md.

python benchmarks/integrator_pictures.py
python benchmarks/integrator_pictures.py --folder docs --only energy
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from orders import F64, Oscillator, rotation, vector
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

import manifoldnet as mn
from manifoldnet.integrators import METHODS
from manifoldnet.integrators.methods import Method

mpl.rcParams.update({"font.size": 11, "axes.grid": True, "grid.alpha": 0.3, "savefig.dpi": 100})
# Okabe and Ito 2008
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
FAMILIES = {
    "rkmk": BLUE,
    "minimal-commutator": SKY,
    "crouch-grossman": RED,
    "commutator-free": GREEN,
    "low-storage": ORANGE,
    "symmetric-lie": PURPLE,
}
MARKERS = {1: "x", 2: "o", 3: "^", 4: "s", 5: "D"}
ROUNDING = 1e-13  # errors near it say nothing
LARGEST = {"steps": 512, "evaluations": 1600}
ROUNDS = 5
TARGET = 1e-6
ENERGY = {
    "rk4": BLACK,
    "symplectic-euler": ORANGE,
    "stormer-verlet": SKY,
    "yoshida4": GREEN,
    "suzuki4": RED,
}
STEPS, LENGTH = 100_000, 0.1


class Counted:
    """A field that counts its calls."""

    def __init__(self, field: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.field, self.calls = field, 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.field(t, y)


def turn(method: Method, field: Callable[[Tensor, Tensor], Tensor], steps: int) -> Tensor:
    """The rotation at time 1 after equal steps."""
    action, y = method.action_on(mn.SO3()), rotation().y0
    h = torch.tensor(1.0 / steps, dtype=F64)
    for k in range(steps):
        y = method.step(field, action, k * h, h, y)
    return y


def work() -> dict[str, np.ndarray]:
    """Method -> rows of (evaluations, milliseconds of the processor, error); steps double from row to row."""
    problem, rows, calls = rotation(), {}, {}
    methods = [m for m in METHODS.values() if m.domain == "lie"]
    for method in methods:
        steps = 2
        while steps <= LARGEST["steps"]:
            field = Counted(problem.field)
            error = (turn(method, field, steps) - problem.solution).abs().max().item()
            if error < ROUNDING or field.calls > LARGEST["evaluations"]:
                break
            rows[method.name, steps] = field.calls, error
            calls[f"{method.name} {steps}"] = lambda m=method, n=steps: turn(m, problem.field, n)
            steps *= 2
    seconds: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(ROUNDS):  # methods take turns, so that a busy machine slows all of them alike
        for label, call in calls.items():
            start = time.thread_time()
            call()
            seconds[label].append(time.thread_time() - start)
    found = {}
    for method in methods:
        mine = [
            (evaluations, 1e3 * median(seconds[f"{name} {n}"]), error)
            for (name, n), (evaluations, error) in rows.items()
            if name == method.name
        ]
        found[method.name] = np.array(mine)
    return found


def draw_work(found: dict[str, np.ndarray]) -> Figure:
    """Colours are families, markers orders; the second of a family and an order is dashed."""
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    seen: list[tuple[str, int]] = []
    for name in sorted(found, key=lambda name: list(FAMILIES).index(METHODS[name].family)):
        method, (evaluations, milliseconds, error) = METHODS[name], found[name].T
        kind = method.family, method.order
        style = {
            "color": FAMILIES[method.family],
            "marker": MARKERS[method.order],
            "linestyle": "--" if kind in seen else "-",
            "markerfacecolor": "white" if kind in seen else FAMILIES[method.family],
            "markersize": 5,
            "linewidth": 1.3,
        }
        seen.append(kind)
        axes[0].loglog(evaluations, error, label=f"{name} ({method.order})", **style)
        axes[1].loglog(milliseconds, error, **style)
    axes[0].set(xlabel="field evaluations per unit of time", ylabel="largest error at time 1")
    axes[1].set(xlabel="milliseconds of one processor core per unit of time")
    figure.suptitle("rotations, y' = hat(f(t, y)) y, float64; in brackets the order")
    figure.legend(loc="outside right center", fontsize=10)
    return figure


class Pendulum(Oscillator):
    """H = p^2 / 2 - cos q + 0.1 q^4, with its two halves for the methods that ask for one at a time."""

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        return p

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        return -(torch.sin(q) + 0.4 * q**3)


@torch.no_grad()
def energy(method: Method) -> np.ndarray:
    """H(y_k) - H(y_0) for k = 1, 2, ..."""
    field, action = Pendulum(drive=0.0), method.action_on(mn.Euclidean(1))
    t, h = torch.zeros((), dtype=F64), torch.tensor(LENGTH, dtype=F64)  # H does not see the time
    y = vector(1.0, 0.3)
    path = y.new_empty(STEPS + 1, 2)
    path[0] = y
    for k in range(STEPS):
        y = method.step(field, action, t, h, y)
        path[k + 1] = y
    values = field.hamiltonian(t, path)
    return (values[1:] - values[0]).numpy()


def draw_energy(found: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    h0 = abs(Pendulum(drive=0.0).hamiltonian(torch.zeros((), dtype=F64), vector(1.0, 0.3)).item())
    shown = np.unique(np.geomspace(1, STEPS, 1500).astype(int)) - 1
    for name, change in found.items():
        largest = np.maximum.accumulate(np.abs(change)) / h0
        axes.loglog(LENGTH * (shown + 1), largest[shown], color=ENERGY[name], label=name, linewidth=2)
    axes.set(xlabel="time", ylabel="largest |H - H0| / |H0| so far")
    axes.set_title("H = p²/2 - cos q + 0.1 q⁴ from (q, p) = (1, 0.3), steps of 0.1")
    figure.legend(loc="outside right center")
    return figure


def energy_table(found: dict[str, np.ndarray], seconds: dict[str, float]) -> Table:
    """How much larger the error is at the end: 1 where energy does not drift."""
    table = Table(title=f"max |H - H0| over {STEPS} steps of {LENGTH}", box=box.SIMPLE)
    for column in ("method", "first tenth", "last tenth", "last / first", "s"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, change in found.items():
        tenth = len(change) // 10
        first, last = np.abs(change[:tenth]).max(), np.abs(change[-tenth:]).max()
        table.add_row(name, f"{first:.2e}", f"{last:.2e}", f"{last / first:.2f}", f"{seconds[name]:.0f}")
    return table


def work_table(found: dict[str, np.ndarray]) -> Table:
    """Where the curves cross an error, by interpolation of logarithms; > where the largest number of steps does not."""
    table = Table(title=f"to an error of {TARGET:.0e} at time 1", box=box.SIMPLE)
    for column in ("method", "evaluations", "ms"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, rows in found.items():
        logs = np.log(rows[::-1])
        cost = [np.exp(np.interp(np.log(TARGET), logs[:, 2], logs[:, i])) for i in (0, 1)]
        sign = ">" if rows[-1, 2] > TARGET else ""
        table.add_row(name, f"{sign}{cost[0]:.0f}", f"{sign}{cost[1]:.1f}")
    return table


def main() -> None:
    """Write the pictures and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / "docs")
    parser.add_argument("--only", choices=["work", "energy"], help="one of the two pictures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(exist_ok=True)
    console = Console(width=100)
    start = time.perf_counter()
    if given.only != "energy":
        with torch.no_grad():
            costs = work()
        draw_work(costs).savefig(given.folder / "work_precision.png")
        console.print(work_table(costs))
    if given.only != "work":
        changes, seconds = {}, {}
        for name in ENERGY:
            begin = time.perf_counter()
            changes[name] = energy(METHODS[name])
            seconds[name] = time.perf_counter() - begin
        draw_energy(changes).savefig(given.folder / "energy.png")
        console.print(energy_table(changes, seconds))
    console.print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
