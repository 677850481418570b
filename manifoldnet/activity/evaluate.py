"""Measure classifiers of activities on people they were not fitted to, subject by subject, all on the same folds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from manifoldnet.activity.models import build, named
from manifoldnet.activity.peers import Peer, peers
from manifoldnet.activity.problems import Dense, Problem
from manifoldnet.activity.window_model import WindowModel
from manifoldnet.errors import InputError

Row = dict[str, str | float]


class Method(NamedTuple):
    """``make`` gives an unfitted model for a problem; ``dense`` says whether it learns from overlapping windows."""

    make: Callable[[Problem], WindowModel | Peer]
    dense: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one method said about every test window.

    Attributes:
        predicted: (n,) labels; those of windows in no test set are the empty value of the labels' type.
        tested: (n,) whether a window was in a test set.
        fit_seconds, window_seconds: mean times of a fit, and of a window predicted alone.
    """

    predicted: np.ndarray
    tested: np.ndarray
    fit_seconds: float
    window_seconds: float


def methods(models: list[str], *, mirrored: bool = True, others: Sequence[str] | None = None) -> dict[str, Method]:
    """The methods of a table by name.

    Args:
        models: names of ours.
        mirrored: whether the mirror image x -> -x of a movement is one that others make; the other classifiers then
            come with raw and with mirrored input.
        others: names of the other classifiers that take part; None for all that are installed.

    Raises:
        InputError: a name that there is not, or whose package is not installed.
    """
    installed = peers()
    for name in others or ():
        if name not in installed:
            known = ", ".join(installed)
            raise InputError(f"peers: wanted some of {known} (there are more with manifoldnet[peers]), got {name!r}")

    def other(make: Callable[[], object], helped: bool) -> Method:
        return Method(lambda problem: Peer(make, mirrored=helped))

    made = {name: ours(name, mirrored=mirrored) for name in models}
    for name in installed if others is None else others:
        made[name] = other(installed[name], False)
        if mirrored:
            made[f"{name}, mirrored"] = other(installed[name], True)
    return made


def ours(name: str, *, mirrored: bool) -> Method:
    """One of our models by name."""
    dense = named(name, "imu").overlap > 1

    def make(problem: Problem) -> WindowModel:
        return build(name, "imu", rate=problem.rate, mirror=mirrored)

    return Method(make, dense)


