"""Gradients of flows by adjoints, by reversal, and by discretising the adjoint equation instead; see README.md.

python benchmarks/gradients.py
"""

from __future__ import annotations

from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import manifoldnet as mn
from manifoldnet.training import gradient_gap

F64 = torch.float64
VECTORS = ("euler", "heun2", "ssprk33", "rk4")
ROTATIONS = ("rkmk4", "cf4")
IN_TIME: dict[str, Any] = {"time": "piecewise-linear", "knots": 5}  # stages see weights of their own


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(flow: nn.Module, x: Tensor) -> list[Tensor]:
    """Of a loss with respect to the start and all parameters."""
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(flow(x).sin().sum(), [x, *flow.parameters()]))


def gap(ones: list[Tensor], others: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ones, others, strict=True))


def saved_bytes(flow: nn.Module, x: Tensor) -> int:
    """What the graph of a forward pass keeps for the backward one."""
    size = 0

    def pack(kept: Tensor) -> Tensor:
        nonlocal size
        size += kept.numel() * kept.element_size()
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        flow(x.clone().requires_grad_())
    return size


def exactness(console: Console) -> None:
    out = Table(
        "method", "discrete-adjoint", "checkpoint",
        title="distance of gradients from autograd's, relative, 8 steps, weights in time", box=box.SIMPLE,
    )  # fmt: skip
    for method in VECTORS + ROTATIONS:
        space: Any = mn.SO3() if method in ROTATIONS else None
        results = {}
        for mode in ("autograd", "discrete-adjoint", "checkpoint"):
            if space is None:
                field: nn.Module = mn.fields.ResNetField(8, generator=rng(0), **IN_TIME)
                x = torch.randn(16, 8, dtype=F64, generator=rng(1))
            else:
                field = mn.fields.ManifoldGradientFlow(space, generator=rng(0), **IN_TIME)
                x = space.random(16, 3, 3, dtype=F64, generator=rng(1))
            results[mode] = gradients(mn.nn.Flow(field.double(), method, 8, space=space, gradient=mode), x)
        wanted = results.pop("autograd")
        out.add_row(method, *(f"{gap(found, wanted):.1e}" for found in results.values()))
    console.print(out)


def reversal(console: Console) -> None:
    out = Table(
        "method", "steps", "saved bytes", "autograd's", "distance of gradients",
        title="gradient='reversible', 200 points of R^4", box=box.SIMPLE,
    )  # fmt: skip
    x = torch.randn(200, 4, dtype=F64, generator=rng(3))
    for method in ("stormer-verlet", "cf-ees27"):
        for steps in (16, 1024):
            flows = [
                mn.nn.Flow(mn.fields.HamiltonianField(2, 6, generator=rng(0)).double(), method, steps, gradient=mode)
                for mode in ("reversible", "autograd")
            ]
            sizes = [f"{saved_bytes(flow, x):,}" for flow in flows]
            out.add_row(method, str(steps), *sizes, f"{gap(*(gradients(flow, x) for flow in flows)):.1e}")
    console.print(out)


def orders(console: Console) -> None:
    field = mn.fields.ResNetField(3, generator=rng(0), **IN_TIME).double()
    x = torch.randn(4, 3, dtype=F64, generator=rng(1))
    for method in ("euler", "heun2", "rk4"):
        table = gradient_gap(mn.nn.Flow(field, method), x, steps=(10, 20, 40, 80))
        slopes = ", ".join(f"{name} {table.slope(name):.2f}" for name in ("naive", "continuous"))
        console.print(f"{table}\norders: {slopes}\n")


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    console = Console(width=110)
    exactness(console)
    reversal(console)
    orders(console)


if __name__ == "__main__":
    main()
