"""The estimate of coherence: its law on homogeneous images, its indifference to fringes, borders, gaps."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import gammaln, hyp2f1

from manifoldnet.errors import InputError
from manifoldnet.insar.coherence import estimate_coherence, resultant
from manifoldnet.insar.shapes import ramp
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("looks", [1, 2.5, 4, 9])
def test_resultant_is_the_mean_cosine_under_goodmans_density(looks):
    for coherence in (0.0, 0.2, 0.6, 0.9):

        def integrand(delta, g=coherence):
            b, q = g * math.cos(delta), (1 - g * g) ** looks
            head = math.exp(gammaln(looks + 0.5) - gammaln(looks)) * q * b / (1 - b * b) ** (looks + 0.5)
            density = head / (2 * math.sqrt(math.pi)) + q / (2 * math.pi) * hyp2f1(looks, 1, 0.5, b * b)
            return density * math.cos(delta)

        expected = 2 * quad(integrand, 0, math.pi)[0]
        assert_allclose(resultant(np.array([coherence]), looks), [expected], atol=1e-8)
    assert_allclose(resultant(np.ones(1), looks), 1)


@pytest.mark.parametrize("looks", [1, 4])
@pytest.mark.parametrize("coherence", [0.2, 0.5, 0.9])
def test_mean_estimate_on_a_plane(looks, coherence):
    """Nearly the true coherence; low ones come out high at one look, since lengths cannot be negative."""
    phase = ramp(192, 0.9, -0.5)[None]
    z, _ = observe(phase, torch.full_like(phase, coherence), looks, generator())
    estimate = estimate_coherence(z, looks)
    assert_allclose(estimate.mean(), coherence, atol=0.1 if coherence < 0.3 else 0.02)


@pytest.mark.parametrize(("looks", "error"), [(1, 0.17), (4, 0.12)])
def test_error_on_scenes(looks, error):
    """Less than a constant has (.18 on these), and than the estimate from the looks themselves."""
    phase, coherence, _ = scenes(6, 96, generator=generator(3))
    z, own = observe(phase, coherence, looks, generator(4))
    estimate = estimate_coherence(z, looks)
    rmse = (estimate - coherence).square().mean().sqrt()
    assert rmse < error
    assert rmse < coherence.std()
    assert rmse < 0.7 * (own - coherence).square().mean().sqrt()


def test_fringes_without_noise_are_coherent():
    steep = ramp(40, 2.8, -2.1).double()
    assert_allclose(estimate_coherence(torch.polar(torch.ones_like(steep), steep)), 1, atol=1e-6)


def test_moduli_and_a_global_phase_do_not_matter():
    z = torch.randn(2, 3, 20, 24, dtype=torch.complex128, generator=generator())
    expected = estimate_coherence(z)
    assert expected.shape == z.shape
    assert expected.dtype == torch.float64
    louder = z * torch.polar(
        torch.rand(z.shape, dtype=torch.float64, generator=generator()) + 0.1, torch.tensor(2.0).double()
    )
    assert_allclose(estimate_coherence(louder), expected, atol=1e-9)
    assert_allclose(estimate_coherence(z.mT), expected.mT, atol=1e-9)
    assert_allclose(estimate_coherence(z[1, 2]), expected[1, 2], atol=1e-9)


def test_pixels_without_data_do_not_count():
    phase = ramp(48, 0.4, 0.2)
    z = torch.polar(torch.ones_like(phase), phase)
    z[10:20, 15:30] = math.nan
    z[40, 5] = 0
    estimate = estimate_coherence(z)
    assert torch.equal(estimate.isnan(), z.isnan())
    assert_allclose(estimate[~estimate.isnan()], 1, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"looks": 0.5}, "looks: 0.5"), ({"size": 4}, "size: 4"), ({"size": 1}, "size: 1"), ({"sigma": 0}, "sigma: 0")],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        estimate_coherence(torch.ones(9, 9, dtype=torch.complex64), **change)
