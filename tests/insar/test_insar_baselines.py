"""Filters against scipy, brute force and the properties that define them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines import (
    baran,
    block_matching,
    bm3d,
    boxcar,
    gaussian,
    goldstein,
    nonlocal_means,
    total_variation,
    windowed_fourier,
)
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.shapes import cone, squares
from manifoldnet.insar.speckle import observe

FILTERS = [
    lambda z: boxcar(z, 3),
    lambda z: gaussian(z, 1.3),
    lambda z: goldstein(z, 1.0, patch=16, step=4),
    lambda z: baran(z, torch.full(z.shape, 0.3, dtype=torch.float64), patch=16, step=4),
    lambda z: windowed_fourier(z, 16, 4),
    lambda z: nonlocal_means(z, 1.0, 0.5, patch=3, search=5),
]


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(2, 37, 41, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


def mean_of(filtered, z: torch.Tensor) -> torch.Tensor:
    """A zero-padded scipy filter divided by the same filter of the pixels that exist."""
    valid = torch.isfinite(z).numpy()
    values = np.where(valid, z.numpy(), 0)
    mean = (filtered(values.real) + 1j * filtered(values.imag)) / filtered(valid.astype(float))
    return torch.from_numpy(np.where(valid, mean, np.nan))


def test_averages_agree_with_scipy(z):
    z[0, 5:9, 7:30] = math.nan
    for image in z:
        box = mean_of(lambda x: ndimage.uniform_filter(x, 5, mode="constant"), image)
        assert_close(boxcar(image, 5), box, equal_nan=True)
        bell = mean_of(lambda x: ndimage.gaussian_filter(x, 1.7, mode="constant", truncate=4), image)
        assert_close(gaussian(image, 1.7), bell, equal_nan=True)
    assert_close(gaussian(z[1].real, 1.7), gaussian(z[1], 1.7).real)


def test_goldstein_of_one_patch_is_its_formula(z):
    patch = z[0, :16, :16].numpy()
    spectrum = np.fft.fft2(patch)
    size = ndimage.uniform_filter(abs(spectrum), 3, mode="wrap")
    expected = np.fft.ifft2(spectrum * (size / size.max()) ** 0.7)
    # the only tile without its neighbours: one step is one patch, and the window is flat after normalisation
    assert_close(goldstein(z[0, :16, :16], 0.7, patch=16, step=16), torch.from_numpy(expected))


def test_goldstein_without_strength_changes_nothing(z):
    assert_close(goldstein(z, 0, patch=16, step=4), z)


def test_goldstein_of_an_image_of_exponents_averages_them_over_the_patch(z):
    alpha = torch.rand(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    patch, exponents = z[0, :16, :16], alpha[0, :16, :16].clone()
    same = goldstein(patch, float(exponents.mean()), patch=16, step=16)
    assert_close(goldstein(patch, exponents, patch=16, step=16), same)
    assert_close(baran(patch, 1 - exponents, patch=16, step=16), same)
    exponents[3, :5] = math.nan
    assert_close(
        goldstein(patch, exponents, patch=16, step=16),
        goldstein(patch, float(exponents.nanmean()), patch=16, step=16),
    )
    # constant coherence is one exponent everywhere, and full coherence leaves all as it is
    assert_close(baran(z, torch.full_like(alpha, 0.4), 16, 4), goldstein(z, 0.6, 16, 4))
    assert_close(baran(z, torch.ones_like(alpha), 16, 4), z)


def test_windowed_fourier_is_its_formula(z):
    """Against loops over the windows in numpy."""
    image = z[0, :20, :24].numpy()
    window, step, tau, power = 8, 4, 2.0, 1.5
    sine = np.sin(np.pi * (np.arange(window) + 0.5) / window)
    outer = np.outer(sine, sine)
    padded = np.pad(image, window)
    total, weight = np.zeros_like(padded), np.zeros(padded.shape)
    for top in range(0, padded.shape[0] - window + 1, step):
        for left in range(0, padded.shape[1] - window + 1, step):
            area = slice(top, top + window), slice(left, left + window)
            spectrum = np.fft.fft2(padded[area] * outer)
            noise = (abs(padded[area] * outer) ** 2).sum()
            m = ndimage.uniform_filter(abs(spectrum) ** 2, 3, mode="wrap") / max(noise, 1e-300)
            total[area] += np.fft.ifft2(spectrum * (m / (m + tau)) ** power) * outer
            weight[area] += outer**2
    inside = slice(window, -window), slice(window, -window)
    expected = torch.from_numpy((total / np.maximum(weight, 1e-9))[inside])
    assert_close(windowed_fourier(z[0, :20, :24], window, step, tau, power), expected)


def test_windowed_fourier_limits(z):
    assert_close(windowed_fourier(z, 16, 4, tau=0), z)
    assert_close(windowed_fourier(z, 16, 4, power=0), z)
    assert_close(windowed_fourier(1e-3 * z), 1e-3 * windowed_fourier(z))
    weights = torch.rand(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert_close(windowed_fourier(z, weights=weights), windowed_fourier(z * weights))
    weights[0, 3] = math.nan
    assert_close(windowed_fourier(z, weights=weights), windowed_fourier(z * weights.nan_to_num(0)))
    # of pure noise hardly anything is left, of a fringe hardly anything is lost
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    fringe = torch.polar(torch.ones(96, 96), 0.7 * x - 0.4 * y)
    inside = (slice(32, 64), slice(32, 64))
    assert (windowed_fourier(fringe) / fringe)[inside].abs().min() > 0.7
    noise = torch.randn(96, 96, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert windowed_fourier(noise)[inside].abs().square().mean() < 0.005


def test_nonlocal_means_is_its_formula(z):
    """Against loops over pixels in numpy; NaN takes no part."""
    image = z[0, :9, :8].clone()
    image[2, 3] = math.nan
    values, patch, search, sigma, strength = image.numpy(), 3, 5, 0.8, 0.9
    height, width = values.shape

    def pixel(row, column):
        return values[row, column] if 0 <= row < height and 0 <= column < width else math.nan

    offsets = [(i, j) for i in range(-1, 2) for j in range(-1, 2)]
    expected = np.full_like(values, complex(math.nan))
    for row in range(height):
        for column in range(width):
            weights, others = [], []
            for down in range(-2, 3):
                for right in range(-2, 3):
                    other = pixel(row + down, column + right)
                    if (down, right) == (0, 0) or np.isnan(other):
                        continue
                    pairs = [
                        abs(pixel(row + i, column + j) - pixel(row + down + i, column + right + j)) ** 2
                        for i, j in offsets
                    ]
                    distance = np.nanmean(pairs)
                    weights.append(math.exp(-max(distance - 2 * sigma**2, 0) / (strength * sigma) ** 2))
                    others.append(other)
            if not np.isnan(values[row, column]):
                weights, others = [*weights, max(weights)], [*others, values[row, column]]
                expected[row, column] = np.dot(weights, others) / sum(weights)
    result = nonlocal_means(image, sigma, strength, patch, search)
    assert torch.equal(torch.isnan(result), torch.isnan(image))
    assert_close(result.nan_to_num(), torch.from_numpy(expected).nan_to_num())


def test_nonlocal_means_keeps_an_edge_that_a_mean_blurs():
    phase = torch.zeros(40, 40)
    phase[:, 20:] = 2.0
    noisy, _ = observe(phase, torch.full_like(phase, 0.9), 4, torch.Generator().manual_seed(0))
    near = (slice(None), slice(18, 22))
    errors = [wrapped_rmse(f(noisy).angle()[near], phase[near]) for f in (nonlocal_means, lambda z: boxcar(z, 7))]
    assert errors[0] < 0.5 * errors[1]


def test_total_variation_of_the_phase(z):
    """Moduli do not count, phase turns and conjugates commute, NaN stays, and squares come out flat."""
    smooth = total_variation(z, 0.4, 0.1, iterations=5)
    assert_close(smooth.abs(), torch.ones_like(z.real))
    turn = complex(math.cos(2), math.sin(2))
    assert_close(total_variation(3 * turn * z, 0.4, 0.1, iterations=5), turn * smooth)
    assert_close(total_variation(z.conj(), 0.4, 0.1, iterations=5), smooth.conj())
    phase = squares(48, 1.5)
    noisy, _ = observe(phase, torch.full_like(phase, 0.8), 4, torch.Generator().manual_seed(0))
    noisy[:3] = math.nan
    filtered = total_variation(noisy, 0.8)
    assert torch.equal(torch.isnan(filtered), torch.isnan(noisy))
    assert wrapped_rmse(filtered.angle(), phase) < 0.5 * wrapped_rmse(noisy.angle(), phase)


def test_bm3d(z):
    pytest.importorskip("bm3d")
    phase = cone(48, 15)
    noisy, _ = observe(phase, torch.full_like(phase, 0.7), 4, torch.Generator().manual_seed(0))
    noisy[:, :2] = math.nan
    filtered = bm3d(torch.stack((noisy, noisy.conj())))
    assert filtered.dtype == noisy.dtype
    assert torch.equal(torch.isnan(filtered[0]), torch.isnan(noisy))
    assert_close(filtered[1].nan_to_num(), filtered[0].conj().nan_to_num(), rtol=0, atol=1e-4)
    assert wrapped_rmse(filtered[0].angle(), phase) < 0.5 * wrapped_rmse(noisy.angle(), phase)


def test_bm3d_says_what_is_missing(z, monkeypatch):
    monkeypatch.setattr(block_matching, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'manifoldnet\[bm3d\]'"):
        bm3d(z)


def test_goldstein_prefers_the_dominant_fringe():
    phase = cone(96, 40)
    noisy, _ = observe(phase, torch.full_like(phase, 0.5), 2, torch.Generator().manual_seed(0))
    errors = [wrapped_rmse(goldstein(noisy, alpha).angle(), phase) for alpha in (0, 0.5, 1, 2)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.35 * errors[0]


@pytest.mark.parametrize("smooth", FILTERS)
def test_common_to_all(smooth, z):
    turned = smooth(z * complex(math.cos(1), math.sin(1)))
    assert_close(turned, smooth(z) * complex(math.cos(1), math.sin(1)))
    assert_close(smooth(z.conj()), smooth(z).conj())
    assert_close(smooth(z[None])[0, 1], smooth(z[1]))
    holed = z.clone()
    holed[0, 10:20, :] = math.nan
    smoothed = smooth(holed)
    assert torch.equal(torch.isnan(smoothed), torch.isnan(holed))
    filled = z.clone()
    filled[0, 10:20, :] = 1e6 - 1e6j
    leaks = (smooth(filled)[0, 9] - smoothed[0, 9]).abs().max() > 100  # what is missing must not leak like this
    assert leaks or smooth is FILTERS[-1]  # non-local means leave out what is so different
    assert smoothed[0, 9].abs().max() < 10
    assert smooth(z.to(torch.complex64)).dtype == torch.complex64


def test_refusals(z):
    for wrong in (0, 4):
        with pytest.raises(InputError, match="size"):
            boxcar(z, wrong)
    with pytest.raises(InputError, match="sigma"):
        gaussian(z, 0)
    with pytest.raises(InputError, match="alpha"):
        goldstein(z, -1)
    with pytest.raises(InputError, match="tau, power"):
        windowed_fourier(z, tau=-1)
    for step in (0, 5, 32):
        with pytest.raises(InputError, match="window, step"):
            windowed_fourier(z, 32, step)
    with pytest.raises(InputError, match="weights"):
        windowed_fourier(z, weights=-torch.ones_like(z.real))
    with pytest.raises(InputError, match="sigma, strength"):
        nonlocal_means(z, 0)
    with pytest.raises(InputError, match="patch, search"):
        nonlocal_means(z, patch=4)
    with pytest.raises(InputError, match="sigma"):
        bm3d(z, 0)
    for step in (0, 5, 64):
        with pytest.raises(InputError, match="patch, step"):
            goldstein(z, 1, patch=32, step=step)
