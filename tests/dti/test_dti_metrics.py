"""Metrics against dipy, scipy's generalised eigenvalues and closed forms."""

import math

import numpy as np
import pytest
import torch
from dipy.reconst.dti import fractional_anisotropy, mean_diffusivity
from scipy.linalg import eigvalsh, expm

from manifoldnet.dti import metrics


def random_spd(n, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    return torch.from_numpy((q * rng.uniform(0.2, 2, (n, 1, 3))) @ q.swapaxes(-1, -2))


def test_fa_and_md_agree_with_dipy():
    tensors = random_spd(40)
    values = np.linalg.eigvalsh(tensors.numpy())
    np.testing.assert_allclose(metrics.fa(tensors), fractional_anisotropy(values), rtol=1e-12)
    np.testing.assert_allclose(metrics.md(tensors), mean_diffusivity(values), rtol=1e-12)
    assert metrics.fa(tensors.float().reshape(2, 20, 3, 3)).shape == (2, 20)


def test_fa_at_its_ends():
    ends = torch.stack([torch.eye(3), torch.zeros(3, 3), torch.diag(torch.tensor([1e-3, 0.0, 0.0]))])
    assert metrics.fa(ends).tolist() == pytest.approx([0, 0, 1], abs=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 0.3, 0.5 * math.pi])
def test_principal_direction_error_is_the_angle_turned(angle):
    turn = torch.from_numpy(expm(angle * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 0.0]])))
    start = torch.diag(torch.tensor([1.7, 0.3, 0.2], dtype=torch.float64))
    turned = turn @ start @ turn.T
    error = metrics.principal_direction_error(torch.stack([turned]), torch.stack([start]))
    assert error.item() == pytest.approx(math.degrees(angle), rel=1e-6, abs=1e-9)


def test_squared_distance_from_generalised_eigenvalues():
    a, b = random_spd(20, 1), random_spd(20, 2)
    expected = [np.sum(np.log(eigvalsh(x, y)) ** 2) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(metrics.squared_distance(a, b), expected, rtol=1e-10)
    mix = torch.from_numpy(np.random.default_rng(3).standard_normal((3, 3)))
    moved = metrics.squared_distance(mix @ a @ mix.T, mix @ b @ mix.T)
    np.testing.assert_allclose(moved, expected, rtol=1e-8)


def test_delta_snr_of_scaled_tensors():
    true = random_spd(10)
    # scaling by s is at squared distance 3 log(s)^2 from the truth
    gain = metrics.delta_snr(1.4 * true, 1.1 * true, true)
    assert gain == pytest.approx(20 * math.log10(math.log(1.4) / math.log(1.1)), rel=1e-6)


def test_eigenvalues_are_clamped_by_protocol():
    eye = torch.eye(3, dtype=torch.float64)[None]
    indefinite = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))[None]
    found = metrics.distance_to_truth(indefinite, 9 * eye)
    floor, cap = 1e-3, 4.0
    assert found.item() == pytest.approx(2 * math.log(1 / cap) ** 2 + math.log(floor / cap) ** 2)
    assert metrics.distance_to_truth(100 * eye, 1e-9 * eye).item() == pytest.approx(3 * math.log(20 / 0.05) ** 2)
    assert metrics.delta_snr(indefinite, 2 * eye, eye) == pytest.approx(
        20 * math.log10(math.log(1 / 0.05) / (math.sqrt(3) * math.log(2)))
    )


def test_scores():
    true, noisy = random_spd(60, 4), random_spd(60, 5)
    same = metrics.scores(true, noisy, true)
    assert same.pop("delta_snr") > 100
    assert all(value == pytest.approx(0, abs=1e-9) for value in same.values())
    doubled = metrics.scores(torch.cat([2 * true[:59], -true[59:]]), noisy, true)
    assert doubled["not_spd"] == pytest.approx(1 / 60)
    assert doubled["d2_median"] == pytest.approx(3 * math.log(2) ** 2)
    expected = (metrics.md(true[:59]).sum() + 2 * metrics.md(true[59:]).sum()) / 60
    assert doubled["md_error"] == pytest.approx(expected.item())
    rounder = metrics.scores(true + torch.eye(3), noisy, true)
    assert rounder["fa_bias"] == pytest.approx(-rounder["fa_error"])
    assert rounder["direction_error"] == pytest.approx(0, abs=1e-5)
