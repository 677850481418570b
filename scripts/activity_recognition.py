"""Recognise activities of people who were not in the fit, fold by fold, beside chance.

python scripts/activity_recognition.py                      # the watch recordings, fetched on first use
python scripts/activity_recognition.py FILE [--rate 50]     # any file that `manifoldnet classify` reads, with
                                                            # a label and a subject for each recording
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from manifoldnet.activity.io import read
from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.activity.train import Recordings, shipped_config, watch
from manifoldnet.errors import InputError


def recordings(path: Path | None, rate: float | None, classifier: ActivityClassifier) -> Recordings:
    """The recordings in a file, at the classifier's rate, or the watch recordings."""
    if path is None:
        return watch()
    found = read(path, rate=rate)
    nameless = [recording.name for recording in found if recording.label is None or recording.subject is None]
    if nameless:
        raise InputError(f"{path}: wanted a label and a subject for each recording, {nameless[0]} has not both")
    return Recordings(
        [classifier.curve_of(recording) for recording in found],
        np.array([recording.label for recording in found]),
        np.array([recording.subject for recording in found]),
    )


def run(data: Recordings, classifier: ActivityClassifier, folds: int) -> list[float]:
    """Print and return the share recognised in each fold; no subject is in two of them."""
    people = len(np.unique(data.subjects))
    if not 2 <= folds <= people:
        raise InputError(f"folds: wanted 2 to {people}, the number of subjects, got {folds}")
    names, counts = np.unique(data.labels, return_counts=True)
    print(f"{len(data.samples)} recordings of {people} people, {len(names)} activities: {', '.join(names)}")
    print(f"chance {1 / len(names):.3f}, always the most frequent activity {counts.max() / counts.sum():.3f}")
    accuracies = []
    for fold, (_, test) in enumerate(GroupKFold(folds).split(data.samples, groups=data.subjects)):
        subjects = sorted(set(data.subjects[test].tolist()))
        seen, unseen = data.of(subjects, others=True), data.of(subjects)
        classifier.fit(seen.samples, seen.labels, seen.subjects)
        accuracies.append(float(np.mean(classifier.predict(unseen.samples) == unseen.labels)))
        who = ", ".join(map(str, subjects))
        print(f"fold {fold + 1}: {accuracies[-1]:.3f} of {len(unseen.samples)} recordings, subjects {who}", flush=True)
    print(f"mean {np.mean(accuracies):.3f}, standard deviation over folds {np.std(accuracies):.3f}")
    return accuracies


def main() -> None:
    """Parse the arguments; bad input ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="recordings; without it the watch data are used")
    parser.add_argument("--rate", type=float, help="samples per second, where the file does not say")
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    classifier = ActivityClassifier(**shipped_config()["classifier"])
    try:
        run(recordings(arguments.file, arguments.rate, classifier), classifier, arguments.folds)
    except InputError as error:
        parser.exit(2, f"activity_recognition: {error}\n")


if __name__ == "__main__":
    main()
