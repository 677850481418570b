"""Windows, resampling and mirroring against direct constructions with scipy's rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from manifoldnet.activity.windows import (
    mirror,
    resample_imu,
    resample_rotations,
    watch_windows,
    windows,
)
from manifoldnet.data import cached
from manifoldnet.errors import InputError

RATE = 50.0


def imu(n, scale=4.0, seed=0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n, 6))


def attitude(samples, rate, times):
    """Orientation at ``times`` (s): one factor a sample, the last one partly."""
    out = []
    for time in times:
        r = Rotation.identity()
        for i, w in enumerate(samples[:, :3]):
            r = r * Rotation.from_rotvec(w * np.clip(time - i / rate, 0, 1 / rate))
        out.append(r.as_matrix())
    return np.array(out)


def test_windows_end_to_end():
    samples = imu(1030)
    out = windows(samples, RATE)
    assert out.shape == (5, 200, 6)
    np.testing.assert_array_equal(out.reshape(-1, 6), samples[:1000])


def test_windows_that_overlap():
    samples = np.arange(100.0)[:, None, None, None] * np.ones((2, 3, 3))
    out = windows(samples, 10.0, seconds=2.0, step=0.5)
    assert out.shape == (17, 20, 2, 3, 3)
    np.testing.assert_array_equal(out[:, 0, 0, 0, 0], np.arange(0, 81, 5))
    np.testing.assert_array_equal(out[3, :, 1, 2, 2], np.arange(15, 35))


def test_windows_are_copies():
    samples = imu(400)
    out = windows(samples, RATE, step=1.0)
    out[:] = 0
    assert np.abs(samples).min() > 0


def test_windows_errors():
    with pytest.raises(InputError, match=r"199 samples at 50 Hz last 3.98 s, wanted at least one window of 4 s"):
        windows(imu(199), RATE)
    for seconds, step in ((0.001, None), (1.0, 0.001), (-1.0, None)):
        with pytest.raises(InputError, match="less than one sample"):
            windows(imu(199), RATE, seconds, step)


def test_mirror_reflects_path_and_acceleration():
    """Integrating the mirrored gyroscope gives the mirrored orientation; the acceleration is a vector."""
    samples = imu(30)
    times = np.array([0.1, 0.35, 0.6])
    m = np.diag([-1.0, 1.0, 1.0])
    out = mirror(samples)
    np.testing.assert_allclose(attitude(out, RATE, times), m @ attitude(samples, RATE, times) @ m, atol=1e-12)
    np.testing.assert_array_equal(out[:, 3:], samples[:, 3:] @ m)
    np.testing.assert_array_equal(mirror(out), samples)
    assert mirror(samples.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("count", [1, 7, 10, 40, 41, 64, 100])
def test_resampled_gyroscope_keeps_the_path_at_cell_edges(count):
    samples = imu(40)
    out = resample_imu(samples, count, RATE)
    assert out.shape == (count, 6)
    edges = np.linspace(0, 40 / RATE, count + 1)
    np.testing.assert_allclose(attitude(out, RATE * count / 40, edges), attitude(samples, RATE, edges), atol=1e-9)


@pytest.mark.parametrize("count", [10, 40, 120])
def test_resampled_acceleration_is_the_mean_over_a_cell(count):
    samples = imu(40)
    fine = np.repeat(samples[:, 3:], 120, axis=0)  # cells of all three counts are whole numbers of these
    want = fine.reshape(count, -1, 3).mean(axis=1)
    np.testing.assert_allclose(resample_imu(samples, count, RATE)[:, 3:], want, atol=1e-12)


def test_resampling_to_the_same_count_and_up_changes_nothing():
    samples = imu(40)
    np.testing.assert_allclose(resample_imu(samples, 40, RATE), samples, atol=1e-10)
    np.testing.assert_allclose(resample_imu(samples, 120, RATE), samples.repeat(3, axis=0), atol=1e-10)


def test_whole_turns_are_kept():
    """Fast turning about one axis: a cell of 3.3 turns keeps its angular velocity, up or down in rate."""
    samples = np.zeros((20, 6))
    samples[:, 1] = 3.3 * 2 * np.pi * RATE / 10
    out = resample_imu(samples, 2, RATE)
    np.testing.assert_allclose(out, samples[:2], atol=1e-9)
    samples[:, 1] = 2 * np.pi * RATE / 10  # one whole turn: the rotation alone does not show it
    np.testing.assert_allclose(resample_imu(samples, 2, RATE), samples[:2], atol=1e-6)
    fast = imu(30, scale=200.0)  # more than half a turn within a sample
    np.testing.assert_allclose(resample_imu(fast, 60, RATE), fast.repeat(2, axis=0), atol=1e-6)


def test_resampling_batches_and_precision():
    samples = np.stack([imu(20, seed=1), imu(20, seed=2)])
    out = resample_imu(samples[None], 5, RATE)
    assert out.shape == (1, 2, 5, 6)
    np.testing.assert_allclose(out[0, 1], resample_imu(samples[1], 5, RATE), atol=1e-12)
    assert resample_imu(samples.astype(np.float32), 5, RATE).dtype == np.float32


def test_resting_stays_at_rest():
    out = resample_imu(np.zeros((20, 6)), 7, RATE)
    np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize("count", [1, 2, 9, 25, 60])
def test_resampled_rotations_lie_on_the_geodesics(count):
    r = Rotation.random(50, rng=np.random.default_rng(3))
    curve = r.as_matrix().reshape(25, 2, 3, 3)
    out = resample_rotations(curve, count)
    assert out.shape == (count, 2, 3, 3)
    for body in range(2):
        slerp = Slerp(np.arange(25), Rotation.from_matrix(curve[:, body]))
        want = slerp(np.linspace(0, 24, count)).as_matrix()
        np.testing.assert_allclose(out[:, body], want, atol=1e-12)


def test_resampling_nothing():
    with pytest.raises(InputError, match="0 samples out of 20"):
        resample_imu(imu(20), 0, RATE)
    with pytest.raises(InputError, match="4 samples out of 0"):
        resample_rotations(np.zeros((0, 1, 3, 3)), 4)


@pytest.mark.skipif(cached("watch") is None, reason="needs: manifoldnet data get watch")
def test_watch_windows():
    out = watch_windows()
    assert out.samples.shape == (1149, 200, 6)
    assert out.rate == 50
    assert len(np.unique(out.recordings)) == 140
    labels, counts = np.unique(out.labels, return_counts=True)
    assert dict(zip(labels, counts, strict=True)) == {
        "ABD": 190,
        "ER": 179,
        "FEL": 192,
        "IR": 177,
        "PEN": 121,
        "ROW": 147,
        "TRAP": 143,
    }
    assert np.unique(out.subjects, return_counts=True)[1].tolist() == [
        140, 133, 74, 70, 122, 117, 129, 117, 119, 128,
    ]  # fmt: skip
    # one recording has one label, subject and side
    about = set(zip(out.recordings, out.labels, out.subjects, out.sides, strict=True))
    assert len(about) == 140
    # gyroscope first: largest turn between samples; acceleration with gravity last
    assert np.linalg.norm(out.samples[..., :3], axis=-1).max() / 50 == pytest.approx(0.583, abs=1e-3)
    assert np.median(np.linalg.norm(out.samples[..., 3:], axis=-1)) == pytest.approx(1.07, abs=0.01)


@pytest.mark.skipif(cached("watch") is None, reason="needs: manifoldnet data get watch")
def test_mirroring_brings_the_wrists_together():
    """The mean acceleration of an exercise on the right wrist, mirrored, is nearer to that on the left."""
    out = watch_windows()
    mean = out.samples[..., 3:].mean(axis=1)
    flipped = mirror(out.samples)[..., 3:].mean(axis=1)
    apart = []
    for values in (mean, flipped):
        gap = [
            values[(out.labels == label) & (out.sides == 1)].mean(axis=0)
            - mean[(out.labels == label) & (out.sides == 0)].mean(axis=0)
            for label in np.unique(out.labels)
        ]
        apart.append(np.linalg.norm(gap))
    assert apart[1] < 0.5 * apart[0]
