"""Distances on the circle against numpy, brute force and numbers known in advance."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from manifoldnet.errors import InputError
from manifoldnet.insar.metrics import delta_snr, residues, rmse_by_coherence, ssim, wrap, wrapped_rmse


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wrap(rng, dtype):
    x = rng.uniform(-5000, 5000, 4000).astype(dtype)
    pi = dtype(np.pi)
    ends = [pi, -pi, 3 * pi, np.nextafter(-pi, dtype(0)), np.nextafter(pi, dtype(4)), 0, np.nan]
    x = np.concatenate([x, np.array(ends, dtype)])
    wrapped = wrap(x)
    assert wrapped.dtype == dtype
    turns = (x[:-1].astype(float) - wrapped[:-1]) / (2 * np.pi)
    assert_allclose(turns, np.round(turns), rtol=0, atol=1e-12 if dtype is np.float64 else 2e-7)
    assert np.nanmax(wrapped) == pi
    assert np.nanmin(wrapped) > -pi
    assert np.isnan(wrapped[-1])
    assert wrapped[-4] == x[-4]
    tensor = wrap(torch.from_numpy(x))
    assert tensor.dtype == torch.from_numpy(x).dtype
    assert_array_equal(tensor.numpy(), wrapped)
    assert_array_equal(wrap(wrapped), wrapped)


def test_wrap_passes_gradients_on():
    x = torch.tensor([0.3, 4.0, -9.0], requires_grad=True)
    wrap(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(3))


def test_rmse_goes_round_the_circle(rng):
    true = rng.uniform(-3, 3, (2, 20, 30))
    error = rng.normal(0, 0.5, true.shape)
    est = true + error + 2 * np.pi * rng.integers(-3, 4, true.shape)
    assert_allclose(wrapped_rmse(est, true), math.sqrt((error**2).mean()))
    assert_allclose(wrapped_rmse(torch.from_numpy(est), true), math.sqrt((error**2).mean()))
    mask = rng.random(true.shape) > 0.4
    assert_allclose(wrapped_rmse(est, true, mask), math.sqrt((error[mask] ** 2).mean()))
    est[~mask] = np.nan
    assert_allclose(wrapped_rmse(est, true), math.sqrt((error[mask] ** 2).mean()))
    with pytest.raises(InputError, match="mask: no pixel"):
        wrapped_rmse(est, true, ~mask)


def test_rmse_by_coherence(rng):
    true, coherence = np.zeros((3, 4)), np.full((3, 4), 0.1)
    coherence[1], coherence[2] = 0.3, 0.59
    est = np.repeat([[0.4], [0.2], [0.1]], 4, axis=1)
    split = rmse_by_coherence(est, true, coherence)
    assert_allclose([split["<.3"], split[".3-.6"]], [0.4, math.sqrt((0.04 + 0.01) / 2)])
    assert math.isnan(split[">.6"])
    coherence[2] = 0.6
    split = rmse_by_coherence(est, true, coherence, mask=coherence < 1)
    assert_allclose(list(split.values()), [0.4, 0.2, 0.1])


def test_delta_snr(rng):
    true, noise = rng.uniform(-3, 3, (9, 9)), rng.normal(0, 0.3, (9, 9))
    assert_allclose(delta_snr(true + noise / 10, true + noise, true), 20)
    assert_allclose(delta_snr(true + noise, true + noise, true), 0)
    assert delta_snr(true, true + noise, true) == math.inf


def test_delta_snr_counts_the_same_pixels_for_both(rng):
    true, noise = np.zeros((9, 9)), np.ones((9, 9))
    est = noise / 10
    est[:5] = np.nan
    assert_allclose(delta_snr(est, noise, true), 20)


def test_residues(rng):
    y, x = np.mgrid[-4:5, -4:5] + 0.5
    vortex = np.arctan2(y, x)
    assert residues(vortex) == 1
    assert residues(np.stack([vortex, -vortex, 0 * x])) == 2
    noise = rng.uniform(-np.pi, np.pi, (15, 17))
    count = 0
    for i in range(14):
        for j in range(16):
            loop = [noise[i, j], noise[i, j + 1], noise[i + 1, j + 1], noise[i + 1, j], noise[i, j]]
            count += abs(np.angle(np.exp(1j * np.diff(loop))).sum()) > 1
    assert residues(noise) == residues(torch.from_numpy(noise)) == count > 40
    vortex[4, 4] = np.nan
    assert residues(vortex) == 0


def test_ssim(rng):
    true = np.cumsum(rng.normal(0, 0.4, (40, 50)), axis=1)
    est = true + rng.normal(0, 0.7, true.shape)

    def blur(image):
        def bell(x):
            return gaussian_filter(x, 1.5, truncate=3.5, mode="constant")

        return bell(image) / bell(np.ones_like(image))

    values = []
    for part in (np.cos, np.sin):
        a, b = part(est), part(true)
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        values.append((2 * ma * mb + 0.0004) * (2 * cov + 0.0036) / ((ma**2 + mb**2 + 0.0004) * (va + vb + 0.0036)))
    assert_allclose(ssim(est, true), np.mean(values), rtol=1e-9)
    assert_allclose(ssim(true + 2 * np.pi, true), 1)
    est[:20] = np.nan
    assert_allclose(ssim(est, true), ssim(est[20:], true[20:]))
