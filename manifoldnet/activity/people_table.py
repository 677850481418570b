"""How well skeleton sequences of strangers are told apart, beside nearest neighbours of joint positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier

from manifoldnet.activity.elastic_sequences import ElasticSequenceClassifier
from manifoldnet.activity.simulated_people import BONES, HIPS, JOINTS, SHOULDERS, Performances, simulate_people
from manifoldnet.activity.skeleton import Skeleton, relative_rotations

SKELETON = Skeleton(JOINTS, BONES, HIPS, SHOULDERS)
PLACES = tuple(int(place) for place in SKELETON.bone_mirror)
SPINE = JOINTS.index("spine")
Row = dict[str, str | float]


def rotations_of(positions: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Relative rotations (N, 14, 3, 3) of simulated people, joint positions (N, 15, 3)."""
    return [relative_rotations(p, BONES, hips=HIPS, shoulders=SHOULDERS)[0] for p in positions]


def flat_positions(positions: Sequence[np.ndarray], count: int = 16) -> Float[np.ndarray, "n features"]:
    """Positions about the spine at ``count`` equal shares of the time, in one row a sequence."""
    rows = []
    for p in positions:
        flat = (p - p[:, SPINE : SPINE + 1]).reshape(len(p), -1)
        place = np.linspace(0, len(p) - 1, count)
        rows.append(np.concatenate([np.interp(place, np.arange(len(p)), channel) for channel in flat.T]))
    return np.stack(rows)


def people_table(people: Performances | None = None, folds: int = 5) -> list[Row]:
    """Accuracy on people who were not in the fit, ``folds``-fold, mean and standard deviation over the folds.

    Args:
        people: 180 performances by 10 people when None, with 2 cm of jitter.
        folds: no person is in two of them.

    Returns:
        One row a method: nearest neighbour of joint positions, and :class:`ElasticSequenceClassifier` without and with
        mirror images.
    """
    people = simulate_people(jitter=0.02) if people is None else people
    points, rotations = flat_positions(people.positions), rotations_of(people.positions)
    correct: dict[str, list[float]] = {
        "nearest neighbour of joint positions": [],
        "elastic kernels": [],
        "elastic kernels, mirror images": [],
    }
    for train, test in GroupKFold(folds).split(points, groups=people.subjects):
        labels, truth = people.labels[train], people.labels[test]
        nearest = KNeighborsClassifier(1).fit(points[train], labels)
        seen, strange = ([rotations[i] for i in part] for part in (train, test))
        models = [ElasticSequenceClassifier(places=places) for places in (None, PLACES)]
        answers = [nearest.predict(points[test])]
        answers += [model.fit(seen, labels, people.subjects[train]).predict(strange) for model in models]
        for accuracies, answer in zip(correct.values(), answers, strict=True):
            accuracies.append(float(np.mean(answer == truth)))
    return [{"method": m, "accuracy": float(np.mean(a)), "sd": float(np.std(a))} for m, a in correct.items()]
