"""The plain shapes are what they say."""

import math

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal

from manifoldnet.insar.shapes import circular_fringes, cone, peaks, ramp, squares


def test_shapes():
    assert_allclose(ramp(5, 0.5, -0.25)[[0, 0, 2], [0, 4, 1]], [0, 2, 0])
    top = cone(101, 40)
    assert_allclose([top[50, 50], top[0, 0]], [40, 0])
    assert_allclose(top[50].diff().abs().max(), 40 / 50.5, rtol=1e-5)
    assert_allclose([peaks(64, 12).min(), peaks(64, 12).max()], [0, 12], atol=1e-5)
    assert all(shape(16).dtype == torch.float32 for shape in (cone, peaks, squares, circular_fringes))


def test_squares_are_symmetric_at_every_size():
    for size in (25, 64, 100, 101):
        image = squares(size, 2)
        assert_array_equal(np.unique(image), [0, 2, 4, 6, 8])
        for other in (image.mT, image.flip(0), image.flip(1)):
            assert torch.equal(image, other)


def test_circular_fringes_are_a_wrapped_paraboloid():
    image = circular_fringes(129, 20.0).double()
    assert image.abs().max() <= math.pi + 1e-6
    assert_allclose(np.exp(1j * image[64, 64].item()), np.exp(20j), atol=1e-6)
    line = np.unwrap(image[64].numpy())
    offsets = (2 * np.arange(129) + 1) / 129 - 1
    assert_allclose(line - line[64], -20 * offsets**2, atol=1e-4)
    assert torch.equal(image, image.mT)
