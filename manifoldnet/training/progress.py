"""How far a training is, on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from manifoldnet.training.callbacks import Training

RECENT = 50
"""Number of steps over which the loss that is shown is averaged."""


@contextmanager
def progress_bar(title: str | None, training: Training) -> Iterator[Callable[[], None]]:
    """A bar from the steps done to those planned, which the yielded function brings up to date; None for none."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = TextColumn("loss {task.fields[loss]}{task.fields[evaluation]}")
    with Progress(*columns, shown, disable=title is None or not training.is_main) as bar:
        task = bar.add_task(title or "", total=training.steps, completed=training.step, loss="-", evaluation="")

        def update() -> None:
            recent = training.losses[-RECENT:]
            last = f", evaluated {training.evaluations[-1][1]:.4f}" if training.evaluations else ""
            loss = f"{sum(recent) / len(recent):.4f}"
            bar.update(task, completed=training.step, loss=loss, evaluation=last)

        yield update
