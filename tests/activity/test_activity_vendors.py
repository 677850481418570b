"""Recordings as makers of inertial sensors write them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.gravity import attitudes
from manifoldnet.activity.io import read
from manifoldnet.data import cached
from manifoldnet.errors import InputError

pytestmark = pytest.mark.skipif(cached("imu-samples") is None, reason="needs: manifoldnet data get imu-samples")


@pytest.fixture
def folder():
    found = cached("imu-samples")
    assert found is not None
    return found


@pytest.mark.filterwarnings("ignore:.*uneven times")
def test_x_io(folder):
    for name, length in (("ngimu-sensors", 499), ("ximu3-inertial", 500)):
        (out,) = read(folder / f"{name}.csv")
        assert (out.kind, out.samples.shape) == ("imu", (length, 6))
        assert out.rate == pytest.approx(49.9, abs=0.05)
        assert np.median(np.linalg.norm(out.samples[:, 3:], axis=1)) == pytest.approx(1, abs=0.02)


def test_uneven_steps_are_told(folder):
    with pytest.warns(UserWarning, match=r"uneven times, steps of 0\.0177 to 0\.0204 s"):
        read(folder / "ngimu-sensors.csv")


@pytest.mark.filterwarnings("ignore:.*uneven times")
def test_the_makers_own_attitudes(folder):
    """Their filters and ours see the same vertical; in the second recording the sensor is shaken.

    NGIMU writes the attitude of the Earth in the sensor, x-IMU3 that of the sensor on the Earth.
    """
    pytest.importorskip("ahrs")
    for maker, inertial, inverse, middle, largest in (
        ("ngimu", "sensors", True, 1, 6),
        ("ximu3", "inertial", False, 3, 20),
    ):
        (imu,) = read(folder / f"{maker}-{inertial}.csv")
        (written,) = read(folder / f"{maker}-quaternion.csv")
        theirs = written.samples[:, 0].swapaxes(1, 2) if inverse else written.samples[:, 0]
        ours = attitudes(imu.samples, imu.rate)
        n = min(len(ours), len(theirs))
        error = np.degrees(np.arccos(np.clip((ours[:n, 2] * theirs[:n, 2]).sum(axis=1), -1, 1)))
        assert np.median(error) < middle
        assert error.max() < largest


def test_xsens(folder):
    with pytest.raises(InputError, match=r"looks like m/s² \(say so with units"):
        read(folder / "xsens.txt")
    (out,) = read(folder / "xsens.txt", units=("rad/s", "m/s^2"))
    assert (out.samples.shape, out.rate) == ((953, 6), 50.0)
    assert np.median(np.linalg.norm(out.samples[:, 3:], axis=1)) == pytest.approx(1, abs=0.02)
    # its quaternions turn as its gyroscope says
    table = np.genfromtxt(folder / "xsens.txt", skip_header=5)[:, 10:14]
    turns = Rotation.from_quat(table, scalar_first=True)
    steps = (turns[:-1].inv() * turns[1:]).as_rotvec() * 50
    assert np.corrcoef(steps.ravel(), out.samples[1:, :3].ravel())[0, 1] > 0.95
