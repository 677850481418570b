"""Nested spirals and the gradients of networks of 64 layers: docs/nested_spirals.png; see README.md.

python benchmarks/nested_spirals.py
python benchmarks/nested_spirals.py --search    # the starts and learning rates that were tried, on other points
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

import manifoldnet as mn

mpl.rcParams.update({"font.size": 10, "savefig.dpi": 80})
# Okabe and Ito 2008
BLUE, RED = "#0072B2", "#D55E00"
LAYERS = 64
FEATURES = 8  # of every network; the Hamiltonian one has 4 positions and 4 momenta
T1 = 8.0
TURNS = 2.5
NOISE = 0.015
SCALE = 2.0
POINTS, HELD_OUT = 600, 2000
ITERATIONS = 400
MEASURED = 200  # held-out points at which Jacobians are taken
ROUNDING = 1e-10

Layer = Callable[[Tensor], Tensor]
Start = Literal["xavier", "orthogonal"]


def spirals(points: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points (points, 2) of two arms of radius up to SCALE, evenly along them, and the arm (points,) of each."""
    generator = torch.Generator().manual_seed(seed)
    arm = torch.arange(points) % 2
    radius = (0.02 + 0.98 * torch.rand(points, generator=generator)).sqrt()
    angle = 2 * math.pi * TURNS * radius + math.pi * arm
    x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return SCALE * (x + NOISE * torch.randn(points, 2, generator=generator)), arm


def tanh_layer(A: Tensor, b: Tensor, x: Tensor) -> Tensor:
    return torch.tanh(x @ A.mT + b)


class PlainNet(nn.Module):
    """x <- tanh(A_k x + b_k).

    Args:
        start: "xavier" for normal weights of variance 1 / features, or "orthogonal".
        gain: factor of the weights at the start.
    """

    def __init__(self, features: int, layers: int, start: Start, gain: float, generator: torch.Generator) -> None:
        super().__init__()
        A = features**-0.5 * torch.randn(layers, features, features, generator=generator)
        self.A = nn.Parameter(gain * (A if start == "xavier" else torch.linalg.qr(A).Q))
        self.b = nn.Parameter(torch.zeros(layers, features))

    def layers(self) -> list[Layer]:
        return [partial(tanh_layer, A, b) for A, b in zip(self.A, self.b, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)
        return x


Body = PlainNet | mn.nn.Flow


class Classifier(nn.Module):
    """Points of the plane, lifted with zeros to as many features as the body has, and a linear layer on top."""

    def __init__(self, body: Body, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.features, self.body = features, body
        self.W = nn.Parameter(features**-0.5 * torch.randn(2, features, generator=generator))
        self.c = nn.Parameter(torch.zeros(2))

    def lift(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, self.features - 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.lift(x)) @ self.W.mT + self.c


def hamiltonian_net(seed: int, features: int = FEATURES, layers: int = LAYERS, t1: float = T1) -> Classifier:
    """Step k drifts with the parameters of interval k and kicks with those of the next one, at whose start it ends."""
    generator = torch.Generator().manual_seed(seed)
    field = mn.fields.HamiltonianField(
        features // 2, features, time="piecewise-constant", knots=layers, t1=t1, generator=generator
    )
    return Classifier(mn.nn.Flow(field, "symplectic-euler", layers, t1), features, generator)


def residual_net(seed: int, features: int = FEATURES, layers: int = LAYERS, t1: float = T1) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    field = mn.fields.ResNetField(features, time="piecewise-constant", knots=layers, t1=t1, generator=generator)
    return Classifier(mn.nn.Flow(field, "euler", layers, t1), features, generator)


def plain_net(
    seed: int, start: Start = "xavier", gain: float = 1.0, features: int = FEATURES, layers: int = LAYERS
) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    return Classifier(PlainNet(features, layers, start, gain, generator), features, generator)


def flow_step(flow: mn.nn.Flow, k: int, h: float, y: Tensor) -> Tensor:
    t, length = (torch.tensor(number, dtype=y.dtype) for number in (k * h, h))
    return flow.method.step(flow.field, flow.method.action_on(flow.space), t, length, y)


def layers_of(body: Body) -> list[Layer]:
    """The maps y_k -> y_{k+1}."""
    if isinstance(body, PlainNet):
        return body.layers()
    assert isinstance(body.steps, int)
    return [partial(flow_step, body, k, body.t1 / body.steps) for k in range(body.steps)]


def jacobian(layer: Layer, y: Tensor) -> Tensor:
    """(batch, n, n): the derivative of the layer at every point of the batch."""
    y = y.detach().requires_grad_()
    out = layer(y)
    rows = [torch.autograd.grad(out[:, i].sum(), y, retain_graph=True)[0] for i in range(y.shape[-1])]
    return torch.stack(rows, 1)


def sensitivities(body: Body, y0: Tensor) -> Tensor:
    """(layers, batch): the spectral norm of d y_N / d y_k for k = 0, ..., N - 1."""
    layers, points = layers_of(body), [y0]
    with torch.no_grad():
        for layer in layers:
            points.append(layer(points[-1]))
    total = torch.eye(y0.shape[-1], dtype=y0.dtype)
    norms = []
    for layer, y in zip(layers[::-1], points[-2::-1], strict=True):
        total = total @ jacobian(layer, y)
        norms.append(torch.linalg.matrix_norm(total, 2))
    return torch.stack(norms[::-1])


def gradient_ratio(net: Classifier, x: Tensor, arm: Tensor) -> float:
    """|d loss / d parameters of the first layer| over that of the last one."""
    net.zero_grad()
    functional.cross_entropy(net(x), arm).backward()
    grads = [p.grad for p in net.body.parameters() if p.grad is not None]
    first, last = (math.sqrt(sum(float(g[k].square().sum()) for g in grads)) for k in (0, -1))
    return first / last


def train(net: Classifier, x: Tensor, arm: Tensor, rate: float, iterations: int) -> None:
    """Adam on all points at once, the rate rising for a tenth of the time and then falling to zero."""
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, iterations, pct_start=0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), arm).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(net: Classifier, x: Tensor, arm: Tensor) -> float:
    return (net(x).argmax(-1) == arm).double().mean().item()


