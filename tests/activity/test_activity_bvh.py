"""BVH: Euler angles in any order, forward kinematics, real files, and what is wrong with a file."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity import bvh
from manifoldnet.activity.io import read
from manifoldnet.data import cached
from manifoldnet.errors import InputError

HIERARCHY = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Arm
  {
    OFFSET 1 2 3
    CHANNELS 3 Yrotation Zrotation Xrotation
    JOINT Elbow {
      OFFSET 0 5 0
      CHANNELS 1 Xrotation
      End Site
      {
        OFFSET 0 0 4
      }
    }
  }
  JOINT Fixed
  {
    OFFSET -1 0 0
    CHANNELS 0
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
"""
VALUES = np.random.default_rng(0).uniform(-25, 25, size=(20, 10)).round(4)
ROWS = [" ".join(f"{value:.4f}" for value in row) for row in VALUES]
TEXT = HIERARCHY + "MOTION\nFrames: 20\nFrame Time: 0.025\n" + "\n".join(ROWS) + "\n"


def write(path, text=TEXT):
    path.write_text(text)
    return path


def test_rotations_are_those_of_scipy(tmp_path):
    (out,) = read(write(tmp_path / "walk.bvh"))
    assert (out.name, out.kind, out.rate) == ("walk", "rotations", 40.0)
    assert out.bodies == ("Hips", "Left Arm", "Elbow")
    turns = [("ZXY", VALUES[:, 3:6]), ("YZX", VALUES[:, 6:9]), ("X", VALUES[:, 9:])]
    for body, (order, angles) in enumerate(turns):
        wanted = Rotation.from_euler(order, angles, degrees=True).as_matrix().reshape(20, 3, 3)
        np.testing.assert_allclose(out.samples[:, body], wanted, atol=1e-12)


def test_forward_kinematics(tmp_path):
    """The tip of the arm by hand, as a chain of rigid motions."""
    motion = bvh.read(write(tmp_path / "a.bvh"))
    assert motion.joints == ("Hips", "Left Arm", "Elbow", "Elbow end", "Fixed", "Fixed end")
    assert motion.parents == (-1, 0, 1, 2, 0, 4)
    hips = Rotation.from_euler("ZXY", VALUES[:, 3:6], degrees=True)
    arm = hips * Rotation.from_euler("YZX", VALUES[:, 6:9], degrees=True)
    elbow = arm * Rotation.from_euler("X", VALUES[:, 9:], degrees=True)
    tip = VALUES[:, :3] + hips.apply([1, 2, 3]) + arm.apply([0, 5, 0]) + elbow.apply([0, 0, 4])
    np.testing.assert_allclose(motion.positions()[:, 3], tip, atol=1e-10)
    np.testing.assert_allclose(motion.positions()[:, 5], VALUES[:, :3] + hips.apply([-1, 1, 0]), atol=1e-10)


def test_rate_must_agree(tmp_path):
    assert read(write(tmp_path / "a.bvh"), 41)[0].rate == 41
    with pytest.raises(InputError, match=r"rate: 60 Hz, but the frames of .* say 40 Hz"):
        read(write(tmp_path / "a.bvh"), 60)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MOTION", "MOVEMENT", r"line 51: the file ends without a MOTION section"),
        ("HIERARCHY", "SKELETON", "line 1: the file does not begin with HIERARCHY"),
        ("OFFSET 1 2 3", "OFFSET 1 2 x", r"line 8: 'x' is not a number \(OFFSET\)"),
        ("OFFSET 1 2 3", "OFFSET 1 2 inf", "line 8: OFFSET hold nan or infinity"),
        ("OFFSET 1 2 3", "", "line 18: the joint 'Left Arm' has no OFFSET"),
        ("OFFSET 1 2 3", "COLOUR 1 2 3", "line 8: unknown keyword 'COLOUR'"),
        ("CHANNELS 3 Y", "CHANNELS 3 W", "line 9: unknown channel 'Wrotation'"),
        ("CHANNELS 3 Y", "CHANNELS three Y", "line 9: 'three' channels, wanted a whole number"),
        ("CHANNELS 1 Xrotation", "", "line 17: the joint 'Elbow' has no CHANNELS"),
        ("JOINT Left Arm", "JOINT", "line 6: JOINT without a name"),
        ("JOINT Left Arm\n  {", "JOINT Left Arm\n", r"line 8: wanted { after JOINT Left Arm"),
        ("ROOT Hips", "JOINT Hips", "line 2: JOINT outside of a joint"),
        ("}\nMOTION", "MOTION", "line 28: MOTION begins before the joint 'Hips' is closed"),
        ("}\nMOTION", "}\n}\nMOTION", "line 29: unknown keyword '}'"),
        ("Frames: 20", "Frames: many", "line 30: 'many' is not a number"),
        ("Frames: 20", "Frames: 0", "line 30: 0 frames"),
        ("Frames: 20", "Frame Time: 1", "line 30: 'Frame Time: 1', wanted Frames: number"),
        ("Frame Time: 0.025", "Frame Time: 0", "line 31: a frame time of 0 s"),
        ("Frames: 20", "Frames: 21", "line 51: 20 frames at the end of the file, wanted 21"),
        ("Frames: 20", "Frames: 19", "line 51: 20 frames at the end of the file, wanted 19"),
        (ROWS[4], ROWS[4][:-8], "line 36: 9 values for the channels of a frame, wanted 10"),
        (ROWS[4], ROWS[4] + " 1", "line 36: 11 values for the channels of a frame, wanted 10"),
        (ROWS[4], ROWS[4].replace(".", ",", 1), "line 36: .* is not a number"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(InputError, match=message):
        bvh.read(write(tmp_path / "a.bvh", TEXT.replace(old, new, 1)))


def test_cut_at_every_line(tmp_path):
    lines = TEXT.splitlines()
    for count in range(1, len(lines)):
        with pytest.raises(InputError, match=r"a\.bvh: line \d+: "):
            bvh.read(write(tmp_path / "a.bvh", "\n".join(lines[:count]) + "\n"))


def test_not_text(tmp_path):
    (tmp_path / "a.bvh").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read(tmp_path / "a.bvh")


@pytest.mark.skipif(cached("bvh-samples") is None, reason="needs: manifoldnet data get bvh-samples")
@pytest.mark.parametrize(
    ("name", "frames", "bodies", "order"), [("freebvh", 69, 55, "ZYX"), ("mocapbank", 455, 19, "ZXY")]
)
def test_real_files(tmp_path, name, frames, bodies, order):
    folder = cached("bvh-samples")
    assert folder is not None
    path = folder / f"{name}.bvh"
    (out,) = read(path)
    assert out.samples.shape == (frames, bodies, 3, 3)
    assert out.rate == pytest.approx(30, rel=1e-4)
    # in these files the channels lie side by side in the order of the joints, after the root's position
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    table = np.array([line.split() for line in lines[first:] if line.strip()], dtype=float)
    wanted = Rotation.from_euler(order, table[:, 3:].reshape(-1, 3), degrees=True).as_matrix()
    np.testing.assert_allclose(out.samples, wanted.reshape(out.samples.shape), atol=1e-12)
    for count in range(0, first, 7):
        with pytest.raises(InputError, match="line"):
            bvh.read(write(tmp_path / "cut.bvh", "\n".join(lines[:count]) + "\n"))
