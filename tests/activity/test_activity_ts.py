"""The text format .ts, of which BasicMotions alone is read."""

import numpy as np
import pytest

from manifoldnet.activity import ts
from manifoldnet.activity.io import read
from manifoldnet.data import cached
from manifoldnet.errors import InputError

TS = """#comment
@problemName {problem}
@timeStamps false
@univariate false
@dimensions 6
@classLabel true Walking Running
@data
{data}
"""


def write_ts(path, arrays, problem="BasicMotions"):
    lines = [
        ":".join(",".join(f"{value:.6f}" for value in channel) for channel in array) + f":{label}"
        for array, label in arrays
    ]
    path.write_text(TS.format(problem=problem, data="\n".join(lines)))
    return path


def test_ts(tmp_path):
    cases = np.random.default_rng(2).normal(size=(2, 6, 20))
    path = write_ts(tmp_path / "a.ts", zip(cases, ["Walking", "Running"], strict=True))
    walk, run = read(path)
    assert (walk.label, run.label, walk.rate, walk.kind) == ("Walking", "Running", 10.0, "imu")
    np.testing.assert_allclose(walk.samples[:, :3], cases[0, 3:].T, atol=1e-6)
    np.testing.assert_allclose(run.samples[:, 3:] * 9.80665, cases[1, :3].T, atol=1e-5)


def test_ts_errors(tmp_path):
    cases = np.zeros((1, 6, 20))
    with pytest.raises(InputError, match=r"'Epilepsy'.*only BasicMotions"):
        read(write_ts(tmp_path / "a.ts", [(cases[0], "x")], problem="Epilepsy"))
    with pytest.raises(InputError, match="case 0 has 5 channels"):
        read(write_ts(tmp_path / "a.ts", [(cases[0, :5], "x")]))


@pytest.mark.skipif(cached("basic-motions") is None, reason="needs: manifoldnet data get basic-motions")
@pytest.mark.filterwarnings("ignore:.*aliased")
@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
def test_basic_motions(part):
    folder = cached("basic-motions")
    assert folder is not None
    recordings = read(folder / f"BasicMotions_{part}.ts")
    assert len(recordings) == 40
    assert all(recording.samples.shape == (100, 6) for recording in recordings)
    labels, counts = np.unique([recording.label for recording in recordings], return_counts=True)
    assert labels.tolist() == ["Badminton", "Running", "Standing", "Walking"]
    assert counts.tolist() == [10] * 4

    def turning(label):
        return np.median([np.abs(r.samples[:, :3]).mean() for r in recordings if r.label == label])

    assert turning("Standing") < turning("Walking") < turning("Running")


def test_ts_cases(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text("@problemName P\n@classLabel false\n@data\n1,2:3,?\n")
    name, [(values, label)] = ts.cases(path)
    assert (name, label) == ("P", None)
    np.testing.assert_array_equal(values, [[1, 2], [3, np.nan]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@data\n", "no cases"),
        ("1,2,3\n", "line 1 is neither"),
        ("@timeStamps true\n@data\n(0,1):a\n", "time stamps"),
        ("@classLabel true a\n@data\n1,2:3:a\n", "line 3 is not lists of numbers of equal length"),
        ("@classLabel true a\n@data\n1,b:3,4:a\n", "line 3 is not lists"),
    ],
)
def test_ts_that_is_malformed(tmp_path, text, message):
    (tmp_path / "a.ts").write_text(text)
    with pytest.raises(InputError, match=message):
        ts.cases(tmp_path / "a.ts")
