"""Parquet beside text: the same names, units and times."""

import sys

import numpy as np
import pytest

from manifoldnet.activity.io import read
from manifoldnet.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SAMPLES = np.random.default_rng(0).normal(scale=0.4, size=(40, 6)) + np.array([0, 0, 0, 0, 0, 1])
NAMES = ["gx", "gy", "gz", "ax", "ay", "az"]


def write(path, **columns):
    pq.write_table(pa.table({name.replace("__", " "): values for name, values in columns.items()}), path)
    return path


def channels(samples=SAMPLES):
    return dict(zip(NAMES, samples.T, strict=True))


def test_inertial(tmp_path):
    path = write(tmp_path / "walk.parquet", **channels(), label=["walk"] * 40, subject=[7] * 40, side=["left"] * 40)
    (out,) = read(path, 50)
    assert (out.name, out.kind, out.rate, out.label, out.subject, out.side) == ("walk", "imu", 50.0, "walk", "7", 0)
    np.testing.assert_array_equal(out.samples, SAMPLES)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_types(tmp_path, dtype):
    numbers = (SAMPLES * 100).astype(dtype)
    (out,) = read(write(tmp_path / "a.parquet", **channels(numbers)), 50, units=("deg/s", "mg"))
    np.testing.assert_allclose(out.samples, numbers * np.repeat([np.pi / 180, 1e-3], 3), rtol=1e-6)


def test_rotations(tmp_path):
    columns = dict(zip(["hip_qw", "hip_qx", "hip_qy", "hip_qz"], np.tile([[0.6], [0], [0.8], [0]], 20), strict=True))
    (out,) = read(write(tmp_path / "a.parquet", **columns), 50)
    assert (out.kind, out.bodies) == ("rotations", ("hip",))
    np.testing.assert_allclose(out.samples[3, 0, 0], [0.36 - 0.64, 0, 0.96], atol=1e-12)


def test_times(tmp_path):
    stamps = np.datetime64("2024-03-01T10:00:00.000", "us") + np.arange(40) * np.timedelta64(20000, "us")
    (out,) = read(write(tmp_path / "a.parquet", timestamp=stamps, **channels()))
    assert out.rate == pytest.approx(50)
    (out,) = read(write(tmp_path / "a.parquet", time=stamps.astype("datetime64[ns]").astype(np.int64), **channels()))
    assert out.rate == pytest.approx(50)
    late = stamps.copy()
    late[10:] += np.timedelta64(1, "s")
    with pytest.raises(InputError, match=r"1 gaps in time, the first after row 9"):
        read(write(tmp_path / "a.parquet", timestamp=late, **channels()))


def test_errors(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(InputError, match="not a Parquet table"):
        read(path, 50)
    with pytest.raises(InputError, match="no samples, the table is empty"):
        read(write(path, **channels(SAMPLES[:0])), 50)
    with pytest.raises(InputError, match="no column for gyroscope z"):
        read(write(path, **{name: values for name, values in channels().items() if name != "gz"}), 50)
    with pytest.raises(InputError, match="column gx: not numbers"):
        read(write(path, **{**channels(), "gx": ["fast"] * 40}), 50)
    with pytest.raises(InputError, match="column gx: values of type list"):
        read(write(path, **{**channels(), "gx": [[1.0]] * 40}), 50)
    with pytest.raises(InputError, match="1 of 40 samples hold nan or infinity, the first is number 5"):
        read(write(path, **{**channels(), "gx": [None if i == 5 else 0.1 for i in range(40)]}), 50)


def test_cut_files(tmp_path):
    content = write(tmp_path / "a.parquet", **channels()).read_bytes()
    for size in range(1, len(content), len(content) // 15):
        (tmp_path / "b.parquet").write_bytes(content[:size])
        with pytest.raises(InputError, match="not a Parquet table"):
            read(tmp_path / "b.parquet", 50)


def test_without_the_library(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", **channels())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r'pip install "manifoldnet\[parquet\]"'):
        read(path, 50)
