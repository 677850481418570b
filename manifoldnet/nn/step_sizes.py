"""Learned lengths of the steps of a flow."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StepSizes(nn.Module):
    """Lengths h_k of ``steps`` steps, t1 / steps at the start.

    Args:
        kind: "free"; "positive", of the sign of t1; or "simplex", positive with sum t1 (t1 softmax).

    Raises:
        ValueError: for an unknown kind, a number of steps that is not fixed or below 1, or t1 = 0.
    """

    def __init__(self, steps: int | str, t1: float, kind: str) -> None:
        super().__init__()
        if kind not in ("free", "positive", "simplex"):
            raise ValueError(f"step_sizes: wanted 'equal', 'free', 'positive' or 'simplex', got {kind!r}")
        if isinstance(steps, str):
            raise ValueError(f"step_sizes: {kind!r} wants a number of steps, got steps={steps!r}")
        if steps < 1 or t1 == 0:
            raise ValueError(f"steps, t1: wanted at least 1 and not 0 for steps that are learned, got {steps} and {t1}")
        self.kind = kind
        self.t1 = t1
        start = {"free": t1 / steps, "positive": math.log(abs(t1) / steps), "simplex": 0.0}[kind]
        self.raw = nn.Parameter(torch.full((steps,), start))

    def forward(self) -> Tensor:
        """(steps,)."""
        if self.kind == "free":
            return self.raw
        if self.kind == "positive":
            return math.copysign(1.0, self.t1) * self.raw.exp()
        return self.t1 * self.raw.softmax(0)
