"""The training loop: any optimiser on whatever device accelerate finds, with checkpoints that survive a kill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from manifoldnet.errors import InputError
from manifoldnet.training.batches import Batch, Batches, Data
from manifoldnet.training.callbacks import Callback, Training
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.loop import Loop, Loss, check_same, description, plain
from manifoldnet.training.progress import progress_bar
from manifoldnet.training.riemannian_sgd import RiemannianSGD

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def riemannian_sgd(model: nn.Module, lr: float, momentum: float = 0.9) -> RiemannianSGD:
    """:class:`RiemannianSGD` with Nesterov momentum over all parameters, on manifolds or not."""
    return RiemannianSGD(model.parameters(), lr=lr, momentum=momentum, nesterov=True)


def fit(
    model: nn.Module,
    data: Data,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    warmup: float = 0.15,
    clip: float = 1.0,
    device: str = "cpu",
    progress: str | None = None,
    schedule: LRScheduler | None = None,
    accumulate: int = 1,
    precision: str = "float32",
    epoch: int | None = None,
    evaluation: Iterable[Batch] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: str | Path | Checkpoints | None = None,
) -> list[float]:
    """Minimise ``loss(model, *batch)`` in place.

    With ``checkpoints``, the same call again goes on where a training of that folder was killed, at any moment: on one
    CPU all losses and the model are those of the training that was not, to the last bit. A training that had ended
    returns at once. What is kept: model, optimizer, schedule, scaler, callbacks, losses, the place in the data, and
    the random states of python, numpy, torch and CUDA.

    Several processes, started by ``accelerate launch`` or ``torchrun``, share the work (see :class:`Batches`); the loss
    of a step is their mean, and all evaluate all of the evaluation data.

    Args:
        model: moved to ``device``; manifold parameters stay on their manifolds through the optimizer.
        data: batches of tensors: a function step -> batch, a DataLoader, a list, or an iterator. Loaders and lists
            are passed over until there are enough, an iterator must not end early (an endless generator is fine).
            For a resume, iterators must be fresh, and are drawn up to the place; a function is asked at once.
        loss: differentiable scalar of the model and one batch.
        optimizer: over the model's parameters; its learning rate is the peak of the cycle.
        steps: number of optimizer steps.
        warmup: share of the steps during which the learning rate rises, in (0, 1).
        clip: bound of the gradient's norm (:func:`clip_gradients`); inf for none.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.
        schedule: of the optimizer's learning rate, one step a step; one cycle when None.
        accumulate: number of batches whose mean loss makes one step.
        precision: "float32" for the parameters' own type, or "bfloat16" or "float16" (CUDA only) for mixed precision.
        epoch: number of steps between evaluations; the batches of a pass over ``data`` when None, and all steps where
            they have no passes.
        evaluation: batches of which the mean loss is taken after every epoch, without an effect on the training; a
            list or a loader.
        callbacks: called in this order (:class:`Callback`).
        checkpoints: a folder, for one every 100 steps, or :class:`Checkpoints`; the last step leaves one as well.

    Returns:
        The loss at each step.

    Raises:
        InputError: if the device does not exist, an option is out of its range, the data end early, the loss is not
            finite, or the checkpoints are of another training or of other data.
    """
    options: dict[str, Any] = {
        "steps": steps,
        "warmup": warmup,
        "clip": clip,
        "accumulate": accumulate,
        "precision": precision,
    }
    _check(**options, epoch=epoch)
    accelerator = _accelerator(device, precision)
    if isinstance(evaluation, Iterator):
        raise InputError("evaluation: wanted what can be passed over again, such as a list, got an iterator")
    place = accelerator.process_index, accelerator.num_processes
    batches = Batches(data, steps * accumulate * place[1], *place)
    length = batches.pass_length
    epoch = epoch or (steps if length is None else max(1, length // (accumulate * place[1])))
    about = {
        **options,
        "data": batches.kind,
        "epoch": epoch,
        "processes": place[1],
        "evaluation": evaluation is not None,
        "schedule": type(schedule).__name__,
        "callbacks": [type(callback).__name__ for callback in callbacks],
        **description(model, optimizer),
    }
    made_by = plain(about)  # before the schedule changes the learning rates
    if schedule is None:
        peaks = [group["lr"] for group in optimizer.param_groups]
        # torch divides by the length of the rise, which is nothing where one step is all of it
        rise = warmup if warmup * steps != 1 else math.nextafter(warmup, 1)
        schedule = OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=rise, cycle_momentum=False)
    training = Training(model, optimizer, steps, evaluation is not None, accelerator.is_main_process)
    model.train()
    loop = Loop(accelerator, training, loss, batches, schedule, clip, accumulate, callbacks)
    saves = checkpoints if isinstance(checkpoints, Checkpoints | None) else Checkpoints(checkpoints)
    try:
        if saves is not None:
            _resume(loop, saves, made_by)
        _run(loop, epoch, evaluation, progress, saves, made_by)
    finally:
        accelerator.unwrap_model(loop.model, keep_fp32_wrapper=False)
    model.eval()
    return training.losses


def _check(steps: int, warmup: float, clip: float, accumulate: int, precision: str, epoch: int | None) -> None:
    for name, value in (("steps", steps), ("accumulate", accumulate), ("epoch", epoch)):
        if value is not None and value < 1:
            raise InputError(f"{name}: wanted at least 1, got {value}")
    if not 0 < warmup < 1:
        raise InputError(f"warmup: wanted a share between 0 and 1, got {warmup}")
    if not clip > 0:
        raise InputError(f"clip: wanted a positive norm, got {clip}")
    if precision not in PRECISIONS:
        raise InputError(f"precision: wanted one of {', '.join(PRECISIONS)}, got {precision!r}")


def check_device(device: str) -> None:
    """Raise InputError unless the device is "cpu", or "cuda" where there is one."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"device: wanted 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: 'cuda' was asked for, but this machine or this build of torch has no CUDA device")


