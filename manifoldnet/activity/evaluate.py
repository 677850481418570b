"""Measure the classifier of exercises on people it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.activity.train import Recordings, watch

Row = dict[str, str | float]


def evaluate(
    parameters: dict[str, Any],
    folds: int = 5,
    data: Recordings | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Row]:
    """Accuracy over recordings and over 4 s windows, ``folds``-fold by subject, one row a method.

    Args:
        parameters: arguments of :class:`ActivityClassifier` for the last row; the rows before it do without the
            learned inner product (steps=0) and also without reparametrisation (slopes=1).
        folds: number of folds; no subject is in two of them.
        data: recordings (N, 6) with labels and subjects; the watch data when None.
        progress: called with a line of text before each fit.

    Returns:
        Rows with the mean and the standard deviation over the folds.
    """
    data = watch() if data is None else data
    chance = 1 / len(np.unique(data.labels))
    methods: dict[str, dict[str, Any]] = {
        "nearest neighbour, curves as sampled": {"steps": 0, "slopes": 1},
        "elastic nearest neighbour": {"steps": 0},
        "elastic nearest neighbour, learned inner product": {},
    }
    rows: list[Row] = [{"method": "chance", "recordings": chance, "sd": 0.0, "windows": chance, "window sd": 0.0}]
    for name, change in methods.items():
        recordings, windows = [], []
        for fold, (train, test) in enumerate(GroupKFold(folds).split(data.samples, groups=data.subjects)):
            if progress is not None:
                progress(f"{name}, fold {fold + 1} of {folds}")
            classifier = ActivityClassifier(**{**parameters, **change})
            classifier.fit([data.samples[i] for i in train], data.labels[train], data.subjects[train])
            of_windows, owner = classifier.window_probabilities([data.samples[i] for i in test])
            pooled = np.stack([of_windows[owner == k].mean(0) for k in range(len(test))])
            truth = data.labels[test]
            recordings.append(np.mean(classifier.classes_[pooled.argmax(1)] == truth))
            windows.append(np.mean(classifier.classes_[of_windows.argmax(1)] == truth[owner]))
        rows.append(
            {
                "method": name,
                "recordings": float(np.mean(recordings)),
                "sd": float(np.std(recordings)),
                "windows": float(np.mean(windows)),
                "window sd": float(np.std(windows)),
            }
        )
    return rows
