"""The tables of ``manifoldnet evaluate activity``, by the name of a data set or the path of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from manifoldnet.activity import problems
from manifoldnet.activity.evaluate import Outcome, Row, evaluate, methods, of_recordings
from manifoldnet.activity.io import read
from manifoldnet.activity.motion_pictures import mean_motions, warped_pair
from manifoldnet.activity.plot import confusion

DATA = ("watch", "hapt", "basic-motions")
MOUNTS = 1  # seed of the random mountings


def problem_of(data: str | Path, folds: int = 5, rate: float | None = None) -> problems.Problem:
    """The problem of a data set by name, or of a labelled file; ``rate`` in Hz where the file does not tell it."""
    if data == "watch":
        return problems.watch(folds)
    if data == "hapt":
        return problems.hapt(folds)
    if data == "basic-motions":
        return problems.basic_motions()
    return problems.of_recordings(read(data, rate=rate), folds=folds)


def report(
    data: str,
    models: list[str],
    *,
    sides: bool = False,
    others: Sequence[str] | None = None,
    folds: int = 5,
    pictures: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, list[Row]]:
    """Tables by title: our models and the others on the same splits.

    On HAPT rows also say what is recognised where sensors of the test subjects are mounted otherwise, and a second
    table is of ours where each recording is turned into its own frame.

    Args:
        data: "watch", "hapt", "basic-motions", or the path of a file.
        models: names of ours; gains are counted from the first.
        sides: whether they are told, where they are known.
        others: names of the other classifiers that take part; None for all that are installed.
        folds: by subject.
        pictures: folder for a confusion matrix of each of ours over the recordings, ``<model>.png``, for two windows of
            one activity at one pace, ``aligned.png``, and for the mean motion of each, ``means.png``.
        progress: called with a line of text before each fit.
    """
    problem = problem_of(data, folds)
    if not sides:
        problem = problem.without_sides()
    # on the body's front, and where nothing is known of the frame, x -> -x is no symmetry
    mirrored = data not in ("hapt", "basic-motions")
    outcomes: dict[str, Outcome] = {}
    which = methods(models, mirrored=mirrored, others=others)
    moved = problems.hapt(folds, mounts=MOUNTS) if data == "hapt" else None
    told = " and the wrist" if problem.sides is not None else ""
    seen = "subjects not seen in the fit" if len(problem.splits) > 1 else "the given split"
    rows = evaluate(problem, which, moved=moved, reference=next(iter(which)), progress=progress, outcomes=outcomes)
    tables = {f"{data}: windows{told}, {seen}": rows}
    if pictures is not None:
        for name in models:
            confusion(*of_recordings(problem, outcomes[name]), pictures / f"{name}.png")
        first, second = np.flatnonzero(problem.labels == problem.labels[0])[[0, -1]]
        warped_pair(problem.windows[first], problem.windows[second], problem.rate, pictures / "aligned.png")
        mean_motions(problem.windows, problem.labels, problem.rate, pictures / "means.png")
    if data == "hapt":
        own, own_moved = (problems.hapt(folds, own_frame=True, mounts=seed) for seed in (None, MOUNTS))
        mine = methods(models, mirrored=mirrored, others=())
        tables["hapt: each recording in its own frame"] = evaluate(own, mine, moved=own_moved, progress=progress)
    return tables
