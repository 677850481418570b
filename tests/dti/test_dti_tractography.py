"""Streamlines of fields whose fibres are known."""

import numpy as np
import pytest

from manifoldnet.dti.tractography import apart, length, streamlines

SHAPE = (16, 16, 5)


def fibres(direction):
    """Tensors (x, y, z, 3, 3) along unit vectors ``direction(x, y)``."""
    x, y, _ = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    axis = direction(x - 7.5, y - 7.5)
    return 3e-4 * np.eye(3) + 1.4e-3 * axis[..., :, None] * axis[..., None, :]


def straight(x, y):
    return np.stack([np.ones_like(x), np.zeros_like(x), np.zeros_like(x)], -1)


def circles(x, y):
    r = np.hypot(x, y)
    return np.stack([-y / r, x / r, 0 * r], -1)


def test_straight_fibres_go_from_rim_to_rim():
    mask = np.zeros(SHAPE, bool)
    mask[2:14, 3:13, 1:4] = True
    (line,) = streamlines(fibres(straight), mask, np.array([[7.0, 8.0, 2.0]]))
    np.testing.assert_allclose(line[:, 1:], np.tile([8.0, 2.0], (len(line), 1)), atol=0.3)
    assert length(line) == pytest.approx(11, abs=1.5)


def test_circles_are_followed_round():
    (line,) = streamlines(fibres(circles), np.ones(SHAPE, bool), np.array([[12.5, 7.5, 2.0]]), step=0.2)
    start = np.linalg.norm(line - [12.5, 7.5, 2.0], axis=1).argmin()
    near = line[max(0, start - 75) : start + 75]  # nearly once round, half of it either way
    np.testing.assert_allclose(np.hypot(near[:, 0] - 7.5, near[:, 1] - 7.5), 5, atol=0.6)
    assert np.ptp(near[:, 0]) > 9


def test_a_line_for_every_seed():
    tensors = fibres(straight)
    tensors[:8] = 7e-4 * np.eye(3)
    seeds = np.array([[12.0, 8, 2], [3, 8, 2], [10, 4, 1]])
    lines = streamlines(tensors, np.ones(SHAPE, bool), seeds)
    assert [len(line) > 1 for line in lines] == [True, False, True]
    np.testing.assert_array_equal(lines[1], seeds[1:2])
    assert min(line[:, 0].min() for line in (lines[0], lines[2])) > 6.4


def test_distance_between_lines():
    line = np.stack([np.arange(5.0), np.zeros(5), np.zeros(5)], 1)
    np.testing.assert_allclose(apart([line, line], [line, line + np.array([0, 3.0, 0])]), [0, 3])
    np.testing.assert_allclose(apart([line], [line[:1]]), [0.5 * (0 + 2)])
    assert length(line) == 4
