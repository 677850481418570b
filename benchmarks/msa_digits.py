"""Successive approximations beside Adam on scikit-learn's digits, binary and ternary weights; see README.md.

python benchmarks/msa_digits.py             # all tables
python benchmarks/msa_digits.py --search    # learning rates and rho, on validation images
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

import manifoldnet as mn
from manifoldnet.training.discrete_weights import BINARY, TERNARY, DiscreteMSA
from manifoldnet.training.msa import INNER_ITERATIONS, msa

SEEDS = 3
BATCH, EPOCHS = 128, 10
LAYERS, TIME = 4, 2.0
DISCRETE_WIDTH, DISCRETE_EPOCHS, DISCRETE_BATCH = 256, 40, 64
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
RHOS = (0.3, 1.0, 3.0)
CHOSEN = {"dense": (3e-2, 1.0), "convolutional": (1e-1, 1.0)}  # the best of --search


class Data(NamedTuple):
    """Images (n, 64) in [0, 1] and their digits."""

    x: Tensor
    digit: Tensor


class Batches:
    """Batches of data in a new order every time."""

    def __init__(self, data: Data, size: int, seed: int) -> None:
        self.data, self.size = data, size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Data]:
        for chosen in torch.randperm(len(self.data.x), generator=self.generator).split(self.size):
            yield Data(self.data.x[chosen], self.data.digit[chosen])

    def __len__(self) -> int:
        return -(-len(self.data.x) // self.size)


def digits(seed: int) -> tuple[Data, Data, Data]:
    """Training (60 %), validation (20 %) and test images (20 %), each with its share of all digits."""
    bunch = load_digits()
    x, digit = torch.tensor(bunch.data / 16, dtype=torch.float32), torch.tensor(bunch.target)
    rest, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=digit, random_state=seed)
    train, validation = train_test_split(rest, test_size=0.25, stratify=digit[rest], random_state=seed)
    return Data(x[train], digit[train]), Data(x[validation], digit[validation]), Data(x[test], digit[test])


def dense(seed: int) -> nn.Sequential:
    """Four residual layers of 64 features and a linear one."""
    torch.manual_seed(seed)
    field = mn.fields.ResNetField(64, time="piecewise-constant", knots=LAYERS, t1=TIME)
    return nn.Sequential(mn.nn.Flow(field, "euler", LAYERS, t1=TIME), nn.Linear(64, 10))


def convolutional(seed: int) -> nn.Sequential:
    """A convolution to 8 channels of 4 x 4 pixels, four residual ones and a linear layer."""
    torch.manual_seed(seed)
    field = mn.fields.ResNetFieldConv2d(8, time="piecewise-constant", knots=LAYERS, t1=TIME, padding="zeros")
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.Tanh(),
        mn.nn.Flow(field, "euler", LAYERS, t1=TIME),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


NETWORKS: dict[str, Callable[[int], nn.Sequential]] = {"dense": dense, "convolutional": convolutional}


class Discrete(nn.Module):
    """64 -> 256 -> 256 -> 10 with tanh, all weights in the levels.

    Layers have no bias; a normalisation over features without parameters follows the hidden ones, and the division by
    sqrt(256) the last.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = (64, DISCRETE_WIDTH, DISCRETE_WIDTH)
        hidden = [
            (nn.Linear(a, b, bias=False), nn.LayerNorm(b, elementwise_affine=False), nn.Tanh())
            for a, b in itertools.pairwise(sizes)
        ]
        self.layers = nn.Sequential(*itertools.chain.from_iterable(hidden), nn.Linear(sizes[-1], 10, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) / math.sqrt(DISCRETE_WIDTH)


@torch.no_grad()
def accuracy(net: nn.Module, data: Data) -> float:
    """Per cent."""
    return 100 * (net(data.x).argmax(1) == data.digit).double().mean().item()


def by_adam(net: nn.Module, data: Data, rate: float, seed: int, epochs: int = EPOCHS) -> nn.Module:
    optimiser = torch.optim.Adam(net.parameters(), rate)
    batches = Batches(data, BATCH, seed)
    for _ in range(epochs):
        for x, digit in batches:
            optimiser.zero_grad()
            functional.cross_entropy(net(x), digit).backward()
            optimiser.step()
    return net


def by_msa(net: nn.Module, data: Data, rho: float, seed: int) -> nn.Module:
    batches = Batches(data, BATCH, seed)
    msa(net, functional.cross_entropy, batches, rho, EPOCHS * len(batches))
    return net


def by_discrete_msa(data: Data, levels: tuple[float, ...], seed: int) -> nn.Module:
    net, batches = Discrete(seed), Batches(data, DISCRETE_BATCH, seed)
    optimiser = DiscreteMSA(net.parameters(), levels=levels)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, DISCRETE_EPOCHS * len(batches))
    for _ in range(DISCRETE_EPOCHS):
        for x, digit in batches:
            optimiser.zero_grad()
            functional.cross_entropy(net(x), digit).backward()
            optimiser.step()
            schedule.step()
    return net


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def table(title: str, *columns: str) -> Table:
    out = Table(title=title, box=box.SIMPLE, title_justify="left")
    for k, column in enumerate(columns):
        out.add_column(column, justify="right" if k else "left")
    return out


