"""The training loop: Riemannian optimisers on whatever device accelerate finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import geoopt
import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from manifoldnet.errors import InputError


def riemannian_sgd(model: nn.Module, lr: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    """geoopt's RiemannianSGD with Nesterov momentum over all parameters, on manifolds or not."""
    return geoopt.optim.RiemannianSGD(model.parameters(), lr=lr, momentum=momentum, nesterov=True)


def fit(
    model: nn.Module,
    data: Iterable[tuple[Tensor, ...]],
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    warmup: float = 0.15,
    clip: float = 1.0,
    device: str = "cpu",
    progress: str | None = None,
) -> list[float]:
    """Minimise ``loss(model, *batch)`` in place, one step a batch, under a one-cycle learning rate.

    Args:
        model: moved to ``device``; manifold parameters stay on their manifolds through the optimizer.
        data: batches of tensors, at least ``steps`` of them (an endless generator is fine).
        loss: differentiable scalar of the model and one batch.
        optimizer: over the model's parameters; its learning rate is the peak of the cycle.
        steps: number of optimizer steps.
        warmup: share of the steps during which the learning rate rises.
        clip: bound of the gradient's norm.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.

    Returns:
        The loss at each step.

    Raises:
        InputError: if the device does not exist, the data end early or the loss is not finite.
    """
    if device not in ("cpu", "cuda"):
        raise InputError(f"device: wanted 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: 'cuda' was asked for, but this machine or this build of torch has no CUDA device")
    accelerator = Accelerator(cpu=device == "cpu")
    peaks = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peaks, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    model.train()
    model, optimizer = accelerator.prepare(model, optimizer)
    losses: list[float] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("loss {task.fields[loss]}"), disable=progress is None) as bar:
        task = bar.add_task(progress or "", total=steps, loss="-")
        for batch, _ in zip(data, range(steps), strict=False):
            optimizer.zero_grad()
            value = loss(model, *(part.to(accelerator.device) for part in batch))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise InputError(f"loss: is not finite at step {len(losses)}; wanted finite, try a smaller lr")
            accelerator.backward(value)
            accelerator.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            schedule.step()
            recent = losses[-50:]
            bar.update(task, advance=1, loss=f"{sum(recent) / len(recent):.4f}")
    if len(losses) < steps:
        raise InputError(f"data: wanted {steps} batches, got {len(losses)}")
    model.eval()
    return losses
