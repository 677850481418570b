"""Recordings from numpy and .ts files, and the checks that all formats share."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.io import read
from manifoldnet.data import cached
from manifoldnet.errors import InputError


@pytest.fixture
def samples():
    """50 inertial samples: slow turning, gravity along z."""
    out = np.random.default_rng(0).normal(scale=0.5, size=(50, 6))
    out[:, 5] += 1
    return out


@pytest.fixture
def rotations():
    """Two bodies that turn steadily from anywhere."""
    start = Rotation.random(2, rng=np.random.default_rng(1)).as_matrix()
    turn = Rotation.from_rotvec(np.arange(40)[:, None] * [0.1, -0.2, 0.3]).as_matrix()
    return start @ turn[:, None]


def save(path, array):
    np.save(path, array)
    return path


def test_npy(tmp_path, samples):
    (out,) = read(save(tmp_path / "walk.npy", samples), rate=50.0)
    assert (out.name, out.kind, out.rate) == ("walk", "imu", 50.0)
    assert (out.label, out.subject, out.side) == (None, None, None)
    np.testing.assert_array_equal(out.samples, samples)
    assert out.samples.dtype == np.float64


def test_single_precision_stays_and_whole_numbers_become_real(tmp_path, samples):
    (out,) = read(save(tmp_path / "a.npy", samples.astype(np.float32)), rate=50.0)
    assert out.samples.dtype == np.float32
    (out,) = read(save(tmp_path / "b.npy", np.ones((20, 6), dtype=np.int16)), rate=50.0)
    assert out.samples.dtype == np.float64


def test_rotations(tmp_path, rotations):
    (out,) = read(save(tmp_path / "a.npy", rotations), rate=30.0)
    assert out.kind == "rotations"
    np.testing.assert_array_equal(out.samples, rotations)
    (out,) = read(save(tmp_path / "b.npy", rotations[:, 0]), rate=30.0)
    np.testing.assert_array_equal(out.samples, rotations[:, :1])


def test_text_precision_is_enough_for_rotations(tmp_path, rotations):
    assert read(save(tmp_path / "a.npy", rotations.round(4)), rate=30.0)


@pytest.mark.parametrize("defect", ["scaled", "reflected"])
def test_matrices_that_are_not_rotations(tmp_path, rotations, defect):
    rotations[[7, 9], 1] *= 1.01 if defect == "scaled" else -1
    with pytest.raises(InputError, match=r"2 of 80 matrices are not rotations .* sample 7, body 1"):
        read(save(tmp_path / "a.npy", rotations), rate=30.0)


def test_npz_of_recordings(tmp_path, samples, rotations):
    np.savez(tmp_path / "a.npz", first=samples, turn=rotations, rate=25.0)
    first, turn = read(tmp_path / "a.npz")
    assert (first.name, first.kind, first.rate) == ("first", "imu", 25.0)
    assert (turn.name, turn.kind, turn.rate) == ("turn", "rotations", 25.0)
    assert read(tmp_path / "a.npz", rate=40.0)[0].rate == 40.0


def test_npz_end_to_end(tmp_path, samples):
    np.savez(
        tmp_path / "a.npz",
        samples=samples,
        lengths=[20, 30],
        rate=50.0,
        labels=["walk", "run"],
        subjects=[4, 5],
        sides=[0, 1],
    )
    a, b = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(a.samples, samples[:20])
    np.testing.assert_array_equal(b.samples, samples[20:])
    assert (a.name, a.label, a.subject, a.side) == ("a-000", "walk", "4", 0)
    assert (b.name, b.label, b.subject, b.side) == ("a-001", "run", "5", 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lengths": [20, 31]}, "lengths must be whole numbers"),
        ({"lengths": [60, -10]}, "lengths must be whole numbers"),
        ({"lengths": [20.0, 30.0]}, "lengths must be whole numbers"),
        ({"lengths": [20, 30], "labels": ["walk"]}, "labels has shape"),
        ({"lengths": [10, 40]}, "recording 0: 10 samples, wanted at least 16"),
        ({"lengths": [20, 30], "rate": [50.0, 50.0]}, "rate is float64 of shape"),
        ({"lengths": [20, 30], "rate": 0.0}, "sampling rate is 0"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, samples, more, message):
    np.savez(tmp_path / "a.npz", **{"samples": samples, "rate": 50.0, **more})
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.npz")


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "b.npz", a=np.array([None], dtype=object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(InputError, match="not a numpy file of plain numbers"):
            read(tmp_path / name, rate=50.0)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_files_that_are_not_numpy(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 nothing of the kind")
    with pytest.raises(InputError, match="not a numpy file"):
        read(tmp_path / name, rate=50.0)


def test_file_errors(tmp_path):
    with pytest.raises(InputError, match="no such recording"):
        read(tmp_path / "none.npy")
    (tmp_path / "a.npy").touch()
    with pytest.raises(InputError, match="empty"):
        read(tmp_path / "a.npy")
    (tmp_path / "a.mat").write_text("x")
    with pytest.raises(InputError, match=r"unknown format '\.mat', wanted one of \.csv"):
        read(tmp_path / "a.mat")
    np.savez(tmp_path / "a.npz", rate=50.0)
    with pytest.raises(InputError, match="no recording"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan"), float("inf")])
def test_rate_must_be_positive(tmp_path, samples, rate):
    with pytest.raises(InputError, match=r"rate: .* wanted a positive"):
        read(save(tmp_path / "a.npy", samples), rate=rate)


def test_rate_is_needed(tmp_path, samples):
    with pytest.raises(InputError, match="rate is not in the file; give rate in Hz"):
        read(save(tmp_path / "a.npy", samples))


@pytest.mark.parametrize("shape", [(50,), (50, 5), (50, 3), (50, 3, 4), (50, 0, 3, 3), (2, 50, 6), ()])
def test_shape(tmp_path, shape):
    match = "gyroscope alone" if shape == (50, 3) else r"wanted \(N, 6\)"
    with pytest.raises(InputError, match=match):
        read(save(tmp_path / "a.npy", np.zeros(shape)), rate=50.0)


def test_type(tmp_path):
    with pytest.raises(InputError, match="complex128"):
        read(save(tmp_path / "a.npy", np.zeros((50, 6), dtype=complex)), rate=50.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, samples, rotations, value):
    samples[[12, 30], 4] = value
    with pytest.raises(InputError, match="2 of 50 samples hold nan or infinity, the first is number 12"):
        read(save(tmp_path / "a.npy", samples), rate=50.0)
    rotations[3, 0, 1, 1] = value
    with pytest.raises(InputError, match="1 of 40 samples"):
        read(save(tmp_path / "b.npy", rotations), rate=50.0)


def test_aliasing_is_noticed(tmp_path, samples, rotations):
    samples[[5, 6, 7], 0] = [1.5 * 50, 1.6 * 50, 4 * 50]
    with pytest.warns(UserWarning, match=r"a\.npy: aliased: 2 of 50 steps turn by more than π/2 .* by 4 rad \(a\)"):
        read(save(tmp_path / "a.npy", samples), rate=50.0)
    rotations[20:, 1] = rotations[20:, 1] @ Rotation.from_rotvec([0, 0, 2.5]).as_matrix()
    with pytest.warns(UserWarning, match=r"b\.npy: aliased: 1 of 78 steps"):
        read(save(tmp_path / "b.npy", rotations), rate=50.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_units_of_arrays(tmp_path, samples, dtype):
    numbers = (np.concatenate([np.degrees(samples[:, :3]), samples[:, 3:] * 9806.65], axis=1)).astype(dtype)
    (out,) = read(save(tmp_path / "a.npy", numbers), rate=50.0, units=("deg/s", "mm/s^2"))
    wanted = numbers.astype(float) * np.repeat([np.pi / 180, 1 / 9806.65], 3)
    np.testing.assert_allclose(out.samples, wanted, rtol=1e-6)
    assert out.samples.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.savez(tmp_path / "a.npz", walk=numbers, rate=50, units=["deg/s", "mm/s^2"])
    np.testing.assert_array_equal(read(tmp_path / "a.npz")[0].samples, out.samples)
    np.savez(tmp_path / "a.npz", walk=numbers, rate=50, units="deg/s")
    with pytest.raises(InputError, match="units is <U5 of shape"):
        read(tmp_path / "a.npz")


def test_declared_units_are_believed(tmp_path, samples):
    """A fall, or a shaker: fast and heavy all the time."""
    (out,) = read(save(tmp_path / "a.npy", samples * 50), rate=1000.0, units=("rad/s", "g"))
    np.testing.assert_array_equal(out.samples, samples * 50)


@pytest.mark.parametrize(
    ("units", "message"), [(("rpm", "g"), "unit 'rpm' of gyro"), (("dps", "N"), "unit 'N' of acc")]
)
def test_unknown_units(tmp_path, samples, units, message):
    with pytest.raises(InputError, match=message):
        read(save(tmp_path / "a.npy", samples), rate=50.0, units=units)


def test_arguments_without_use_are_refused(tmp_path):
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(InputError, match=r"units: not used for \.bvh files"):
        read(tmp_path / "a.bvh", units=("deg/s", "g"))
    with pytest.raises(InputError, match=r"content: not used for \.bvh files"):
        read(tmp_path / "a.bvh", content="wxyz")


def test_too_short(tmp_path, samples):
    with pytest.raises(InputError, match="15 samples, wanted at least 16"):
        read(save(tmp_path / "a.npy", samples[:15]), rate=50.0)


def test_degrees_are_noticed(tmp_path, samples):
    samples[:, :3] *= 57.2958
    with pytest.raises(InputError, match="looks like degrees/s"):
        read(save(tmp_path / "a.npy", samples), rate=50.0)


def test_metres_per_second_squared_are_noticed(tmp_path, samples):
    samples[:, 3:] *= 9.81
    with pytest.raises(InputError, match="looks like m/s²"):
        read(save(tmp_path / "a.npy", samples), rate=50.0)


@pytest.mark.skipif(cached("watch") is None, reason="needs: manifoldnet data get watch")
def test_watch():
    folder = cached("watch")
    assert folder is not None
    recordings = read(folder / "watch.npz")
    assert len(recordings) == 140
    assert {recording.side for recording in recordings} == {0, 1}
    assert len({(r.label, r.subject, r.side) for r in recordings}) == 140
