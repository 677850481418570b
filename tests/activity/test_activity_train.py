"""The fit of the shipped classifier, here to synthetic recordings in place of the downloaded ones."""

import numpy as np
import pytest
import torch

from manifoldnet.activity import train as activity_train
from manifoldnet.activity.train import Recordings, shipped_config, train, watch
from manifoldnet.data import cached
from manifoldnet.errors import InputError

CONFIG = {"held_out": [3], "classifier": {"seconds": 1.6, "options": {"families": 2}, "seed": 1}, "threads": 1}


def recordings(subjects=4, seed=0):
    """Two recordings of each of three movements by each subject."""
    rng = np.random.default_rng(seed)
    samples, labels, who = [], [], []
    for subject in range(1, subjects + 1):
        for k, label in enumerate(["ABD", "ROW", "PEN"] * 2):
            t = np.linspace(0, 1, int(rng.integers(80, 260)))[:, None]
            turning = 2 * np.sin(2 * np.pi * (1 + k % 3) * t + np.arange(3)) + rng.normal(0, 0.1, (len(t), 3))
            samples.append(np.concatenate([turning, [0, 0, 1] + 0.1 * turning], 1))
            labels.append(label)
            who.append(subject)
    return Recordings(samples, np.array(labels), np.array(who))


@pytest.fixture
def data(monkeypatch):
    made = recordings()
    monkeypatch.setattr(activity_train, "watch", lambda: made)
    return made


def test_one_configuration_one_classifier(data, tmp_path):
    first, again = train(CONFIG), train(CONFIG)
    assert torch.equal(first.model_.tensors()["weights"], again.model_.tensors()["weights"])
    other = train({**CONFIG, "classifier": {**CONFIG["classifier"], "seed": 2}})
    assert not torch.equal(first.model_.tensors()["weights"], other.model_.tensors()["weights"])
    first.save(tmp_path / "w.safetensors")
    assert type(first).load(tmp_path / "w.safetensors").config_ == CONFIG


def test_held_out_people_are_not_seen(data, monkeypatch):
    seen = []
    original = activity_train.ActivityClassifier.fit

    def spy(self, X, y, groups, **rest):
        seen.append((X, groups))
        return original(self, X, y, groups, **rest)

    monkeypatch.setattr(activity_train.ActivityClassifier, "fit", spy)
    classifier = train(CONFIG)
    ((X, groups),) = seen
    assert set(groups) == {1, 2, 4}
    held_out = data.of([3])
    assert not any(x is other for x in X for other in held_out.samples)
    # changing what they did changes nothing
    for k in np.flatnonzero(data.subjects == 3):
        data.samples[k][:] = 1e3
    assert torch.equal(train(CONFIG).model_.tensors()["weights"], classifier.model_.tensors()["weights"])


def test_subjects():
    data = recordings()
    one, others = data.of([2]), data.of([2], others=True)
    assert set(one.subjects) == {2}
    assert set(others.subjects) == {1, 3, 4}
    assert len(one.samples) + len(others.samples) == len(data.samples)
    places = np.flatnonzero(data.subjects == 2)
    assert all(a is data.samples[k] for a, k in zip(one.samples, places, strict=True))
    assert data.of([], others=True).samples == data.samples


def test_refused_device(data):
    with pytest.raises(InputError, match="abacus"):
        train(CONFIG, device="abacus")


def test_shipped_configuration():
    config = shipped_config()
    assert config.keys() == CONFIG.keys()
    activity_train.ActivityClassifier(**config["classifier"])


@pytest.mark.skipif(cached("watch") is None, reason="needs manifoldnet data get watch")
def test_watch():
    data = watch()
    assert len(data.samples) == len(data.labels) == len(data.subjects) == len(data.sides) == 140
    assert set(data.subjects) == set(range(1, 11))
    assert set(shipped_config()["held_out"]) < set(data.subjects)
