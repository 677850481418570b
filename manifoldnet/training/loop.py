"""The steps of a training, and all that must be the same again for them to go on after a resume."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import geoopt
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim.lr_scheduler import LRScheduler

from manifoldnet.errors import InputError
from manifoldnet.training.batches import Batch, Batches
from manifoldnet.training.callbacks import Callback, Training
from manifoldnet.training.random_states import random_states, set_random_states, undisturbed

Loss = Callable[..., Tensor]


class Loop:
    """One training, step by step.

    Args:
        accelerator: of the device and the precision.
        training: its model and optimizer are prepared for the accelerator here.
        loss: of the model and one batch.
        batches: where the data are.
        schedule: of the learning rate, one step a step.
        clip: bound of the gradient's norm.
        accumulate: number of batches a step.
        callbacks: whose states belong to the training's.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        training: Training,
        loss: Loss,
        batches: Batches,
        schedule: LRScheduler,
        clip: float,
        accumulate: int,
        callbacks: Sequence[Callback],
    ) -> None:
        self.accelerator = accelerator
        self.training = training
        self.loss = loss
        self.batches = batches
        self.schedule = schedule
        self.clip = clip
        self.accumulate = accumulate
        self.callbacks = callbacks
        self.model, self.optimizer = accelerator.prepare(training.model, training.optimizer)

    def step(self, note: bool) -> None:
        """One step of the optimizer; ``note`` if a checkpoint follows.

        Raises:
            InputError: if the data end or the loss is not finite.
        """
        training, total = self.training, 0.0
        self.optimizer.zero_grad()
        for left in reversed(range(self.accumulate)):
            value = self._value(self.batches.draw(note and left == 0))
            number = float(self.accelerator.reduce(value.detach(), "mean"))
            if not math.isfinite(number):
                raise InputError(f"loss: is not finite at step {training.step + 1}; wanted finite, try a smaller lr")
            # gradients of several processes are averaged once a step
            with self.accelerator.no_sync(self.model) if left else nullcontext():
                self.accelerator.backward(value / self.accumulate)
            total += number / self.accumulate
        self.accelerator.unscale_gradients(self.optimizer)
        training.gradient_norm = clip_gradients(training.model, self.clip)
        training.lr = float(training.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        self.schedule.step()
        training.losses.append(total)

    def _value(self, batch: Batch) -> Tensor:
        return self.loss(self.model, *(part.to(self.accelerator.device) for part in batch))

    def evaluate(self, data: Iterable[Batch]) -> None:
        """Append the mean loss over the samples of ``data`` in evaluation mode; the training does not notice."""
        total, count = 0.0, 0
        self.model.eval()
        with undisturbed(data), torch.no_grad():
            for batch in data:
                size = batch[0].shape[0] if batch[0].dim() else 1
                total += size * float(self._value(batch))
                count += size
        self.model.train()
        if count == 0:
            raise InputError("evaluation: wanted at least one batch, got none")
        self.training.evaluations.append((self.training.step, total / count))

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the training goes on, those of all processes together."""
        training, scaler = self.training, self.accelerator.scaler
        own = {"random": random_states(), "data": self.batches.state_dict()}
        return {
            "losses": torch.tensor(training.losses, dtype=torch.float64),
            "evaluations": training.evaluations,
            "stopped": training.stopped,
            "model": training.model.state_dict(),
            "optimizer": training.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "processes": gather_object([own]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`.

        Raises:
            InputError: if the data are not those that it was made with.
        """
        training, scaler = self.training, self.accelerator.scaler
        training.losses[:] = state["losses"].tolist()
        training.evaluations[:] = state["evaluations"]
        training.stopped = state["stopped"]
        for name, parameter in training.model.named_parameters():
            if isinstance(parameter, UninitializedParameter):  # it got values from the first batch
                parameter.materialize(state["model"][name].shape)
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if scaler is not None:
            scaler.load_state_dict(state["scaler"])
        for callback, own in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(own)
        own = state["processes"][self.accelerator.process_index]
        if training.stopped is None and training.step < training.steps:
            self.batches.load_state_dict(own["data"])
        set_random_states(own["random"])


@torch.no_grad()
def clip_gradients(model: nn.Module, bound: float) -> Float[Tensor, ""]:
    """Scale all gradients by one factor so that their norm is at most ``bound``; their norm before that.

    The square of the norm is the sum over parameters of |grad|^2, that of the Riemannian gradient in the metric of its
    manifold where the parameter lies on one. Numbers of the ambient space mean nothing there: on SPD they would change
    with the unit.
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    curved = [p for p in parameters if isinstance(p, geoopt.ManifoldParameter)]
    flat: list[Any] = [p.grad for p in parameters if not isinstance(p, geoopt.ManifoldParameter)]
    norms = [torch.nn.utils.get_total_norm(flat)]
    for p in curved:
        slope = p.manifold.egrad2rgrad(p, p.grad)
        norms.append(p.manifold.inner(p, slope).sum().clamp_min(0).sqrt())
    norm = torch.linalg.vector_norm(torch.stack([n.to(norms[-1]) for n in norms]))
    torch.nn.utils.clip_grads_with_norm_(parameters, bound, norm)
    return norm


def description(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What tells one model and optimizer from another, in plain words and numbers."""
    tensors = model.state_dict(keep_vars=True)
    lazy = UninitializedParameter
    shapes = {k: f"{'?' if isinstance(v, lazy) else tuple(v.shape)} {v.dtype}" for k, v in tensors.items()}
    return {
        "model": re.sub(r" at 0x[0-9a-f]+", "", repr(model)).splitlines(),
        "tensors": shapes,
        "config": getattr(model, "config", None),
        "optimizer": type(optimizer).__name__,
        "options": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
    }


def plain(value: Any, name: str = "") -> dict[str, Any]:
    """The words and numbers in nested dicts and lists, by their place."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [plain(item, f"{name}.{key}" if name else str(key)) for key, item in items]
        return {key: item for part in parts for key, item in part.items()}
    return {name: value if isinstance(value, str | bool | int | float | None) else type(value).__name__}


def check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Compare two descriptions of trainings, made :func:`plain`.

    Raises:
        InputError: that names the first difference.
    """
    for key in wanted | found:
        old, new = found.get(key), wanted.get(key)
        if old != new:
            raise InputError(f"checkpoints: {path} is of another training: wanted {key} {new!r}, got {old!r}")
