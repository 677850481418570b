"""The converters, on small files of the same make as the real ones."""

import gzip
import io
import pickle

import numpy as np

from manifoldnet.data import convert

RNG = np.random.default_rng(0)


def old_names(content: bytes) -> bytes:
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def test_watch(tmp_path):
    recordings = [RNG.normal(size=(n, 6)) for n in (5, 3)]
    data = np.array(
        {
            "X": recordings,
            "y": np.array([1, 0]),
            "y_labels": ["PEN", "ABD"],
            "subject": np.array([7, 9]),
            "side": np.array([1.0, 0.0]),
        },
        dtype=object,
    )
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    content = stream.getvalue() + old_names(pickle.dumps(data, protocol=2))
    convert.watch(content, tmp_path / "watch.npz")
    with np.load(tmp_path / "watch.npz", allow_pickle=False) as out:
        assert out["lengths"].tolist() == [5, 3]
        assert out["labels"].tolist() == ["ABD", "PEN"]
        assert out["subjects"].tolist() == [7, 9]
        assert out["sides"].tolist() == [1, 0]
        assert out["rate"] == 50
        # acceleration first in, gyroscope first out
        np.testing.assert_array_equal(out["samples"][:5, :3], recordings[0][:, 3:])
        np.testing.assert_array_equal(out["samples"][5:, 3:], recordings[1][:, :3])


def test_hapt(tmp_path, old_pandas):
    names = ["acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z", "sequence", "label"]

    def table(n, label):
        values = RNG.normal(size=(6, n))
        whole = np.stack([np.arange(n), np.full(n, label)])
        return values, old_pandas.table(names, [(values, slice(0, 6, 1)), (whole, slice(6, 8, 1))])

    first, a = table(4, 3)
    second, b = table(2, -1)
    content = gzip.compress(old_names(pickle.dumps({5: [a], 6: [b]}, protocol=1)))
    convert.hapt(content, tmp_path / "hapt.npz")
    with np.load(tmp_path / "hapt.npz", allow_pickle=False) as out:
        assert out["lengths"].tolist() == [4, 2]
        assert out["subjects"].tolist() == [5, 6]
        assert out["sample_labels"].tolist() == [3, 3, 3, 3, -1, -1]
        np.testing.assert_array_equal(out["samples"][:4, :3], first[3:].T)
        np.testing.assert_array_equal(out["samples"][4:, 3:], second[:3].T)
