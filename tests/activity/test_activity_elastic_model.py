"""The classifier by elastic pieces and log-signatures."""

import numpy as np
import pytest
from window_examples import windows

from manifoldnet.activity.elastic_model import ElasticClassifier
from manifoldnet.activity.ridge import folds_of
from manifoldnet.activity.windows import mirror
from manifoldnet.errors import InputError

OPTIONS = {"cells": 24, "length": 10, "count": 24}


@pytest.fixture(scope="module")
def blind():
    X, y, who, _ = windows(36, 0)
    return ElasticClassifier(**OPTIONS).fit(X, y, who)


def test_it_knows_strangers(blind):
    X, y, who, _ = windows(72, 1)
    X, y = X[who >= 6], y[who >= 6]
    assert np.mean(blind.predict(X) == y) >= 0.9
    probabilities = blind.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    elastic, signature = (scores.argmax(1) for scores in blind.scores(X))
    assert min(np.mean(blind.classes_[part] == y) for part in (elastic, signature)) >= 0.8


def test_a_mirror_image_has_the_same_answer(blind):
    X = windows(12, 2)[0]
    np.testing.assert_allclose(blind.predict_proba(mirror(X)), blind.predict_proba(X), atol=1e-5)


def test_with_sides_the_second_is_a_mirror_of_the_first():
    X, y, who, sides = windows(18, 0)
    model = ElasticClassifier(**OPTIONS).fit(X, y, who, sides)
    given = model.predict_proba(X, sides)
    np.testing.assert_allclose(model.predict_proba(mirror(X), 1 - sides), given, atol=1e-5)
    assert np.abs(model.predict_proba(X, 1 - sides) - given).max() > 0.01


def test_a_restored_one_answers_the_same(blind):
    X = windows(6, 3)[0]
    again = ElasticClassifier(**blind.get_params()).restore(blind.classes_, blind.tensors())
    assert not any("." in name for name in blind.tensors())
    np.testing.assert_array_equal(again.predict_proba(X), blind.predict_proba(X))


def test_one_class_is_refused():
    X, _, who, _ = windows(6, 0)
    with pytest.raises(InputError, match="labels"):
        ElasticClassifier(**OPTIONS).fit(X, np.zeros(6), who)


def test_one_person_alone_is_split_by_windows():
    """Otherwise nothing would be left out where the penalty is chosen, and the least one always be."""
    assert sorted(set(folds_of(np.zeros(9, int)))) == [0, 1, 2, 3]
    parts = np.array([0, 1, 2, 3, 4, 5, 5, 5])
    assert all(len(set(folds_of(parts)[parts == part])) == 1 for part in parts)
    X, y, *_ = windows(18, 0)
    one = ElasticClassifier(**OPTIONS).fit(X, y, np.zeros(len(y)))
    each = ElasticClassifier(**OPTIONS).fit(X, y, np.arange(len(y)) % 4)
    np.testing.assert_allclose(one.scores(X), each.scores(X))
