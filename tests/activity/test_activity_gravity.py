"""Gravity alignment of simulated sensors, whose attitude is known."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.gravity import attitudes, gravity_aligned
from manifoldnet.errors import InputError

pytest.importorskip("ahrs")

RATE = 50.0


def simulated(seed, moving=0.15, bias=0.01, noise=1.0, seconds=8):
    """True attitudes (N, 3, 3), z up, and what a sensor measures: ``moving`` g of own acceleration, ``bias`` rad/s."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    times = np.arange(n)[:, None] / RATE

    def wave(scale, frequencies):
        return sum(
            scale * rng.normal(size=3) * np.sin(2 * np.pi * f * times + rng.uniform(0, 2 * np.pi, 3))
            for f in frequencies
        )

    turning = wave(0.4, rng.uniform(0.1, 1.5, 4))
    steps = Rotation.from_rotvec(turning / RATE).as_matrix()
    truth = np.empty((n, 3, 3))
    truth[0] = Rotation.random(rng=rng).as_matrix()
    for i in range(n - 1):
        truth[i + 1] = truth[i] @ steps[i]
    pull = np.einsum("nji,nj->ni", truth, wave(moving / 2, rng.uniform(0.5, 2, 3)) + np.array([0, 0, 1]))
    gyroscope = turning + noise * rng.normal(scale=0.005, size=(n, 3)) + bias * rng.normal(size=3)
    return truth, np.concatenate([gyroscope, pull + noise * rng.normal(scale=0.01, size=(n, 3))], axis=1)


def tilt(found, truth):
    """Angles in degrees between the vertical found and the true one, in the sensor."""
    return np.degrees(np.arccos(np.clip((found[:, 2] * truth[:, 2]).sum(axis=1), -1, 1)))


@pytest.mark.parametrize("seed", [0, 1])
def test_up_is_up(seed):
    truth, samples = simulated(seed)
    error = tilt(attitudes(samples, RATE), truth)
    assert np.median(error) < 2.5
    assert error.max() < 6
    truth, samples = simulated(seed, moving=0, bias=0)
    assert tilt(attitudes(samples, RATE), truth).max() < 1


def test_aligned_samples_are_the_true_ones_up_to_a_heading():
    truth, samples = simulated(2, moving=0.05, bias=0, noise=0)
    wanted = np.einsum("nij,ncj->nci", truth, samples.reshape(-1, 2, 3)).reshape(-1, 6)
    out = gravity_aligned(samples, RATE)
    # the best one heading for all samples
    plane = [(values[:, 0::3] + 1j * values[:, 1::3]).ravel() for values in (out, wanted)]
    turn = np.vdot(*plane)
    out[:, 0::3], out[:, 1::3] = (f(plane[0] * turn / abs(turn)).reshape(-1, 2) for f in (np.real, np.imag))
    assert np.abs(out[:, :3] - wanted[:, :3]).max() < 0.04 * np.abs(wanted[:, :3]).max()
    assert np.abs(out[:, 3:] - wanted[:, 3:]).max() < 0.04
    np.testing.assert_allclose(np.linalg.norm(out[:, 3:], axis=1), np.linalg.norm(wanted[:, 3:], axis=1), atol=1e-12)


def test_how_the_sensor_is_mounted_does_not_matter():
    _, samples = simulated(3)
    mount = Rotation.from_rotvec([0.4, -0.8, 0.3]).as_matrix()
    other = (samples.reshape(-1, 2, 3) @ mount).reshape(-1, 6)
    a, b = (gravity_aligned(x, RATE) for x in (samples, other))
    plane = [(values[:, 0::3] + 1j * values[:, 1::3]).ravel() for values in (a, b)]
    turn = np.vdot(*plane) / abs(np.vdot(*plane))
    np.testing.assert_allclose(plane[0] * turn, plane[1], atol=0.02)
    np.testing.assert_allclose(a[:, 2::3], b[:, 2::3], atol=0.02)


def test_the_first_attitude_is_the_smallest_turn_upright():
    _, samples = simulated(4)
    first = attitudes(samples, RATE)[0]
    assert Rotation.from_matrix(first).magnitude() == pytest.approx(np.arccos(first[2, 2]), abs=1e-6)
    still = np.tile([0.0, 0, 0, 0, 0, 1], (20, 1))
    np.testing.assert_allclose(attitudes(still, RATE), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-12)
    assert gravity_aligned(samples.astype(np.float32), RATE).dtype == np.float32


def test_errors(monkeypatch):
    _, samples = simulated(0, seconds=1)
    with pytest.raises(InputError, match=r"rate: -1, wanted a positive"):
        attitudes(samples, -1)
    with pytest.raises(InputError, match="the first or last acceleration is 0"):
        attitudes(samples * [1, 1, 1, 0, 0, 0], RATE)
    samples[3, 2] = np.nan
    with pytest.raises(InputError, match=r"wanted finite samples \(N, 6\)"):
        gravity_aligned(samples, RATE)
    monkeypatch.setitem(sys.modules, "ahrs.filters", None)
    with pytest.raises(InputError, match=r'pip install "manifoldnet\[ahrs\]"'):
        attitudes(samples, RATE)
