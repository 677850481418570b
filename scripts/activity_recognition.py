"""Recognise activities of people who were not in the fit, fold by fold, beside chance; then fit to all and save.

python scripts/activity_recognition.py                       # the watch recordings, fetched on first use
python scripts/activity_recognition.py hapt                  # or basic-motions
python scripts/activity_recognition.py FILE [--rate 50]      # any file that `manifoldnet classify` reads, with
                                                             # a label and a subject for each recording
    --model best --sides --folds 5 --pictures DIR --save all.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from manifoldnet.activity.evaluate import evaluate, methods, of_recordings
from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.activity.models import MODELS
from manifoldnet.activity.plot import confusion
from manifoldnet.activity.problems import Problem
from manifoldnet.activity.report import DATA, problem_of
from manifoldnet.errors import InputError


def run(problem: Problem, model: str, mirrored: bool, pictures: Path | None) -> float:
    """Print the share recognised in each fold, no subject in two of them, and return the mean."""
    names, counts = np.unique(problem.labels, return_counts=True)
    people = len(np.unique(problem.subjects))
    print(f"{len(problem.labels)} windows of {people} people, {len(names)} activities: {', '.join(names)}")
    print(f"chance {1 / len(names):.3f}, always the most frequent activity {counts.max() / counts.sum():.3f}")
    outcomes = {}
    (row,) = evaluate(problem, methods([model], mirrored=mirrored, others=()), outcomes=outcomes)
    right = outcomes[model].predicted == problem.labels
    for fold, (_, test) in enumerate(problem.splits):
        who = ", ".join(map(str, np.unique(problem.subjects[test]).tolist()))
        print(f"fold {fold + 1}: {right[test].mean():.3f} of {len(test)} windows, subjects {who}")
    print(f"mean {row['windows']:.3f}, standard deviation over folds {row['sd']:.3f}")
    print(f"recordings by the vote of their windows {row['recordings']:.3f}")
    print(f"a fit takes {row['fit s']:.1f} s, a window {row['window ms']:.1f} ms")
    if pictures is not None:
        confusion(*of_recordings(problem, outcomes[model]), pictures / f"{model}.png")
    return float(row["windows"])


def main() -> None:
    """Parse the arguments; bad input ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", nargs="?", default="watch", help=f"{', '.join(DATA)}, or a file of recordings")
    parser.add_argument("--rate", type=float, help="samples per second, where the file does not say")
    parser.add_argument("--model", default="fast", choices=list(MODELS))
    parser.add_argument("--sides", action="store_true", help="tell which wrist wore the sensor")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--pictures", type=Path, help="folder for the confusion matrix")
    parser.add_argument("--save", type=Path, help="file of weights fitted to all windows")
    arguments = parser.parse_args()
    try:
        for folder in (arguments.pictures, arguments.save and arguments.save.parent):
            if folder is not None and not folder.is_dir():
                raise InputError(f"{folder}: no such folder")
        problem = problem_of(arguments.data, arguments.folds, arguments.rate)
        problem = problem if arguments.sides else problem.without_sides()
        mirrored = arguments.data not in ("hapt", "basic-motions")
        run(problem, arguments.model, mirrored, arguments.pictures)
        if arguments.save is not None:
            seconds = problem.windows.shape[1] / problem.rate
            classifier = ActivityClassifier(rate=problem.rate, model=arguments.model, seconds=seconds, mirror=mirrored)
            classifier.fit(list(problem.windows), problem.labels, problem.subjects, problem.sides)
            classifier.save(arguments.save)
            print(f"{arguments.save}: written")
    except InputError as error:
        parser.exit(2, f"activity_recognition: {error}\n")


if __name__ == "__main__":
    main()
