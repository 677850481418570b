"""Scenes have the stated statistics; speckle agrees with the direct sum over looks and Goodman's density."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import cumulative_trapezoid
from scipy.special import gammaln, hyp2f1
from scipy.stats import kstest

from manifoldnet.errors import InputError
from manifoldnet.insar.simulate import _fractal, cone, observe, peaks, ramp, scene, squares


def draw(phase: float, coherence: float, looks: float, count: int = 40_000):
    images = torch.full((4, count // 4, 1), phase), torch.full((4, count // 4, 1), coherence)
    interferogram, estimate = observe(*images, looks, torch.Generator().manual_seed(0))
    return interferogram.numpy().ravel(), estimate.numpy().ravel()


def direct(phase: float, coherence: float, looks: int, count: int = 40_000):
    """The definition: mean over looks of s1 conj(s2), for pairs with the wanted covariance."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, looks, count)) + 1j * rng.normal(size=(2, looks, count))
    s1, s2 = u, coherence * np.exp(-1j * phase) * u + math.sqrt(1 - coherence**2) * v
    interferogram = (s1 * s2.conj()).mean(0) / 2
    powers = (abs(s1) ** 2).mean(0) * (abs(s2) ** 2).mean(0) / 4
    return interferogram, abs(interferogram) / np.sqrt(powers)


@pytest.mark.parametrize(("looks", "coherence"), [(1, 0.5), (4, 0.3), (4, 0.0), (16, 0.8), (3, 1.0)])
def test_one_draw_has_the_law_of_the_sum_over_looks(looks, coherence):
    phase = 2.5
    (z, estimate), (z0, estimate0) = draw(phase, coherence, looks), direct(phase, coherence, looks)
    noise = 4 * math.sqrt(2 / z.size)  # four standard errors of a difference of means of unit variance
    assert abs(z.mean() - coherence * np.exp(1j * phase)) < noise
    assert abs(z.mean() - z0.mean()) < noise
    deviation, deviation0 = (np.angle(i * np.exp(-1j * phase)) for i in (z, z0))
    for a, b in [(deviation**2, deviation0**2), (abs(z) ** 2, abs(z0) ** 2), (estimate, estimate0)]:
        assert abs(a.mean() - b.mean()) <= noise * max(a.std(), b.std(), 1e-3)
    if coherence < 1 < looks:
        assert_allclose(np.corrcoef(estimate**2, abs(z)), np.corrcoef(estimate0**2, abs(z0)), atol=0.03)


@pytest.mark.parametrize("looks", [1, 2.5, 4, 16])
@pytest.mark.parametrize("coherence", [0.0, 0.3, 0.8])
def test_phase_has_goodmans_density(looks, coherence):
    z, _ = draw(1.0, coherence, looks)
    delta = np.linspace(-math.pi, math.pi, 2001)
    b = coherence * np.cos(delta)
    q = (1 - coherence**2) ** looks
    head = np.exp(gammaln(looks + 0.5) - gammaln(looks)) * q * b / (1 - b**2) ** (looks + 0.5)
    density = head / (2 * math.sqrt(math.pi)) + q / (2 * math.pi) * hyp2f1(looks, 1, 0.5, b**2)
    distribution = cumulative_trapezoid(density, delta, initial=0)
    assert_allclose(distribution[-1], 1, atol=1e-4)
    deviation = np.angle(z * np.exp(-1j))
    assert kstest(deviation, lambda x: np.interp(x, delta, distribution)).pvalue > 0.01


def test_bias_of_the_coherence_estimate():
    """At coherence 0 the estimate has the mean gamma(L) gamma(3/2) / gamma(L + 1/2) (Touzi et al., 1999)."""
    for looks in (4, 7.5, 16):
        _, estimate = draw(0.0, 0.0, looks)
        bias = math.exp(math.lgamma(looks) + math.lgamma(1.5) - math.lgamma(looks + 0.5))
        assert_allclose(estimate.mean(), bias, rtol=0.01)
    assert_allclose(draw(0.0, 0.3, 1)[1], 1, atol=1e-5)


def test_observe_takes_batches_and_looks_per_image():
    phase, coherence = torch.zeros(2, 3, 50, 60), torch.full((2, 3, 50, 60), 0.6)
    looks = torch.tensor([1.0, 4.0, 64.0])[:, None, None]
    z, estimate = observe(phase, coherence, looks, torch.Generator().manual_seed(1))
    again, _ = observe(phase, coherence, looks, torch.Generator().manual_seed(1))
    assert torch.equal(z, again)
    assert z.dtype == torch.complex64
    assert estimate.dtype == torch.float32
    assert estimate.min() >= 0
    assert estimate.max() <= 1
    spread = z.angle().std(dim=(0, 2, 3))
    assert spread[0] > 1.5 * spread[1] > 4.5 * spread[2]
    assert observe(phase.double(), coherence.double(), 3)[0].dtype == torch.complex128


def test_observe_refuses():
    image = torch.full((4, 4), 0.5)
    with pytest.raises(InputError, match=r"looks: 0\.5"):
        observe(image, image, 0.5)
    for wrong in (1.1, -0.1, math.nan):
        with pytest.raises(InputError, match="coherence: "):
            observe(image, torch.full((4, 4), wrong), 4)


def test_scenes_have_the_stated_statistics():
    scenes = [scene(96, np.random.default_rng(seed)) for seed in range(24)]
    for one in scenes:
        assert one.phase.shape == one.coherence.shape == (96, 96)
        assert one.phase.dtype == one.coherence.dtype == np.float32
        steep = np.percentile(np.hypot(*np.gradient(one.phase)), 99)
        assert 0.599 < steep < 1.801
        assert one.coherence.min() >= 0
        assert one.coherence.max() <= 0.85
    coherence = np.stack([one.coherence for one in scenes])
    assert 0.04 < (coherence < 0.3).mean() < 0.2
    assert 0.6 < (coherence > 0.45).mean() < 0.95


def test_scenes_depend_on_the_generator_only():
    first, second, third = (scene(32, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert_array_equal(first.phase, second.phase)
    assert_array_equal(first.coherence, second.coherence)
    assert abs(first.phase - third.phase).max() > 0.1
    with pytest.raises(InputError, match="size: 4"):
        scene(4, np.random.default_rng(0))


@pytest.mark.parametrize("exponent", [2.5, 11 / 3])
def test_fractal_fields_have_the_stated_spectrum(exponent):
    rng = np.random.default_rng(0)
    taper = np.outer(np.hanning(128), np.hanning(128))
    power = np.mean([abs(np.fft.fft2(_fractal(128, exponent, rng) * taper)) ** 2 for _ in range(40)], 0)
    k = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    band = (k > 0.06) & (k < 0.4)
    slope = np.polyfit(np.log(k[band]), np.log(power[band]), 1)[0]
    assert_allclose(slope, -exponent, atol=0.1)


def test_shapes():
    assert_allclose(ramp(5, 0.5, -0.25)[[0, 0, 2], [0, 4, 1]], [0, 2, 0])
    top = cone(101, 40)
    assert_allclose([top[50, 50], top[0, 0]], [40, 0])
    assert_allclose(np.abs(np.diff(top[50])).max(), 40 / 50.5, rtol=1e-5)
    assert_allclose([peaks(64, 12).min(), peaks(64, 12).max()], [0, 12], atol=1e-5)
    assert_array_equal(np.unique(squares(100, 2)), [0, 2, 4, 6, 8])
    assert_array_equal(squares(100), squares(100).T)
    assert all(shape(16).dtype == np.float32 for shape in (cone, peaks, squares))
