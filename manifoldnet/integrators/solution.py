"""What an integration returns besides points: how it ended and what it cost."""

from __future__ import annotations

import enum
from typing import NamedTuple

from torch import Tensor


class Status(enum.IntEnum):
    """How an integration ended."""

    SUCCESS = 0
    EVENT = 1
    STEP_LIMIT = 2
    UNDERFLOW = 3
    NOT_FINITE = 4


class IntegrationError(RuntimeError):
    """An integration stopped before its end; ``status`` says why, ``time`` where."""

    def __init__(self, message: str, status: Status, time: float) -> None:
        super().__init__(message)
        self.status = status
        self.time = time


class Statistics(NamedTuple):
    """Counts of a whole integration, 0-dimensional or, with steps of their own, one for every sample.

    Attributes:
        steps: accepted steps.
        rejections: rejected steps.
        evaluations: evaluations of the field.
    """

    steps: Tensor
    rejections: Tensor
    evaluations: Tensor


class Solution(NamedTuple):
    """An integral curve at the wanted times.

    Attributes:
        y: (times, *y0.shape), or a tuple of such tensors where the state is one.
        status: how the integration ended.
        statistics: what it cost.
        event_time: where the event was found, None without event_fn.
    """

    y: Tensor | tuple[Tensor, ...]
    status: Status
    statistics: Statistics
    event_time: Tensor | None = None