@dataclass(frozen=True)
class Contestant:
    """A network and its learning rate."""

    make: Callable[[int], Classifier]
    rate: float


STARTS: dict[str, Callable[[int], Classifier]] = {
    "Hamiltonian": hamiltonian_net,
    "tanh, Xavier": plain_net,
    "tanh, Xavier x 5/3": partial(plain_net, gain=5 / 3),
    "tanh, orthogonal": partial(plain_net, start="orthogonal"),
    "tanh, orthogonal x 1.1": partial(plain_net, start="orthogonal", gain=1.1),
    "residual": residual_net,
}
RATES = (0.0003, 0.001, 0.003, 0.01)
CONTESTANTS = {  # the best rates that were tried
    "Hamiltonian": Contestant(hamiltonian_net, 0.01),
    "tanh, Xavier": Contestant(plain_net, 0.0003),
    "tanh, orthogonal x 1.1": Contestant(STARTS["tanh, orthogonal x 1.1"], 0.003),
    "residual": Contestant(residual_net, 0.01),
}


@dataclass
class Result:
    """A trained network in float64, with what was measured before and after the training."""

    net: Classifier
    sizes: tuple[Tensor, Tensor]  # spectral norms (layers, batch)
    ratios: tuple[float, float]
    accuracy: float
    seconds: float


def run(contestant: Contestant, iterations: int = ITERATIONS) -> Result:
    """Train in float32, measure in float64."""
    (x, arm), (held_out, its_arm) = spirals(POINTS, 0), spirals(HELD_OUT, 1)
    net = contestant.make(0)
    start = time.process_time()

    def measured() -> tuple[Tensor, float]:
        net.double()
        found = sensitivities(net.body, net.lift(held_out[:MEASURED].double())), gradient_ratio(net, x.double(), arm)
        net.float()
        return found

    before = measured()
    train(net, x, arm, contestant.rate, iterations)
    after = measured()
    score = accuracy(net, held_out, its_arm)
    return Result(net, (before[0], after[0]), (before[1], after[1]), score, time.process_time() - start)


