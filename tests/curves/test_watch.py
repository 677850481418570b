"""Elastic distances on real curves: exercises recorded by a watch."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold

from manifoldnet.activity.windows import resample_imu, watch_windows
from manifoldnet.curves import ElasticKNNClassifier, srvt_of_increments
from manifoldnet.data import cached


@pytest.mark.slow
@pytest.mark.skipif(cached("watch") is None, reason="the watch data are not downloaded")
def test_nearest_neighbours_know_the_exercise_of_somebody_new():
    """benchmarks/elastic_watch.py has the other choices of norm, scale and sensors."""
    data = watch_windows()
    increments = torch.from_numpy(resample_imu(data.samples, 40, data.rate) * (4 / 40)).float()
    accuracy = {}
    for name, options in {"elastic": {}, "fixed time": {"band": 0}}.items():
        right = []
        for train, test in GroupKFold(5).split(data.samples, groups=data.subjects):
            size = increments[train].unflatten(-1, (2, 3)).square().mean((0, 1, 3)).rsqrt()
            q = srvt_of_increments(increments * size.repeat_interleave(3))
            classifier = ElasticKNNClassifier(scale="chord", **options).fit(q[train], data.labels[train])
            right.append(np.mean(classifier.predict(q[test]) == data.labels[test]))
        accuracy[name] = np.mean(right)
    assert accuracy["elastic"] > 0.82
    assert accuracy["elastic"] > accuracy["fixed time"] + 0.03