def run(
    method: Method,
    problem: Problem,
    *others: Problem,
    progress: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Fit to the training part of every split, and predict its test part.

    Args:
        method: what is fitted.
        problem: windows and splits.
        others: the same windows as sensors measure that are mounted otherwise; their test parts are predicted as well.
        progress: called with a line of text before each fit.

    Returns:
        What was said of ``problem``, and of each of the ``others``.
    """
    tests = (problem, *others)
    predicted = [np.zeros_like(problem.labels) for _ in tests]
    tested = np.zeros(len(problem.labels), bool)
    fits, alone = [], []
    for fold, (here, there) in enumerate(problem.splits):
        if progress is not None:
            progress(f"fold {fold + 1} of {len(problem.splits)}")
        told = problem.sides
        known = _training(problem, here, dense=method.dense)
        begin = time.perf_counter()
        model = method.make(problem).fit(*known)
        fits.append(time.perf_counter() - begin)
        tested[there] = True
        for test, labels in zip(tests, predicted, strict=True):
            probabilities = model.predict_proba(test.windows[there], None if told is None else told[there])
            labels[there] = model.classes_[probabilities.argmax(1)]
        times = []
        for one in there[:5, None]:
            begin = time.perf_counter()
            model.predict_proba(problem.windows[one], None if told is None else told[one])
            times.append(time.perf_counter() - begin)
        alone.append(np.median(times))
    return [Outcome(labels, tested, float(np.mean(fits)), float(np.mean(alone))) for labels in predicted]


def _training(problem: Problem, here: np.ndarray, *, dense: bool) -> Dense:
    """The windows to learn from: those at ``here``, or all overlapping ones of the subjects there."""
    if dense and problem.dense is not None:
        known = problem.dense
        chosen = np.flatnonzero(np.isin(known.subjects, problem.subjects[here]))
    else:
        known, chosen = Dense(problem.windows, problem.labels, problem.subjects, problem.sides), here
    sides = None if known.sides is None else known.sides[chosen]
    return Dense(known.windows[chosen], known.labels[chosen], known.subjects[chosen], sides)


def of_folds(problem: Problem, outcome: Outcome) -> np.ndarray:
    """(splits,) share of each test set's windows that were recognised."""
    right = outcome.predicted == problem.labels
    return np.array([right[there].mean() for _, there in problem.splits])


def of_subjects(problem: Problem, outcome: Outcome) -> np.ndarray:
    """(subjects,) share of each tested subject's windows that were recognised."""
    right = outcome.predicted == problem.labels
    return np.array([right[_of(problem, outcome, subject)].mean() for subject in _tested(problem, outcome)])


def _tested(problem: Problem, outcome: Outcome) -> np.ndarray:
    return np.unique(problem.subjects[outcome.tested])


def _of(problem: Problem, outcome: Outcome, subject: object) -> np.ndarray:
    return outcome.tested & (problem.subjects == subject)


def of_recordings(problem: Problem, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """(recordings,) true label and the one that most windows of the recording were given; the first where two tie."""
    truth, voted = [], []
    for recording in np.unique(problem.recordings[outcome.tested]):
        here = outcome.tested & (problem.recordings == recording)
        names, counts = np.unique(outcome.predicted[here], return_counts=True)
        voted.append(names[counts.argmax()])
        truth.append(problem.labels[here][0])
    return np.array(truth), np.array(voted)


def row(name: str, problem: Problem, outcome: Outcome, reference: Outcome | None = None) -> Row:
    """A line of the table: accuracies, their standard errors over the subjects, and the difference from a reference.

    ``windows`` is the mean over the splits and ``sd`` its deviation; ``s.e.`` that of the mean over subjects;
    ``gain`` the mean over subjects of the difference from the reference, with ``its s.e.``, nan without one.
    """
    folds = of_folds(problem, outcome)
    people = of_subjects(problem, outcome)
    truth, voted = of_recordings(problem, outcome)
    gains = np.full(len(people), np.nan) if reference is None else people - of_subjects(problem, reference)
    return {
        "method": name,
        "windows": float(folds.mean()),
        "sd": float(folds.std()),
        "s.e.": _error(people),
        "recordings": float(np.mean(truth == voted)),
        "gain": float(gains.mean()),
        "its s.e.": _error(gains),
        "fit s": outcome.fit_seconds,
        "window ms": 1e3 * outcome.window_seconds,
    }


def _error(values: np.ndarray) -> float:
    """Standard error of a mean; nan for one value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def evaluate(
    problem: Problem,
    which: Mapping[str, Method],
    *,
    moved: Problem | None = None,
    reference: str | None = None,
    progress: Callable[[str], None] | None = None,
    outcomes: dict[str, Outcome] | None = None,
) -> list[Row]:
    """The table of several methods on the same splits, one :func:`row` a method.

    Args:
        problem: windows and splits.
        which: the methods by name.
        moved: the same windows as sensors measure that are mounted otherwise; rows then say what share of these is
            recognised, ``mounted otherwise``, and by how much that is less, ``fall``.
        reference: the method from which gains are counted; none when None.
        progress: called with a line of text before each fit.
        outcomes: filled with what each method said of ``problem``, for pictures.

    Raises:
        InputError: the reference is none of the methods.
    """
    if reference is not None and reference not in which:
        raise InputError(f"reference: wanted one of {', '.join(which)}, got {reference!r}")
    found = {} if outcomes is None else outcomes
    again: dict[str, Row] = {}
    for name, method in which.items():
        tell = None if progress is None else (lambda line, name=name: progress(f"{name}, {line}"))
        found[name], *rest = run(method, problem, *([] if moved is None else [moved]), progress=tell)
        before, *after = (float(of_folds(problem, outcome).mean()) for outcome in (found[name], *rest))
        again[name] = {"mounted otherwise": after[0], "fall": before - after[0]} if after else {}
    other = None if reference is None else found[reference]
    return [row(name, problem, found[name], None if name == reference else other) | again[name] for name in which]
