"""Cross-validation by subject, on synthetic recordings."""

import numpy as np
import pytest
from test_activity_train import recordings

from manifoldnet.activity import evaluate as activity_evaluate
from manifoldnet.activity.evaluate import evaluate

PARAMETERS = {"samples": 10, "steps": 2}


@pytest.fixture(scope="module")
def rows():
    return evaluate(PARAMETERS, folds=4, data=recordings())


def test_rows(rows):
    assert rows[0]["method"] == "chance"
    assert rows[0]["recordings"] == rows[0]["windows"] == pytest.approx(1 / 3)
    assert len(rows) == 4
    assert "learned" in rows[-1]["method"]
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert all(0 <= value <= 1 for row in rows for value in row.values() if not isinstance(value, str))
    assert rows[-1]["recordings"] > 0.9  # an easy problem


def test_no_person_is_on_both_sides(monkeypatch):
    """And each is tested once a method."""
    fits, tests = [], []
    original = activity_evaluate.ActivityClassifier

    class Spy(original):
        def fit(self, X, y, groups=None, **rest):
            fits.append(set(groups))
            self.seen_ = {id(x) for x in X}
            return super().fit(X, y, groups, **rest)

        def window_probabilities(self, X):
            assert not self.seen_ & {id(x) for x in X}
            tests.append(len(X))
            return super().window_probabilities(X)

    # scikit-learn reads the parameters from the class that has them
    Spy.__init__ = original.__init__
    monkeypatch.setattr(activity_evaluate, "ActivityClassifier", Spy)
    said = []
    evaluate(PARAMETERS, folds=2, data=recordings(), progress=said.append)
    assert len(fits) == len(said) == 6
    assert all(len(groups) == 2 for groups in fits)
    assert tests == [12] * 6
    assert said[0].endswith("fold 1 of 2")


def test_accuracy_by_hand():
    """One fold counted here: recordings pooled over windows, windows alone."""
    data = recordings(2)
    (row,) = evaluate({**PARAMETERS, "steps": 0}, folds=2, data=data)[2:3]
    shares, of_windows = [], []
    for subject in (1, 2):
        here, there = data.of([subject]), data.of([subject], others=True)
        classifier = activity_evaluate.ActivityClassifier(**{**PARAMETERS, "steps": 0})
        classifier.fit(there.samples, there.labels, there.subjects)
        shares.append(np.mean(classifier.predict(here.samples) == here.labels))
        p, owner = classifier.window_probabilities(here.samples)
        of_windows.append(np.mean(classifier.classes_[p.argmax(1)] == here.labels[owner]))
    assert row["recordings"] == pytest.approx(np.mean(shares))
    assert row["sd"] == pytest.approx(np.std(shares))
    assert row["windows"] == pytest.approx(np.mean(of_windows))
