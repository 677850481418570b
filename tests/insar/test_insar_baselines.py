"""Filters against scipy, brute force and the properties that define them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from manifoldnet.errors import InputError
from manifoldnet.insar.baselines import boxcar, gaussian, goldstein
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.shapes import cone
from manifoldnet.insar.speckle import observe

FILTERS = [lambda z: boxcar(z, 3), lambda z: gaussian(z, 1.3), lambda z: goldstein(z, 1.0, patch=16, step=4)]


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
    assert (smooth(filled)[0, 9] - smoothed[0, 9]).abs().max() > 100  # what is missing must not leak like this
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
    for step in (0, 5, 64):
        with pytest.raises(InputError, match="patch, step"):
            goldstein(z, 1, patch=32, step=step)
