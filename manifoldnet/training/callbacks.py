"""What happens beside the steps of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from manifoldnet.errors import InputError


@dataclass
class Training:
    """A training while it runs, as callbacks see it.

    Attributes:
        model: without the wrappers of accelerate.
        optimizer: likewise.
        steps: number of steps that are planned.
        is_evaluated: whether there are data for evaluation.
        is_main: whether this process is the one that writes and prints.
        losses: of all steps, those before a resume included.
        evaluations: (number of steps done, mean loss of the evaluation data).
        lr: learning rate of the last step, of the first group of parameters.
        gradient_norm: 0-dimensional, of the last step, before clipping.
        stopped: why the training ends before its last step; None if it does not.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    is_evaluated: bool = False
    is_main: bool = True
    losses: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    lr: float = math.nan
    gradient_norm: Tensor = field(default_factory=lambda: torch.tensor(math.nan))
    stopped: str | None = None

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.losses)

    def stop(self, reason: str) -> None:
        """End the training after this step."""
        self.stopped = reason


class Callback:
    """Does nothing at all occasions; subclasses do something at some.

    With several processes all of them call it, with equal losses and evaluations.
    """

    def on_start(self, training: Training) -> None:
        """Before the first step, or the first one after a resume."""

    def on_step(self, training: Training) -> None:
        """After every step."""

    def on_epoch(self, training: Training) -> None:
        """After the evaluation at the end of every epoch."""

    def on_end(self, training: Training) -> None:
        """After the last step; also when a training that had ended is resumed."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: nested dicts and lists of tensors, numbers and words."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`, before :meth:`on_start`."""


class EarlyStopping(Callback):
    """Ends a training whose evaluations no longer get better, and puts the best model back at the end.

    Args:
        patience: number of epochs in a row without a gain that are borne.
        least_gain: by how much an evaluation must be below the best one to count, in units of the loss.

    Raises:
        InputError: if patience < 1 or least_gain < 0; from :func:`fit` if it has no evaluation data.
    """

    def __init__(self, patience: int, least_gain: float = 0.0) -> None:
        if patience < 1 or least_gain < 0:
            raise InputError(f"patience, least_gain: wanted at least 1 and 0, got {patience} and {least_gain}")
        self.patience = patience
        self.least_gain = least_gain
        self.best = math.inf
        self._waited = 0
        self._weights: dict[str, Tensor] = {}

    def on_start(self, training: Training) -> None:
        if not training.is_evaluated:
            raise InputError("callbacks: EarlyStopping wants evaluation data, got none")

    def on_epoch(self, training: Training) -> None:
        value = training.evaluations[-1][1]
        self._waited += 1
        if value < self.best - self.least_gain:
            self.best, self._waited = value, 0
            self._weights = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}
        if self._waited >= self.patience:
            training.stop(f"the evaluation has not fallen below {self.best:.6g} for {self.patience} epochs")

    def on_end(self, training: Training) -> None:
        if self._weights:
            training.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self._waited, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self._waited, self._weights = state["best"], state["waited"], state["weights"]


class TensorBoard(Callback):
    """Writes losses, evaluations, learning rates and gradient norms for TensorBoard; a resume writes on.

    Args:
        folder: of the event files.

    Raises:
        InputError: if the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError("callbacks: TensorBoard wants the package tensorboard: pip install tensorboard") from None
        self.folder = Path(folder)
        self._make = SummaryWriter
        self._writer: Any = None

    def on_start(self, training: Training) -> None:
        if training.is_main:
            # what a dead process wrote about steps that are taken again goes
            self._writer = self._make(str(self.folder), purge_step=training.step + 1)

    def on_step(self, training: Training) -> None:
        if self._writer is not None:
            self._writer.add_scalar("loss/training", training.losses[-1], training.step)
            self._writer.add_scalar("lr", training.lr, training.step)
            self._writer.add_scalar("gradient norm", float(training.gradient_norm), training.step)

    def on_epoch(self, training: Training) -> None:
        if self._writer is not None and training.is_evaluated:
            self._writer.add_scalar("loss/evaluation", training.evaluations[-1][1], training.step)

    def on_end(self, training: Training) -> None:
        if self._writer is not None:
            self._writer.close()
