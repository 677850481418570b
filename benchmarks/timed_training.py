"""Train for a time instead of a number of steps, for networks whose steps cost unequally much."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from manifoldnet.training.batches import Batch
from manifoldnet.training.optimizers import OPTIMIZERS


def trained(
    model: nn.Module,
    data: Callable[[int], Batch],
    loss: Callable[..., Tensor],
    seconds: float,
    optimizer: str,
    lr: float,
    device: str = "cpu",
) -> int:
    """Train for some seconds, the data's time counted, with a cosine in time; returns the number of steps.

    On a CPU with one thread these are the process's own seconds, so that other processes do not matter.
    """
    model.to(device).train()
    optimiser = OPTIMIZERS[optimizer](model.parameters(), lr)
    clock = time.process_time if device == "cpu" else time.perf_counter
    start, step = clock(), 0
    while (share := (clock() - start) / seconds) < 1:
        rate = lr * min(1.0, share / 0.05 + 0.01) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = data(step)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            value = loss(model, *batch)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
    model.cpu().eval()
    return step