def accuracies(console: Console) -> None:
    out = table(f"per cent of images, mean and spread of {SEEDS} splits", "", "batches", "training", "test", "s")
    evaluations = INNER_ITERATIONS + 1
    runs: dict[str, tuple[int, Callable[[Data, int], nn.Module]]] = {}
    for name, make in NETWORKS.items():
        rate, rho = CHOSEN[name]
        runs[f"{name}, Adam, {rate}"] = EPOCHS, lambda d, s, m=make, r=rate: by_adam(m(s), d, r, s)
        runs[f"{name}, Adam, {rate}, evaluations of E-MSA"] = (
            EPOCHS * evaluations,
            lambda d, s, m=make, r=rate: by_adam(m(s), d, r, s, EPOCHS * evaluations),
        )
        runs[f"{name}, E-MSA, rho {rho}"] = EPOCHS, lambda d, s, m=make, r=rho: by_msa(m(s), d, r, s)
    runs["binary weights"] = DISCRETE_EPOCHS, lambda d, s: by_discrete_msa(d, BINARY, s)
    runs["ternary weights"] = DISCRETE_EPOCHS, lambda d, s: by_discrete_msa(d, TERNARY, s)
    for name, (epochs, run) in runs.items():
        found, start = [], time.process_time()
        for seed in range(SEEDS):
            train, _, test = digits(seed)
            net = run(train, seed)
            found.append((accuracy(net, train), accuracy(net, test)))
        seconds = (time.process_time() - start) / SEEDS
        size = DISCRETE_BATCH if "weights" in name else BATCH
        count = epochs * -(-len(train.x) // size)
        out.add_row(name, str(count), *(spread(list(column)) for column in zip(*found, strict=True)), f"{seconds:.1f}")
    console.print(out)


def rises(losses: list[float]) -> str:
    """Number of iterations after which the loss was larger, and the last loss."""
    return f"{sum(b > a for a, b in itertools.pairwise(losses))}, {losses[-1]:.2g}"


def sine(rho: float, seed: int) -> list[float]:
    """Ten Euler layers of 5 features to T = 5, whose sum is to be sin on [-pi, pi]."""
    generator = torch.Generator().manual_seed(seed)
    field = mn.fields.ResNetField(5, time="piecewise-constant", knots=10, t1=5.0, generator=generator).double()
    x = torch.linspace(-math.pi, math.pi, 64, dtype=torch.float64)[:, None]

    def loss(z: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (z.sum(-1, keepdim=True) - y).square().mean()

    return msa(mn.nn.Flow(field, "euler", 10, t1=5.0), loss, (x.expand(-1, 5).contiguous(), x.sin()), rho, 50)


def monotonicity(console: Console) -> None:
    seeds = [f"seed {seed}" for seed in range(SEEDS)]
    out = table("sine, 50 iterations: how often the loss rose, the last loss", "rho", *seeds)
    for rho in (0.0, 1.0, 5.0, 10.0, 20.0, 50.0, 200.0):
        out.add_row(f"{rho:g}", *(rises(sine(rho, seed)) for seed in range(SEEDS)))
    console.print(out)
    out = table("digits, dense, 20 iterations on all training images: rises, the last loss", "rho", *seeds)
    for rho in (0.1, 0.3, 1.0, 3.0):
        losses = [msa(dense(s), functional.cross_entropy, digits(s)[0], rho, 20) for s in range(SEEDS)]
        out.add_row(f"{rho:g}", *map(rises, losses))
    console.print(out)


def search(console: Console) -> None:
    """Accuracy on the validation images, mean of all splits."""
    splits = [digits(seed) for seed in range(SEEDS)]
    for name, make in NETWORKS.items():
        trainings = {"Adam": (by_adam, RATES), "E-MSA": (by_msa, RHOS)}
        for kind, (train, values) in trainings.items():
            for value in values:
                shares = [accuracy(train(make(s), d[0], value, s), d[1]) for s, d in enumerate(splits)]
                console.print(f"{name}, {kind}, {value}: {spread(shares)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", action="store_true", help="tune on validation images instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    if given.search:
        return search(console)
    accuracies(console)
    monotonicity(console)


if __name__ == "__main__":
    main()
