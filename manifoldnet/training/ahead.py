"""Batches that other processes compute while a training uses the ones before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from manifoldnet.training.batches import Batch


class Ahead:
    """The function ``data`` of the step, called in ``workers`` processes for the steps after the one asked for.

    The batches are those of ``data``, whatever the number of processes. Asking for another step than the next one
    starts them anew.

    Args:
        data: a function of the step alone, with tensors on the CPU and no use of autograd, which does not survive a
            fork.
        workers: number of processes, at least 1.
    """

    def __init__(self, data: Callable[[int], Batch], workers: int) -> None:
        self.data, self.workers = _Steps(data), workers
        self._next = -1
        self._stream: Iterator[Batch] = iter(())

    def __call__(self, step: int) -> Batch:
        if step != self._next:
            steps: Any = itertools.count(step)
            self._stream = iter(DataLoader(self.data, batch_size=None, sampler=steps, num_workers=self.workers))
        self._next = step + 1
        return next(self._stream)


class _Steps(Dataset[Batch]):
    def __init__(self, data: Callable[[int], Batch]) -> None:
        self.data = data

    def __getitem__(self, step: int) -> Batch:
        return self.data(step)