def _accelerator(device: str, precision: str) -> Accelerator:
    check_device(device)
    if device == "cpu" and precision == "float16":
        raise InputError("precision: 'float16' wants device 'cuda', got 'cpu'; wanted 'bfloat16' or 'float32' there")
    state = AcceleratorState._shared_state
    if state and (state["device"].type != device or state["_mixed_precision"] != PRECISIONS[precision]):
        # accelerate keeps the first device and precision of the process for good
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device == "cpu", mixed_precision=PRECISIONS[precision])


def _resume(loop: Loop, saves: Checkpoints, made_by: dict[str, Any]) -> None:
    newest = saves.newest()
    if newest is not None:
        path, state = newest
        check_same(state["made_by"], made_by, path)
        loop.load_state_dict(state["training"])


def _run(
    loop: Loop,
    epoch: int,
    evaluation: Iterable[Batch] | None,
    progress: str | None,
    saves: Checkpoints | None,
    made_by: dict[str, Any],
) -> None:
    training = loop.training
    for callback in loop.callbacks:
        callback.on_start(training)
    with progress_bar(progress, training) as update:
        while training.step < training.steps and training.stopped is None:
            is_due = saves is not None and (training.step + 1) % saves.every == 0
            loop.step(note=is_due)
            for callback in loop.callbacks:
                callback.on_step(training)
            if training.step % epoch == 0:
                if evaluation is not None:
                    loop.evaluate(evaluation)
                for callback in loop.callbacks:
                    callback.on_epoch(training)
            is_last = training.step == training.steps or training.stopped is not None
            if saves is not None and (is_due or is_last):
                state = {"made_by": made_by, "training": loop.state_dict()}
                if training.is_main:
                    saves.save(training.step, state)
                loop.accelerator.wait_for_everyone()
            update()
    for callback in loop.callbacks:
        callback.on_end(training)
