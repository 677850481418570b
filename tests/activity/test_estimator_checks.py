"""All of scikit-learn's checks of estimators, which make tables of numbers, on classifiers that read rows as curves."""

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.curves.estimators import SRVT, ElasticKNNClassifier
from manifoldnet.manifolds import SO3


class OfRows:
    """The row of a table stands for a curve, so that all is checked but the reading of curves."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError("wanted at least two classes, got one class")
        return super().fit(self.curves(X), y)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(self.curves(validate_data(self, X, reset=False)))

    def predict(self, X):
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]


class ActivitiesOfRows(OfRows, ActivityClassifier):
    def curves(self, X):
        return [np.resize(x, (16, 6)) for x in X]


class TransformsOfRows(OfRows, ElasticKNNClassifier):
    def curves(self, X):
        return [x[None] for x in X]


def beartype_forbids(estimator):
    return {"check_do_not_raise_errors_in_init_or_set_params": "in tests, arguments of a wrong type are refused"}


ACTIVITIES = ActivitiesOfRows(model="elastic", options={"samples": 8, "steps": 0}, seconds=0.32)


@parametrize_with_checks([ACTIVITIES, TransformsOfRows()], expected_failed_checks=beartype_forbids)
def test_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [ActivityClassifier(), ElasticKNNClassifier(), SRVT(SO3())])
def test_that_no_table_is_taken(estimator):
    """scikit-learn is told so, and does not try."""
    with pytest.warns(SkipTestWarning, match="three_d_array=True"):
        check_estimator(estimator)
