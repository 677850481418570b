"""Paired timing: all candidates take turns within every round, so that a busy machine slows all of them alike.

Every round has another order: a call also pays for the state in which the one before it left the caches and the
allocator's free memory.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

# the first call compiles, the second may compile once more for what the first one learnt about shapes
WARM_UP = 2


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, by the wall clock, after two calls that are not counted."""
    for call in candidates.values():
        for _ in range(WARM_UP):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                _synchronise()
                start = time.perf_counter()
                candidates[name]()
                _synchronise()
                seconds[name].append(time.perf_counter() - start)
    finally:
        gc.enable()
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over the rounds of slow / fast."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
