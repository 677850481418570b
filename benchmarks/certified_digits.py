"""A certified 1-Lipschitz classifier of digits beside an unconstrained twin: docs/certified_digits.png; see README.md.

python benchmarks/certified_digits.py
python benchmarks/certified_digits.py --search    # the designs that were tried, on validation images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

import manifoldnet as mn
from manifoldnet.fields import ConvolutionMaps, LayerField

mpl.rcParams.update({"font.size": 11, "axes.grid": True, "grid.alpha": 0.3, "savefig.dpi": 80})
# Okabe and Ito 2008
BLUE, RED = "#0072B2", "#D55E00"
RADII = (0.25, 0.5, 0.75)
SPLITS = 5
CLASSES = 10
STEPS, RESTARTS = 100, 5
BATCH = 128
SHARE = 0.999  # of the longest certified step, so that rounding of |A| = 1 does not cost a second step

Loss = Callable[["Classifier", "Data"], Tensor]


@dataclass(frozen=True)
class Data:
    """Images of 64 pixels in [0, 1] and their digits."""

    x: Tensor
    digit: Tensor

    def double(self) -> Data:
        return Data(self.x.double(), self.digit)

    def __getitem__(self, chosen: Tensor) -> Data:
        return Data(self.x[chosen], self.digit[chosen])


def digits(split: int) -> tuple[Data, Data, Data]:
    """Training (60 %), validation (20 %) and test images (20 %), each with its share of all digits."""
    bunch = load_digits()
    x, digit = torch.tensor(bunch.data / 16, dtype=torch.float32), torch.tensor(bunch.target)
    rest, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=digit, random_state=split)
    train, validation = train_test_split(rest, test_size=0.25, stratify=digit[rest], random_state=split)
    return Data(x[train], digit[train]), Data(x[validation], digit[validation]), Data(x[test], digit[test])


class KnownSize(ConvolutionMaps):
    """Convolutions, zeros around, of square images of one size.

    They are a part of the circular ones on a torus larger by the padding, whose norm takes few frequencies and is
    tighter than the bound for images of every size.
    """

    def __init__(self, size: int) -> None:
        super().__init__(3, "zeros")
        self.torus = (size + 1, size + 1)

    def norm(self, A: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return torch.linalg.matrix_norm(self.symbol(A, self.torus), 2).amax((-2, -1))


class UnitNorm(nn.Module):
    """A / |A|, with which the longest certified step of a gradient field is a constant of the method."""

    def __init__(self, field: LayerField) -> None:
        super().__init__()
        self.maps = field.maps

    def forward(self, A: Tensor) -> Tensor:
        return A / self.maps.norm(A).to(A.dtype)


@dataclass(frozen=True)
class Design:
    """A network and its training.

    Attributes:
        features: dense: at least 64, to which images are lifted with zeros; convolutional: channels of 4 x 4 pixels,
            at least 4.
        width: rows of A, of gradient fields.
        margin: at which the loss is 0, in units of distance; of certified networks.
        rate, decay: of AdamW.
    """

    activation: str = "relu"
    blocks: int = 4
    features: int = 64
    width: int = 64
    method: str = "euler"
    is_convolutional: bool = False
    margin: float = 1.0
    rate: float = 0.03
    decay: float = 0.0
    epochs: int = 60

    def options(self, seed: int) -> dict[str, Any]:
        """Keywords of fields."""
        chosen: dict[str, Any] = {"generator": torch.Generator().manual_seed(seed)}
        return {**chosen, "maps": KnownSize(4)} if self.is_convolutional else chosen


CERTIFIED = Design(blocks=8)  # the best of --search
PLAIN = Design(blocks=8, rate=0.003)


class Classifier(nn.Module):
    """Images lifted by an isometry, flows in turn, and a linear layer."""

    def __init__(self, flows: list[mn.nn.Flow], design: Design) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.design = design
        self.head = nn.Linear(design.features * (16 if design.is_convolutional else 1), CLASSES)

    def lift(self, x: Tensor) -> Tensor:
        """More features, or channels of fewer pixels, those added being zero."""
        if not self.design.is_convolutional:
            return functional.pad(x, (0, self.design.features - x.shape[-1]))
        image = functional.pixel_unshuffle(x.reshape(-1, 1, 8, 8), 2)
        return functional.pad(image, (0, 0, 0, 0, 0, self.design.features - 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.lift(x)
        for flow in self.flows:
            y = flow(y)
        return self.head(y.flatten(1))


def certified_flow(design: Design, seed: int) -> mn.nn.Flow:
    """One step of the greatest certified length, 2 r / L_sigma for |A| = 1."""
    field = mn.fields.GradientField(design.features, design.width, design.activation, **design.options(seed))
    parametrize.register_parametrization(field, "A", UnitNorm(field))
    radius = mn.integrators.METHODS[design.method].circle_radius
    assert radius is not None
    return mn.nn.Flow(field, design.method, steps=1, t1=SHARE * 2 * radius / field.activation.greatest_slope)


def certified_net(design: Design, seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier([certified_flow(design, 100 * seed + k) for k in range(design.blocks)], design)


def plain_net(design: Design, seed: int) -> Classifier:
    """The twin: residual blocks x + sigma(A x + b) of the same number and width, without constraint."""
    torch.manual_seed(seed)
    fields = [
        mn.fields.ResNetField(design.features, design.activation, **design.options(100 * seed + k))
        for k in range(design.blocks)
    ]
    return Classifier([mn.nn.Flow(field, "euler", 1) for field in fields], design)


def lipschitz(net: Classifier) -> float:
    """A Lipschitz constant of what comes before the linear layer: 1 for certified steps, else from |A|."""
    product = 1.0
    for flow in net.flows:
        assert isinstance(flow, mn.nn.Flow)
        assert isinstance(flow.field, LayerField)
        assert isinstance(flow.steps, int)
        if not hasattr(flow.field, "cocoercivity") or flow.certified_steps() > flow.steps:
            product *= (1 + flow.t1 / flow.steps * float(flow.field.lipschitz())) ** flow.steps
    return product


def margins(net: Classifier, data: Data) -> Tensor:
    """(batch, 10): (z_i - z_j) / |w_i - w_j| for the digit i and all j, infinite for j = i.

    That is the distance in feature space to the plane between i and j, negative on its wrong side.
    """
    z, digit = net(data.x), data.digit
    gaps = torch.cdist(net.head.weight, net.head.weight)[digit]
    difference = z.gather(1, digit[:, None]) - z
    own = functional.one_hot(digit, CLASSES).bool()
    return torch.where(own, torch.inf, difference / gaps.masked_fill(own, 1.0))


@torch.no_grad()
def certified_radii(net: Classifier, data: Data) -> Tensor:
    """(batch,): no image closer than this is taken for another digit; negative where the digit is not recognised."""
    return margins(net, data).amin(1) / lipschitz(net)


def hinge(net: Classifier, data: Data, margin: float) -> Tensor:
    """Mean of max(0, margin - least margin): in units of distance, so that scaling weights is no way out."""
    return functional.relu(margin - margins(net, data).amin(1)).mean()


def cross_entropy(net: Classifier, data: Data) -> Tensor:
    return functional.cross_entropy(net(data.x), data.digit)


def fit(net: Classifier, data: Data, loss: Loss, seed: int) -> None:
    """AdamW, the rate rising for a fifth of the time and then falling to zero."""
    design, generator = net.design, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), design.rate, weight_decay=design.decay)
    updates = design.epochs * -(-len(data.x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, design.rate, updates, pct_start=0.2)
    for _ in range(design.epochs):
        for batch in torch.randperm(len(data.x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            with parametrize.cached():  # A is used twice in a step
                loss(net, data[batch]).backward()
            optimizer.step()
            schedule.step()


def finished(net: Classifier) -> Classifier:
    """In float64, A / |A| stored as A."""
    for flow in net.flows:
        assert isinstance(flow, mn.nn.Flow)
        if parametrize.is_parametrized(flow.field):
            parametrize.remove_parametrizations(flow.field, "A")
    return net.double().requires_grad_(False)


def trained(design: Design, data: Data, seed: int, is_certified: bool) -> Classifier:
    if is_certified:
        net = certified_net(design, seed)
        fit(net, data, partial(hinge, margin=design.margin), seed)
    else:
        net = plain_net(design, seed)
        fit(net, data, cross_entropy, seed)
    return finished(net)


def into_ball(move: Tensor, radius: Tensor) -> Tensor:
    """Rows no longer than radius (batch, 1)."""
    length = move.norm(dim=1, keepdim=True)
    return torch.where(length > radius, radius * move / length, move)


def attack(
    net: Classifier, data: Data, radius: Tensor, steps: int = STEPS, restarts: int = RESTARTS, seed: int = 0
) -> Tensor:
    """(batch, 64): images within an L2 distance of radius (batch,), the first found that are not recognised, by PGD.

    Descent of the least margin along the normalised gradient, steps falling linearly from radius / 2 to 0; it starts
    at the image itself and then at random places. Pixels may leave [0, 1], which the certificate allows for.
    """
    generator = torch.Generator().manual_seed(seed)
    found = data.x.clone()
    radius = radius[:, None]
    left = torch.arange(len(data.x))  # not yet taken for another digit
    for restart in range(restarts):
        noise = torch.randn(found.shape, generator=generator).to(found)[left]
        here = data[left]
        move = (restart > 0) * radius[left] * noise / noise.norm(dim=1, keepdim=True)
        fooled = torch.zeros(len(left), dtype=torch.bool)
        for k in range(steps + 1):
            move.requires_grad_()
            least = margins(net, Data(here.x + move, here.digit)).amin(1)
            new = (least.detach() < 0) & ~fooled
            found[left[new]] = (here.x + move.detach())[new]
            fooled |= new
            (slope,) = torch.autograd.grad(least.sum(), move)
            length = 0.5 * (1 - k / steps) * radius[left]
            move = move.detach() - length * slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-30)
            move = into_ball(move, radius[left])
        left = left[~fooled]
        if not len(left):
            break
    return found


@torch.no_grad()
def recognised(net: Classifier, data: Data) -> Tensor:
    """(batch,): whether the digit is the only one with the greatest score."""
    return margins(net, data).amin(1) > 0


def measure(net: Classifier, data: Data) -> dict[str, list[float]]:
    """Accuracies at 0 and at all radii: certified, and under attack.

    Raises:
        AssertionError: if an attack breaks a certificate.
    """
    data = data.double()
    certified = certified_radii(net, data)
    shares = {"certified": [(certified > r).double().mean().item() for r in (0.0, *RADII)]}
    attacked = [recognised(net, data).double().mean().item()]
    for r in RADII:
        worst = attack(net, data, torch.full((len(data.x),), r, dtype=torch.float64))
        survived = recognised(net, Data(worst, data.digit))
        assert bool((survived | (certified <= r)).all()), f"an attack of {r} breaks a certificate"
        attacked.append(survived.double().mean().item())
    return {**shares, "PGD": attacked}


def spread(values: list[float]) -> str:
    """Mean and standard deviation in per cent."""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"


Results = dict[str, dict[str, np.ndarray]]


def results_table(results: Results, constants: dict[str, list[float]]) -> Table:
    out = Table(title=f"digits, per cent of test images, mean and spread of {SPLITS} splits", box=box.SIMPLE)
    for column in ("net", "Lipschitz", "", "clean", *(f"L2 {r}" for r in RADII)):
        out.add_column(column, justify="left" if column in ("net", "") else "right")
    for name, found in results.items():
        for kind, shares in found.items():
            bound = f"{np.mean(constants[name]):.3g}"
            out.add_row(name, bound, kind, *(spread(list(column)) for column in shares.T))
    return out


def draw(results: Results, curves: list[Tensor]) -> Figure:
    """Certified accuracy as a curve over all radii, accuracy under attack as points."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    radius = np.linspace(0, 1.5, 151)
    shares = np.array([[(curve > r).double().mean().item() for r in radius] for curve in curves])
    axes.plot(radius, shares.mean(0), color=BLUE, label="1-Lipschitz, certified")
    axes.fill_between(radius, shares.min(0), shares.max(0), color=BLUE, alpha=0.25, linewidth=0)
    for (name, found), colour, marker in zip(results.items(), (BLUE, RED), "os", strict=True):
        values = found["PGD"]
        error = [values.mean(0) - values.min(0), values.max(0) - values.mean(0)]
        axes.errorbar(
            (0.0, *RADII), values.mean(0), error, color=colour, marker=marker, ls="--", capsize=3, label=f"{name}, PGD"
        )
    axes.set(xlabel="L2 radius, pixels in [0, 1]", ylabel="accuracy on test images", ylim=(0, 1.02), xlim=(-0.02, 1.5))
    axes.set_title(f"digits: mean and range of {SPLITS} splits")
    axes.legend()
    return figure


