"""Speckle agrees with the direct sum over looks and with Goodman's density; normal noise with the wrapped law."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import cumulative_trapezoid
from scipy.special import gammaln, hyp2f1
from scipy.stats import kstest, norm

from manifoldnet.errors import InputError
from manifoldnet.insar.speckle import observe, wrapped_gaussian


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


@pytest.mark.parametrize("looks", [1, 2.5, 4, 9, 16])
@pytest.mark.parametrize("coherence", [0.0, 0.2, 0.6, 0.9])
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


def test_amplitude_brightens_the_interferogram_only():
    phase, coherence = torch.zeros(50, 60), torch.full((50, 60), 0.6)
    amplitude = torch.linspace(0.1, 3, 60).expand(50, 60)
    z, estimate = observe(phase, coherence, 3, torch.Generator().manual_seed(1))
    brighter, same = observe(phase, coherence, 3, torch.Generator().manual_seed(1), amplitude)
    assert_allclose(brighter, z * amplitude**2, rtol=1e-5)
    assert torch.equal(estimate, same)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
def test_wrapped_gaussian(sigma):
    """Against the wrapped normal law; its mean phasor has modulus exp(-sigma^2 / 2)."""
    phase = torch.full((100, 400), 2.5)
    z = wrapped_gaussian(phase, sigma, torch.Generator().manual_seed(0))
    assert_allclose(z.abs(), 1, rtol=1e-6)
    deviation = z * torch.exp(torch.tensor(-2.5j))
    assert_allclose(deviation.mean(), math.exp(-(sigma**2) / 2), atol=0.015)
    angles = np.sort(deviation.angle().numpy().ravel())
    turns = 2 * math.pi * np.arange(-8, 9)[:, None]
    wrapped = (norm.cdf((angles + turns) / sigma) - norm.cdf((turns - math.pi) / sigma)).sum(0)
    assert abs(wrapped - np.linspace(0, 1, angles.size)).max() < 1.63 / math.sqrt(angles.size)


def test_wrapped_gaussian_takes_a_sigma_per_image():
    sigma = torch.tensor([0.1, 1.0])[:, None, None]
    z = wrapped_gaussian(torch.zeros(2, 50, 50), sigma, torch.Generator().manual_seed(0))
    assert_allclose(z.angle().std(dim=(1, 2))[0], 0.1, rtol=0.05)
    assert z.angle().std(dim=(1, 2))[1] > 0.8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_noise_on_a_gpu_does_not_wait_for_it():
    phase, generator = torch.zeros(8, 64, 64, device="cuda"), torch.Generator("cuda").manual_seed(0)
    coherence, looks = torch.full_like(phase, 0.5), torch.full((8, 1, 1), 1.5, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = [observe(phase, coherence, number, generator) for number in (1, looks)]
        noisy = wrapped_gaussian(phase, 0.3, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for z, estimate in drawn:
        assert abs(z.real.mean() - 0.5) < 0.05
        assert estimate.isfinite().all()
    assert noisy.isfinite().all()
