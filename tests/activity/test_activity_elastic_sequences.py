"""Skeletons of people that the classifier has not seen, and what must not change its answer."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from manifoldnet.activity.elastic import posed_transform
from manifoldnet.activity.elastic_sequences import ElasticSequenceClassifier
from manifoldnet.activity.people_table import PLACES, SKELETON, flat_positions, people_table, rotations_of
from manifoldnet.activity.simulated_people import simulate_people
from manifoldnet.activity.skeleton import mirrored
from manifoldnet.curves import elastic_distance, unit_length
from manifoldnet.errors import InputError


@pytest.fixture(scope="module")
def people():
    return simulate_people(subjects=6, repeats=2, jitter=0.02)


@pytest.fixture(scope="module")
def fitted(people):
    seen = people.subjects < 4
    chosen = rotations_of([p for p, s in zip(people.positions, seen, strict=True) if s])
    return ElasticSequenceClassifier(places=PLACES).fit(chosen, people.labels[seen], people.subjects[seen])


def test_it_knows_strangers_better_than_the_nearest_neighbour(people, fitted):
    strange = people.subjects >= 4
    points, y = flat_positions(people.positions), people.labels
    X = rotations_of([p for p, s in zip(people.positions, strange, strict=True) if s])
    accuracy = np.mean(fitted.predict(X) == y[strange])
    nearest = KNeighborsClassifier(1).fit(points[~strange], y[~strange]).score(points[strange], y[strange])
    print(f"elastic kernels {accuracy:.3f}, nearest neighbour of joint positions {nearest:.3f}")
    assert accuracy >= 0.88
    assert accuracy >= nearest
    np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1)


@pytest.mark.slow
def test_table_of_strangers():
    nearest, elastic, mirrored_too = people_table()
    for row in (nearest, elastic, mirrored_too):
        print(f"{row['method']:40s} {row['accuracy']:.3f} +- {row['sd']:.3f}")
    assert mirrored_too["accuracy"] >= 0.9
    assert mirrored_too["accuracy"] > nearest["accuracy"]


def test_a_mirror_image_has_the_same_answer(people, fitted):
    some = people.positions[:9]
    images = rotations_of([mirrored(p, SKELETON) for p in some])
    np.testing.assert_allclose(fitted.scores(images), fitted.scores(rotations_of(some)), atol=1e-4)
    alone = ElasticSequenceClassifier().fit(rotations_of(some), people.labels[:9])
    assert np.abs(alone.scores(images) - alone.scores(rotations_of(some))).max() > 0.1


def test_the_elastic_distance_ignores_speed(people, fitted):
    """A sequence at even speed against itself with its second half twice as fast: they differ by the sampling."""
    (path,) = rotations_of(people.positions[:1])
    cells = fitted.cells
    fine = ElasticSequenceClassifier(cells=2 * cells)._motions([path], None)
    velocity, pose = fine.velocity[0], fine.pose[0] - fitted.centre_
    faster = velocity[cells:].unflatten(0, (-1, 2)).sum(1), pose[cells:].unflatten(0, (-1, 2)).mean(1)
    even = unit_length(posed_transform(velocity, pose, fitted.weight_))
    uneven = posed_transform(
        torch.cat([velocity[:cells], faster[0]]), torch.cat([pose[:cells], faster[1]]), fitted.weight_
    )
    to_others = fitted._distances(fitted._compared(fitted._motions([path], None)), mirrored=False)[0]
    assert float(elastic_distance(even, unit_length(uneven)).square()) < 0.2 * float(to_others.median())


def test_a_restored_one_answers_the_same(people, fitted):
    X = rotations_of(people.positions[:5])
    again = ElasticSequenceClassifier(**fitted.get_params()).restore(fitted.classes_, fitted.tensors())
    np.testing.assert_array_equal(again.scores(X), fitted.scores(X))


def test_wrong_arguments_are_refused(people):
    X, y = rotations_of(people.positions[:9]), people.labels[:9]
    with pytest.raises(InputError, match="places"):
        ElasticSequenceClassifier(places=[0, 0, 1]).fit(X, y)
    with pytest.raises(InputError, match="sequences"):
        ElasticSequenceClassifier().fit([*X[:8], X[8][:, :3]], y)
    with pytest.raises(InputError, match="frames"):
        ElasticSequenceClassifier().fit([*X[:8], X[8][:2]], y)
    with pytest.raises(InputError, match="labels"):
        ElasticSequenceClassifier().fit(X, np.zeros(9))