BASE = Design()
TRIED = {
    "base": BASE,
    "tanh": replace(BASE, activation="tanh"),
    "strong": replace(BASE, activation="strong"),
    "leaky-relu": replace(BASE, activation="leaky-relu"),
    "2 blocks": replace(BASE, blocks=2),
    "8 blocks": replace(BASE, blocks=8),
    "width 128": replace(BASE, width=128),
    "128 features": replace(BASE, features=128, width=128),
    "convolutions": replace(BASE, is_convolutional=True, features=16, width=32),
    "ssprk32": replace(BASE, method="ssprk32"),
    "rk4": replace(BASE, method="rk4"),
    "margin 0.5": replace(BASE, margin=0.5),
    "margin 1.5": replace(BASE, margin=1.5),
}


def search(console: Console) -> None:
    """Certified accuracy of all designs on the validation images of the first split, as they come."""
    train, validation, _ = digits(0)
    console.print("per cent of validation images of split 0, certified at 0,", *RADII, "and their mean; s of one core")
    for name, design in TRIED.items():
        start = time.process_time()
        radii = certified_radii(trained(design, train, 0, True), validation.double())
        shares = [100 * (radii > r).double().mean().item() for r in (0.0, *RADII)]
        numbers = "".join(f"{share:7.1f}" for share in (*shares, float(np.mean(shares))))
        console.print(f"{name:14s}{numbers}{time.process_time() - start:7.0f}")


def main() -> None:
    """Train both networks on all splits, attack them, print the accuracies and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / "docs")
    parser.add_argument("--search", action="store_true", help="compare designs on validation images instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    if given.search:
        return search(console)
    given.folder.mkdir(exist_ok=True)
    start = time.process_time()
    names = {"1-Lipschitz": (CERTIFIED, True), "plain": (PLAIN, False)}
    found: dict[str, dict[str, list[list[float]]]] = {name: {"certified": [], "PGD": []} for name in names}
    constants: dict[str, list[float]] = {name: [] for name in names}
    curves = []
    for split in range(SPLITS):
        train, _, test = digits(split)
        for name, (design, is_certified) in names.items():
            net = trained(design, train, split, is_certified)
            for kind, shares in measure(net, test).items():
                found[name][kind].append(shares)
            constants[name].append(lipschitz(net))
            if is_certified:
                curves.append(certified_radii(net, test.double()))
    results = {name: {kind: np.array(rows) for kind, rows in kinds.items()} for name, kinds in found.items()}
    console.print(results_table(results, constants))
    console.print(f"{time.process_time() - start:.0f} s of one core; no attack broke a certificate")
    draw(results, curves).savefig(given.folder / "certified_digits.png")


if __name__ == "__main__":
    main()
