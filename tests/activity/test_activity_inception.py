"""The small network of windows, and ensembles."""

import numpy as np
import pytest
import torch
from test_activity_convolutions import movements

from manifoldnet.activity.convolutions import ConvolutionModel
from manifoldnet.activity.ensemble import EnsembleModel
from manifoldnet.activity.inception import InceptionModel, InceptionNet
from manifoldnet.activity.models import DEFAULT, MODELS, build, named
from manifoldnet.activity.windows import mirror
from manifoldnet.errors import InputError

GROUPS = np.arange(80) // 8


def model(**rest):
    return InceptionModel(rate=25.0, steps=40, batch=16, filters=4, **rest)


@pytest.fixture(scope="module")
def told():
    windows, labels, sides = movements(80, 0)
    return model().fit(windows, labels, GROUPS, sides)


def test_net_for_any_length():
    net = InceptionNet(5, filters=3, bottleneck=4).eval()
    for t in (8, 40, 101):
        assert net(torch.randn(2, 6, t)).shape == (2, 5)


def test_it_learns(told):
    windows, labels, sides = movements(100, 1)
    p = told.predict_proba(windows, sides)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.mean(told.classes_[p.argmax(1)] == labels) > 0.9


def test_mirror_images(told):
    windows, labels, sides = movements(20, 2)
    np.testing.assert_allclose(
        told.predict_proba(mirror(windows), 1 - sides), told.predict_proba(windows, sides), atol=1e-5
    )
    untold = InceptionModel(rate=25.0, steps=2, batch=4, filters=2).fit(windows, labels, GROUPS[:20])
    np.testing.assert_allclose(untold.predict_proba(mirror(windows)), untold.predict_proba(windows), atol=1e-6)
    with torch.inference_mode():
        one, other = (untold.net_(untold._input(x)) for x in (windows, mirror(windows)))
    assert (one - other).abs().max() > 1e-4


def test_seeds_and_state(told):
    """And the caller's random numbers are left alone."""
    windows, labels, sides = movements(80, 0)
    state = torch.random.get_rng_state()
    first, again, other = (
        InceptionModel(rate=25.0, steps=3, batch=8, filters=2, seed=seed).fit(windows, labels, GROUPS, sides)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    p = first.predict_proba(windows, sides)
    np.testing.assert_array_equal(again.predict_proba(windows, sides), p)
    assert not np.allclose(other.predict_proba(windows, sides), p)
    restored = InceptionModel(**told.get_params()).restore(told.classes_, told.tensors())
    np.testing.assert_array_equal(restored.predict_proba(windows, sides), told.predict_proba(windows, sides))


def test_ensemble(told):
    windows, labels, sides = movements(80, 0)
    members = [ConvolutionModel(families=4), InceptionModel(rate=25.0, steps=3, batch=8, filters=2)]
    ensemble = EnsembleModel(members).fit(windows, labels, GROUPS, sides)
    alone = [member.fit(windows, labels, GROUPS, sides).predict_proba(windows, sides) for member in members]
    p = ensemble.predict_proba(windows, sides)
    np.testing.assert_allclose(p, (alone[0] + alone[1]) / 2, atol=1e-6)
    restored = EnsembleModel(members).restore(ensemble.classes_, ensemble.tensors())
    np.testing.assert_array_equal(restored.predict_proba(windows, sides), p)


def test_models_by_name():
    for name, (parts, kinds, _) in MODELS.items():
        made = build(name, kinds[0], rate=25.0, seed=3, mirror=False, device="cpu")
        members = made.members if len(parts) > 1 else [made]
        for member in members:
            given = member.get_params()
            assert (given["rate"], given["seed"]) == (25.0, 3)
            assert given.get("mirror", False) is False
    assert named("auto", "imu") == MODELS[DEFAULT["imu"]]
    assert build("best", "imu", epochs=7).members[1].epochs == 7
    for name, kind, rest, words in (
        ("oracle", "imu", {}, "model.*oracle"),
        ("best", "rotations", {}, "model.*rotations"),
        ("fast", "imu", {"steps": 3, "colour": 1}, "options.*colour, steps"),
    ):
        with pytest.raises(InputError, match=words):
            build(name, kind, **rest)