def table(results: dict[str, Result]) -> Table:
    """Smallest norms over layers and points, and those of the first layer."""
    out = Table(title=f"two arms of {TURNS} turns, {LAYERS} layers of {FEATURES} features", box=box.SIMPLE)
    out.add_column("net", no_wrap=True)
    for quantity in ("held\nout", "least\nsigma", "", "median\nsigma_0", "", "gradient\nfirst / last", "", "\ns"):
        out.add_column(quantity, justify="right")
    out.add_row("", "", *("start", "trained") * 3, "")
    for name, result in results.items():
        least = [f"{s.min().item():.3g}" for s in result.sizes]
        first = [f"{s[0].median().item():.3g}" for s in result.sizes]
        ratios = [f"{r:.2g}" for r in result.ratios]
        out.add_row(name, f"{result.accuracy:.3f}", *least, *first, *ratios, f"{result.seconds:.0f}")
    return out


def search(console: Console) -> None:
    """Accuracies on points that neither train nor are held out, for all starts and learning rates, as they come."""
    (x, arm), (other, its_arm) = spirals(POINTS, 0), spirals(HELD_OUT, 2)
    console.print("accuracy by learning rate:", *RATES)
    for name, make in STARTS.items():
        scores = []
        for rate in RATES:
            net = make(0)
            train(net, x, arm, rate, ITERATIONS)
            scores.append(f"{accuracy(net, other, its_arm):7.3f}")
        console.print(f"{name:24s}", *scores)


def draw_regions(axes: Axes, result: Result, name: str) -> None:
    """Where the net sees which arm, and some held-out points."""
    grid = np.linspace(-1.15 * SCALE, 1.15 * SCALE, 160)
    points = torch.tensor(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), dtype=torch.float32)
    with torch.no_grad():
        share = result.net(points).softmax(-1)[:, 1].reshape(len(grid), -1).numpy()
    colours = mpl.colors.LinearSegmentedColormap.from_list("arms", [BLUE, "white", RED])
    axes.pcolormesh(grid, grid, share, cmap=colours, vmin=0, vmax=1, alpha=0.6, rasterized=True)
    x, arm = spirals(400, 1)
    for k, colour in enumerate((BLUE, RED)):
        axes.plot(*x[arm == k].T.numpy(), ".", color=colour, markersize=2.5)
    axes.set(title=f"{name}: {result.accuracy:.1%}", xticks=[], yticks=[], aspect="equal")


def draw_sizes(axes: Axes, result: Result) -> None:
    """Median, least and greatest spectral norm over the points, against the layer."""
    for sizes, colour, label in zip(result.sizes, ("0.55", "black"), ("at the start", "trained"), strict=True):
        layer = np.arange(len(sizes))
        axes.fill_between(layer, sizes.amin(1), sizes.amax(1), color=colour, alpha=0.25, linewidth=0)
        axes.semilogy(layer, sizes.median(1).values, color=colour, label=label)
    axes.axhline(1.0, color=RED, linewidth=0.8)
    axes.set(xlabel="layer k", ylim=(1e-11, 1e4))
    axes.grid(alpha=0.3)


def draw(results: dict[str, Result]) -> Figure:
    figure = Figure(figsize=(3.4 * len(results), 6.4), layout="constrained")
    above, below = figure.subplots(2, len(results), height_ratios=(3, 2))
    for column, (name, result) in enumerate(results.items()):
        draw_regions(above[column], result, name)
        draw_sizes(below[column], result)
    below[0].set_ylabel("|d y_N / d y_k|, range over points")
    below[0].legend(loc="lower right")
    return figure


def main() -> None:
    """Train the networks, print what was measured and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / "docs")
    parser.add_argument("--search", action="store_true", help="compare starts and learning rates instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.search:
        return search(Console(width=120))
    given.folder.mkdir(exist_ok=True)
    results = {name: run(contestant) for name, contestant in CONTESTANTS.items()}
    Console(width=120).print(table(results))
    least = min(sizes.min().item() for sizes in results["Hamiltonian"].sizes)
    assert least >= 1 - ROUNDING, f"a Hamiltonian layer shrinks all gradients, to {least}"
    draw(results).savefig(given.folder / "nested_spirals.png")


if __name__ == "__main__":
    main()
