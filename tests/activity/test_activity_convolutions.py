"""Competing kernels against torch's convolutions, the ridge against scikit-learn's, and the model's symmetries."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.linear_model import Ridge

from manifoldnet.activity.augment import remount
from manifoldnet.activity.convolutions import ConvolutionModel
from manifoldnet.activity.ridge import PENALTIES, choose_penalty, dual_weights, group_residuals
from manifoldnet.activity.windows import mirror
from manifoldnet.activity.winners import count_winners

LABELS = np.array(["in", "out"])


def movements(n, seed, t=64):
    """Windows (n, t, 6), labels and sides: turning in or out, which are mirror images of each other on two wrists."""
    rng = np.random.default_rng(seed)
    codes, sides = rng.integers(2, size=n), rng.integers(2, size=n)
    time = np.linspace(0, 1, t)
    phase, speed = rng.uniform(0, 6, n)[:, None], rng.uniform(3, 4, n)[:, None]
    wave = np.sin(2 * np.pi * speed * time + phase)
    samples = rng.normal(0, 0.2, (n, t, 6))
    samples[..., 0] += wave
    samples[..., 1] += (2 * codes - 1)[:, None] * np.roll(wave, 3, 1)
    samples[..., 5] += 1
    return np.where((sides == 1)[:, None, None], mirror(samples), samples), LABELS[codes], sides


def test_winners_as_torch_counts_them():
    rng = np.random.default_rng(0)
    series = rng.standard_normal((3, 4, 50)).astype(np.float32)
    sources = np.array([[0, 2], [1, 3], [3, 0]])
    kernels = rng.standard_normal((3, 8, 9)).astype(np.float32)
    dilations, differences = np.array([1, 4, 2]), np.array([False, True, False])
    out = np.empty((3, 3, 2, 8), np.float32)
    count_winners(series, sources, kernels, dilations, differences, out)
    for f, (d, diff) in enumerate(zip(dilations.tolist(), differences, strict=True)):
        seen = torch.from_numpy(series[:, sources[f]].sum(1, keepdims=True))
        seen = seen.diff() if diff else seen
        values = torch.nn.functional.conv1d(seen, torch.from_numpy(kernels[f, :, None]), padding=4 * d, dilation=d)
        best, winner = values.max(1)
        sums = torch.zeros(3, 8).scatter_add_(1, winner, best)
        counts = torch.nn.functional.one_hot(values.argmin(1), 8).sum(1)
        torch.testing.assert_close(torch.from_numpy(out[:, f, 0]), sums, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.from_numpy(out[:, f, 1]), counts.float())


def test_ridge_leaves_groups_out():
    rng = np.random.default_rng(1)
    x, y, parts = rng.normal(size=(30, 80)), rng.normal(size=(30, 2)), np.arange(30) % 3
    found = group_residuals(x @ x.T, y, parts, 5.0)
    for part in range(3):
        here = parts == part
        ridge = Ridge(5.0, fit_intercept=False).fit(x[~here], y[~here])
        np.testing.assert_allclose(found[here], y[here] - ridge.predict(x[here]), atol=1e-8)
    ridge = Ridge(5.0, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(x.T @ dual_weights(x @ x.T, y, 5.0), ridge.coef_.T, atol=1e-8)


def test_penalty_grows_with_the_noise():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 20))
    truth, parts = x @ rng.normal(size=(20, 1)), np.arange(60) % 4
    noisy, clean = (choose_penalty(x @ x.T, truth + s * rng.normal(size=(60, 1)), parts) for s in (20.0, 0.0))
    assert noisy > clean
    scale = np.trace(x @ x.T) / 60
    assert clean / scale == pytest.approx(PENALTIES[0])


@pytest.fixture(scope="module")
def told():
    windows, labels, sides = movements(80, 0)
    return ConvolutionModel(families=8).fit(windows, labels, np.arange(80) // 8, sides)


@pytest.fixture(scope="module")
def untold():
    windows, labels, _ = movements(80, 0)
    return ConvolutionModel(families=8).fit(windows, labels, np.arange(80) // 8)


def test_the_side_matters(told, untold):
    """In and out are mirror images: with the side they are told apart, without it they cannot be."""
    windows, labels, sides = movements(100, 1)
    right = told.classes_[told.predict_proba(windows, sides).argmax(1)] == labels
    assert right.mean() > 0.95
    blind = untold.classes_[untold.predict_proba(windows).argmax(1)] == labels
    assert 0.3 < blind.mean() < 0.7


def test_answers_to_mirror_images(told, untold):
    windows, _, sides = movements(20, 2)
    np.testing.assert_allclose(
        untold.predict_proba(mirror(windows)), untold.predict_proba(windows), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(
        told.predict_proba(mirror(windows), 1 - sides), told.predict_proba(windows, sides), rtol=1e-3, atol=1e-5
    )
    assert np.abs(told.predict_proba(windows, 1 - sides) - told.predict_proba(windows, sides)).max() > 0.1


def test_invariant_channels_do_not_see_the_mounting():
    windows, labels, sides = movements(60, 3)
    model = ConvolutionModel(families=6, names=("invariants",)).fit(windows, labels, np.arange(60) // 6, sides)
    turned = remount(windows, Rotation.random(60, rng=0).as_matrix())
    np.testing.assert_allclose(model.predict_proba(turned), model.predict_proba(windows), rtol=1e-2, atol=1e-3)


def test_probabilities_seeds_and_state(told):
    windows, labels, sides = movements(80, 0)
    p = told.predict_proba(windows, sides)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    groups = np.arange(80) // 8
    again, other = (ConvolutionModel(families=8, seed=seed).fit(windows, labels, groups, sides) for seed in (0, 1))
    np.testing.assert_array_equal(again.predict_proba(windows, sides), p)
    assert not np.allclose(other.predict_proba(windows, sides), p)
    restored = ConvolutionModel(**told.get_params()).restore(told.classes_, told.tensors())
    np.testing.assert_array_equal(restored.predict_proba(windows, sides), p)
    with pytest.raises(KeyError):
        ConvolutionModel().restore(told.classes_, {})


def test_copies(told):
    windows, labels, sides = movements(80, 0)
    groups = np.arange(80) // 8
    unseen, truth, wrists = movements(100, 1)
    model = ConvolutionModel(families=8, copies=2).fit(windows, labels, groups, sides)
    assert np.mean(model.classes_[model.predict_proba(unseen, wrists).argmax(1)] == truth) > 0.95


def test_one_group_and_short_windows():
    windows, labels, sides = movements(20, 0, t=16)
    model = ConvolutionModel(families=2).fit(windows, labels, np.zeros(20), sides)
    assert np.isfinite(model.predict_proba(windows[:1], sides[:1])).all()
