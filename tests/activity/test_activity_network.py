"""The network on curves in SO(3)^k x R^m as a classifier of windows."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from window_examples import windows

from manifoldnet.activity.lie_network import Curves, LieNetwork
from manifoldnet.activity.network import LieNetworkClassifier
from manifoldnet.activity.windows import mirror
from manifoldnet.errors import InputError

OPTIONS = {"cells": 16, "epochs": 12, "batch": 12}


@pytest.fixture(scope="module")
def blind():
    X, y, who, _ = windows(36, 0)
    return LieNetworkClassifier(**OPTIONS).fit(X, y, who)


def paths(n, seed):
    """Rotations (n, 30, 2, 3, 3) of two bodies."""
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, 30)[:, None, None]
    vectors = rng.normal(size=(n, 1, 2, 3)) * np.sin(2 * np.pi * u + rng.random((n, 1, 2, 3)))
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(n, 30, 2, 3, 3)


def test_it_knows_strangers(blind):
    X, y, who, _ = windows(72, 1)
    X, y = X[who >= 6], y[who >= 6]
    assert np.mean(blind.predict(X) == y) >= 0.85
    np.testing.assert_allclose(blind.predict_proba(X).sum(1), 1, rtol=1e-5)


def test_learned_rotations_stay_rotations(blind):
    W = blind.network_.charts.rotations.detach()
    assert (W.mT @ W - torch.eye(3)).abs().max() < 1e-5


def test_a_mirror_image_has_the_same_answer(blind):
    X = windows(12, 2)[0]
    np.testing.assert_allclose(blind.predict_proba(mirror(X)), blind.predict_proba(X), atol=1e-5)


def test_with_sides_the_second_is_a_mirror_of_the_first():
    X, y, who, sides = windows(18, 0)
    model = LieNetworkClassifier(cells=16, epochs=1).fit(X, y, who, sides)
    given = model.predict_proba(X, sides)
    np.testing.assert_allclose(model.predict_proba(mirror(X), 1 - sides), given, atol=1e-6)
    again = LieNetworkClassifier(cells=16, epochs=1).fit(X, y, who, sides)
    np.testing.assert_array_equal(again.predict_proba(X, sides), given)


def test_a_restored_one_answers_the_same(blind):
    X = windows(6, 3)[0]
    again = LieNetworkClassifier(**blind.get_params()).restore(blind.classes_, blind.tensors())
    assert not any("." in name for name in blind.tensors())
    np.testing.assert_array_equal(again.predict_proba(X), blind.predict_proba(X))


def test_rotations_from_another_initial_attitude_have_the_same_answer():
    X, y = paths(12, 0), np.arange(12) % 2
    model = LieNetworkClassifier(cells=16, epochs=1, places=[1, 0]).fit(X, y)
    Q = Rotation.random(2, random_state=1).as_matrix()
    np.testing.assert_allclose(model.predict_proba(Q @ X), model.predict_proba(X), atol=1e-4)
    M = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(model.predict_proba(M @ X[:, :, ::-1] @ M), model.predict_proba(X), atol=1e-4)
    # from the right it is another movement
    assert np.abs(model.predict_proba(X @ Q) - model.predict_proba(X)).max() > 1e-3


def test_every_layer_gets_a_gradient():
    g = torch.Generator().manual_seed(0)
    network = LieNetwork(2, 3, 4, generator=g)
    attitude = torch.from_numpy(paths(3, 0)[:, :16]).float()
    scores = network(Curves(torch.randn(3, 16, 6, generator=g), torch.randn(3, 16, 3, generator=g), attitude))
    assert scores.shape == (3, 4)
    scores.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # the softmax of a clock does not see a shift
        assert parameter.grad.any() or name == "clock.increments.2.bias", name


def test_wrong_arguments_are_refused():
    X, y, who, _ = windows(6, 0)
    with pytest.raises(InputError, match="cells"):
        LieNetworkClassifier(cells=30).fit(X, y, who)
    with pytest.raises(InputError, match="labels"):
        LieNetworkClassifier().fit(X, np.zeros(6), who)
    with pytest.raises(InputError, match="windows"):
        LieNetworkClassifier().fit(X[..., :5], y, who)
