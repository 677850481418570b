"""Windows with labels, and which of them are for the test: the recordings of several data sets made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from sklearn.model_selection import GroupKFold

from manifoldnet.activity.augment import remount
from manifoldnet.activity.io import Recording, read
from manifoldnet.activity.mounting import in_own_frame
from manifoldnet.activity.windows import watch_windows, windows
from manifoldnet.data import get, load_hapt
from manifoldnet.errors import InputError

HAPT_NAMES = ("walking", "upstairs", "downstairs", "sitting", "standing", "lying")
HAPT_SECONDS = 2.56


OVERLAP = 4  # how many dense windows cover a moment


class Dense(NamedTuple):
    """Windows that overlap, to learn from: each begins a quarter of its length after the one before."""

    windows: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    sides: np.ndarray | None


@dataclass(frozen=True)
class Problem:
    """Windows (n, t, 6) at ``rate`` Hz, gyroscope in rad/s then acceleration in g, and what is known of each.

    Attributes:
        labels, subjects, recordings: (n,).
        sides: (n,), 0 left and 1 right, or None.
        splits: pairs of indices, for training and for test.
        dense: overlapping windows of the same subjects, if there are any.
    """

    windows: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    recordings: np.ndarray
    sides: np.ndarray | None
    rate: float
    splits: list[tuple[np.ndarray, np.ndarray]]
    dense: Dense | None = None

    def without_sides(self) -> Problem:
        """The same, the sides not told."""
        return replace(self, sides=None, dense=None if self.dense is None else self.dense._replace(sides=None))


def by_subject(subjects: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that share no subject.

    Raises:
        InputError: fewer than two folds, or more than there are subjects.
    """
    people = len(np.unique(subjects))
    if not 2 <= folds <= people:
        raise InputError(f"folds: wanted 2 to {people}, the number of subjects, got {folds}")
    return list(GroupKFold(folds).split(subjects, groups=subjects))


def watch(folds: int = 5, seconds: float = 4.0) -> Problem:
    """The watch data, end to end windows: 1149 of 4 s."""
    data = watch_windows(seconds)
    splits = by_subject(data.subjects, folds)
    close = watch_windows(seconds, seconds / OVERLAP)
    dense = Dense(close.samples, close.labels, close.subjects, close.sides)
    return Problem(data.samples, data.labels, data.subjects, data.recordings, data.sides, data.rate, splits, dense)


def hapt(folds: int = 5, *, own_frame: bool = False, mounts: int | None = None) -> Problem:
    """Windows of 2.56 s within one of the six activities of HAPT; a recording is a bout of one activity.

    Args:
        folds: by subject.
        own_frame: whether each recording is turned into its own frame before it is cut.
        mounts: seed of a random rotation for each subject, uniform on SO(3), of the sensor on the body; None for none.
    """
    data = load_hapt()
    people = np.unique(data.subjects)
    turns = np.tile(np.eye(3), (len(people), 1, 1))
    if mounts is not None:
        turns = Rotation.random(len(people), rng=np.random.default_rng(mounts)).as_matrix()
    pieces, labels, subjects, bouts = [], [], [], []
    for samples, marks, subject in zip(data.samples, data.labels, data.subjects, strict=True):
        turned = remount(samples[None], turns[np.searchsorted(people, subject)][None])[0]
        turned = in_own_frame(turned) if own_frame else turned
        edges = np.flatnonzero(np.diff(marks, prepend=-2, append=-2))
        for begin, end in pairwise(edges):
            if 1 <= marks[begin] <= len(HAPT_NAMES) and end - begin >= round(HAPT_SECONDS * data.rate):
                found = windows(turned[begin:end], data.rate, HAPT_SECONDS)
                pieces.append(found)
                labels += [HAPT_NAMES[int(marks[begin]) - 1]] * len(found)
                subjects += [subject] * len(found)
                bouts += [len(pieces)] * len(found)
    who = np.array(subjects)
    splits = by_subject(who, folds)
    return Problem(np.concatenate(pieces), np.array(labels), who, np.array(bouts), None, data.rate, splits)


def basic_motions() -> Problem:
    """40 curves of 10 s to learn from and 40 for the test, at 10 Hz; who moved is not known."""
    folder = get("basic-motions")
    parts = [read(next(folder.glob(f"*{name}.ts"))) for name in ("TRAIN", "TEST")]
    both = [*parts[0], *parts[1]]
    number = np.arange(len(both))
    split = number[: len(parts[0])], number[len(parts[0]) :]
    labels = np.array([recording.label for recording in both])
    return Problem(np.stack([r.samples for r in both]), labels, number, number, None, both[0].rate, [split])


def of_recordings(recordings: Sequence[Recording], seconds: float = 4.0, folds: int = 5) -> Problem:
    """Windows of inertial recordings that have a label and a subject each, at one rate.

    Raises:
        InputError: one has not, or is of another kind or rate, or shorter than a window.
    """
    for recording in recordings:
        if recording.label is None or recording.subject is None:
            raise InputError(f"{recording.name}: wanted a label and a subject for each recording, it has not both")
        if recording.kind != "imu" or recording.rate != recordings[0].rate:
            raise InputError(f"{recording.name}: wanted inertial samples at {recordings[0].rate:g} Hz")
    of_each = [np.array([getattr(r, name) for r in recordings]) for name in ("label", "subject", "side")]
    told = None not in of_each[2]

    def cut(step: float) -> tuple[Dense, np.ndarray]:
        pieces = [windows(recording.samples, recording.rate, seconds, step) for recording in recordings]
        owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        labels, subjects, sides = (values[owner] for values in of_each)
        return Dense(np.concatenate(pieces), labels, subjects, sides.astype(np.int64) if told else None), owner

    (apart, owner), (dense, _) = cut(seconds), cut(seconds / OVERLAP)
    splits = by_subject(apart.subjects, folds)
    rate = recordings[0].rate
    return Problem(apart.windows, apart.labels, apart.subjects, owner, apart.sides, rate, splits, dense)
