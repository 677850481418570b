"""Channels of a window: against scipy's rotations, and how they turn with the sensor and the mirror."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.augment import remount
from manifoldnet.activity.channels import (
    CHANNELS,
    INVARIANT,
    Motion,
    attitudes,
    channels,
    deviation,
    gravity,
    mean_attitude,
    mirror_signs,
)
from manifoldnet.activity.windows import mirror
from manifoldnet.errors import InputError

RATE = 40.0


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(0, 0.3, (3, 50, 6)), 1)


def test_attitudes_step_by_step(samples):
    path = attitudes(samples[..., :3], RATE)
    for one, turning in zip(path, samples[..., :3], strict=True):
        current = Rotation.identity()
        for matrix, w in zip(one, turning, strict=True):
            np.testing.assert_allclose(matrix, current.as_matrix(), atol=1e-12)
            current = current * Rotation.from_rotvec(w / RATE)


def test_mean_and_deviation(samples):
    path = attitudes(samples[..., :3], RATE)
    for one, mean in zip(path, mean_attitude(path), strict=True):
        np.testing.assert_allclose(mean, Rotation.from_matrix(one).mean().as_matrix(), atol=1e-10)
    found = deviation(Motion(samples[..., :3], samples[..., 3:], path))
    wanted = (Rotation.from_matrix(path[1]).mean().inv() * Rotation.from_matrix(path[1])).as_rotvec()
    np.testing.assert_allclose(found[1], wanted, atol=1e-10)


def test_mean_is_a_rotation_where_the_matrix_is_a_reflection():
    """The mean of half turns about all axes has determinant -1/27."""
    path = Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix()[None]
    mean = mean_attitude(path)
    assert np.linalg.det(path.mean(1))[0] < 0
    np.testing.assert_allclose(np.linalg.det(mean), 1)


def test_gravity_of_a_turning_sensor():
    """What stands still in the room is found in the sensor's frame, whatever attitude the window began with."""
    rng = np.random.default_rng(1)
    turning = np.cumsum(rng.normal(0, 0.2, (1, 60, 3)), 1)
    start = Rotation.random(rng=2)
    room = start * Rotation.from_matrix(attitudes(turning, RATE)[0])
    up = room.inv().apply([0, 0, 1])
    motion = Motion(turning, 1.5 * up[None], attitudes(turning, RATE))
    np.testing.assert_allclose(gravity(motion)[0], up, atol=1e-10)


def test_the_heading_of_the_room_is_not_seen(samples):
    """A path H R with H about the vertical gives the same samples: nothing in a channel knows the first attitude."""
    path = Rotation.from_matrix(attitudes(samples[:1, :, :3], RATE)[0])
    measured = []
    for heading in (0.0, 2.0):
        room = Rotation.from_euler("z", heading) * path
        pull = room.inv().apply([0, 0, 1])
        turning = (room[:-1].inv() * room[1:]).as_rotvec() * RATE
        measured.append(channels(np.concatenate([turning, pull[:-1]], 1)[None], RATE, tuple(CHANNELS)))
    np.testing.assert_allclose(*measured, atol=1e-5)


def test_re_mounting(samples):
    """Vectors turn with the sensor, invariants stay."""
    turn = Rotation.random(rng=3).as_matrix()
    moved = remount(samples, np.tile(turn, (3, 1, 1)))
    for name in CHANNELS:
        plain, other = (channels(x, RATE, (name,)) for x in (samples, moved))
        wanted = plain if name in INVARIANT else turn @ plain
        np.testing.assert_allclose(other, wanted, atol=2e-5)


@pytest.mark.parametrize("name", CHANNELS)
def test_mirror(samples, name):
    plain, other = (channels(x, RATE, (name,)) for x in (samples, mirror(samples)))
    np.testing.assert_allclose(other, plain * mirror_signs((name,))[:, None], atol=1e-5)


def test_order_and_names(samples):
    found = channels(samples, RATE)
    assert found.shape == (3, 9, 50)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :6], samples.swapaxes(1, 2), rtol=1e-6)
    for names in ((), ("turning", "heading")):
        with pytest.raises(InputError, match=r"heading|none"):
            channels(samples, RATE, names)


def test_a_window_at_rest_without_gravity():
    assert np.isfinite(channels(np.zeros((1, 20, 6)), RATE, tuple(CHANNELS))).all()
