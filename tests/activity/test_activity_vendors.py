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
    """Both see the same vertical; their filters and ours run on the same samples."""
    pytest.importorskip("ahrs")
    for sensors, quaternions in (("ngimu-sensors", "ngimu-quaternion"), ("ximu3-inertial", "ximu3-quaternion")):
        (imu,) = read(folder / f"{sensors}.csv")
        (theirs,) = read(folder / f"{quaternions}.csv")
        ours = attitudes(imu.samples, imu.rate)
        n = min(len(ours), len(theirs.samples))
        up = (ours[:n, 2] * theirs.samples[:n, 0, 2]).sum(axis=1)
        assert np.degrees(np.arccos(np.clip(up, -1, 1)).max()) < 6


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
