"""Motions of DeepMimic's humanoid."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.deepmimic import BODIES
from manifoldnet.activity.io import read
from manifoldnet.data import cached
from manifoldnet.errors import InputError

FRAMES = np.zeros((20, 44))
FRAMES[:-1, 0] = 0.04
_ANGLES = np.linspace(0, 1, 20)
_QUATERNIONS = Rotation.from_rotvec(_ANGLES[:, None] * [0.3, 0.2, -0.6]).as_quat(scalar_first=True)
for _start in (4, 8, 12, 16, 21, 25, 30, 35, 39):
    FRAMES[:, _start : _start + 4] = _QUATERNIONS * 1.3
FRAMES[:, [20, 29, 34, 43]] = _ANGLES[:, None] * [1, 2, 3, 4]


def write(path, frames=FRAMES):
    path.write_text(json.dumps({"Loop": "wrap", "Frames": np.asarray(frames).tolist()}, indent=0))
    return path


@pytest.mark.parametrize("name", ["a.json", "a.txt"])
def test_rotations(tmp_path, name):
    (out,) = read(write(tmp_path / name))
    assert (out.kind, out.samples.shape, out.bodies) == ("rotations", (20, 13, 3, 3), BODIES)
    assert out.rate == pytest.approx(25)
    ball = Rotation.from_rotvec(_ANGLES[:, None] * [0.3, 0.2, -0.6]).as_matrix()
    hinges = {"right knee": 1, "right elbow": 2, "left knee": 3, "left elbow": 4}
    for number, body in enumerate(BODIES):
        wanted = ball
        if body in hinges:
            wanted = Rotation.from_rotvec(_ANGLES[:, None] * [0, 0, hinges[body]]).as_matrix()
        np.testing.assert_allclose(out.samples[:, number], wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Frames":\n[[1, 2],\n[3, x]]}', "line 3: not JSON"),
        ('{"Frames":\n[[1, 2],\n', "line 3: not JSON"),
        ('{"Loop": "wrap"}', "JSON without Frames"),
        ('{"Frames": [[1, 2], [3]]}', "not lists of numbers of equal length"),
        ('{"Frames": [[1, 2], [3, 4]]}', r"Frames of shape \(2, 2\), wanted \(at least 2, 44\)"),
        ('{"Frames": [[1, 2], ["a", "b"]]}', "not lists of numbers"),
    ],
)
def test_what_is_no_motion(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.json")


def test_durations_and_quaternions_must_make_sense(tmp_path):
    frames = FRAMES.copy()
    frames[3, 0] = 0
    with pytest.raises(InputError, match=r"time does not increase at frame 4"):
        read(write(tmp_path / "a.json", frames))
    frames = FRAMES.copy()
    frames[3, 8:12] = 0
    with pytest.raises(InputError, match="chest: 1 of 20 quaternions have a norm outside"):
        read(write(tmp_path / "a.json", frames))


@pytest.mark.skipif(cached("humanoid-motions") is None, reason="needs: manifoldnet data get humanoid-motions")
@pytest.mark.filterwarnings("ignore:.*(aliased|uneven times)")
def test_real_files():
    folder = cached("humanoid-motions")
    assert folder is not None
    paths = sorted(folder.glob("*.txt"))
    assert len(paths) == 15
    rates = set()
    for path in paths:
        (out,) = read(path)
        frames = json.loads(path.read_text())["Frames"]
        assert out.samples.shape == (len(frames), 13, 3, 3)
        rates.add(round(out.rate))
        if path.stem == "roll":  # one frame lasts twice as long as the others
            continue
        knee = Rotation.from_matrix(out.samples[:, BODIES.index("right knee")]).as_rotvec()
        np.testing.assert_allclose(knee, np.array(frames)[:, 20:21] * [0, 0, 1], atol=1e-12)
    assert rates == {16, 24, 30, 60}
