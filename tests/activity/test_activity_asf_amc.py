"""ASF and AMC: rotations in a bone's own axes, forward kinematics, and what is wrong with a file."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity import amc, asf
from manifoldnet.activity.io import read
from manifoldnet.errors import InputError

ASF = """# made by hand
:version 1.10
:name VICON
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   three bones
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name hip
     direction 0 -1 0
     length 2
     axis 0 0 0  XYZ
  end
  begin
     id 3
     name tibia
     direction 0 0 1
     length 3
     axis 30 -40 50  ZYX
    dof rx
    limits (-10.0 170.0)
  end
  begin
     id 2
     name femur
     direction 0.6 -0.8 0
     length 5
     axis 10 20 30  XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
:hierarchy
  begin
    root hip
    hip femur
    femur tibia
  end
"""
ROOT, FEMUR, TIBIA = (np.random.default_rng(i).uniform(-25, 25, size=(20, n)).round(3) for i, n in enumerate((6, 3, 1)))


def frame(i):
    parts = (("root", ROOT), ("tibia", TIBIA), ("femur", FEMUR))
    return "\n".join(f"{name} {' '.join(str(value) for value in rows[i])}" for name, rows in parts)


AMC = "#!OML:ASF a.ASF\n:FULLY-SPECIFIED\n:DEGREES\n" + "\n".join(f"{i + 1}\n{frame(i)}" for i in range(20)) + "\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "07.asf").write_text(ASF)
    (tmp_path / "07_01.amc").write_text(AMC)
    return tmp_path / "07.asf", tmp_path / "07_01.amc"


def turns():
    """Root, femur and tibia relative to their parents, by scipy; lower case is about fixed axes.

    ``axis 30 -40 50 ZYX`` gives x 30, y -40, z 50, and turns about z first.
    """
    thigh = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    shin = Rotation.from_euler("zyx", [50, -40, 30], degrees=True)
    return (
        Rotation.from_euler("xyz", ROOT[:, 3:], degrees=True),
        thigh * Rotation.from_euler("xyz", FEMUR, degrees=True) * thigh.inv(),
        shin * Rotation.from_euler("x", TIBIA, degrees=True) * shin.inv(),
    )


def test_rotations_are_those_of_scipy(files):
    (out,) = read(files[1], 120)
    assert (out.name, out.kind, out.rate) == ("07_01", "rotations", 120.0)
    assert out.bodies == ("root", "femur", "tibia")
    for body, wanted in enumerate(turns()):
        np.testing.assert_allclose(out.samples[:, body], wanted.as_matrix(), atol=1e-12)


def test_forward_kinematics(files):
    motion = amc.read(files[1], asf.read(files[0]))
    assert motion.skeleton.bones == ("root", "hip", "femur", "tibia")
    root, femur, tibia = turns()
    knee = ROOT[:, :3] + root.apply([0, -2, 0]) + (root * femur).apply([3, -4, 0])
    np.testing.assert_allclose(motion.positions()[:, 2], knee, atol=1e-10)
    np.testing.assert_allclose(motion.positions()[:, 3], knee + (root * femur * tibia).apply([0, 0, 3]), atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*aliased")  # the other angles are now read as radians too
def test_radians(files):
    (files[0].parent / "b.asf").write_text(ASF.replace("angle deg", "angle rad"))
    radians = np.radians(ROOT[:, 3:])
    text = AMC.replace(":DEGREES\n", "")
    for i in range(20):
        old, new = (" ".join(str(value) for value in (*ROOT[i, :3], *turn[i])) for turn in (ROOT[:, 3:], radians))
        text = text.replace(f"root {old}", f"root {new}")
    files[1].write_text(text)
    (out,) = read(files[1], 120, skeleton=files[0].parent / "b.asf")
    np.testing.assert_allclose(out.samples[:, 0], turns()[0].as_matrix(), atol=1e-12)


def test_the_skeleton_must_be_found(files, tmp_path):
    files[0].rename(tmp_path / "other.asf")
    with pytest.raises(InputError, match=r"its skeleton 07_01\.asf is not beside it"):
        read(files[1], 120)
    assert read(files[1], 120, skeleton=tmp_path / "other.asf")
    with pytest.raises(InputError, match=r"skeleton: wanted an \.asf file"):
        read(files[1], 120, skeleton={"hip": ["a", "b", "c"]})
    with pytest.raises(InputError, match=r"unknown format '\.asf'"):
        read(tmp_path / "other.asf")


def test_rate_is_needed(files):
    with pytest.raises(InputError, match="rate is not in the file"):
        read(files[1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":bonedata", ":bones", "line 15: unknown keyword ':bones'"),
        (":version", "version", "line 2: 'version 1.10' before the first section"),
        (":documentation", ":units", "line 8: a second section :units"),
        (":hierarchy\n", "", "line 47: the file ends without a section :hierarchy"),
        ("angle deg", "angle turns", "line 7: angle 'turns', wanted deg or rad"),
        ("   axis XYZ", "   axis XYW", "line 12: axis order 'XYW'"),
        ("   position", "   place", "line 13: unknown keyword 'place'"),
        ("order TX", "order QX", "line 11: degrees of freedom 'QX TY"),
        ("direction 0 0 1", "direction 0 0", "line 26: 2 values for direction, wanted 3"),
        ("direction 0 0 1", "direction 0 0 one", "line 26: 'one' is not a number"),
        ("     direction 0 0 1\n", "", "line 30: the bone 'tibia' ends without direction"),
        ("     length 3\n", "", "line 30: the bone 'tibia' ends without length"),
        ("     axis 30 -40 50  ZYX\n", "", "line 30: the bone 'tibia' ends without axis"),
        ("axis 30 -40 50  ZYX", "axis 30 -40 50", "line 28: axis order ''"),
        ("axis 30 -40 50  ZYX", "axis 30 -40 50 ZY", "line 28: axis order 'ZY', wanted three axes"),
        ("dof rx\n", "dof rx rx\n", "line 29: degrees of freedom 'rx rx'"),
        ("name tibia", "name hip", "line 31: a second bone 'hip'"),
        ("name tibia", "colour red", "line 25: unknown keyword 'colour' in a bone"),
        ("    hip femur\n", "", "line 46: the bone 'femur' has children before it has a parent"),
        ("    femur tibia\n", "", "line 47: the hierarchy does not reach the bone 'tibia'"),
        ("    femur tibia", "    femur tibia hip", "line 47: a second parent for the bone 'hip'"),
        ("    femur tibia", "    femur fibula", "line 47: unknown bone 'fibula'"),
    ],
)
def test_what_is_wrong_with_a_skeleton_is_told_with_its_line(files, old, new, message):
    assert old in ASF
    files[0].write_text(ASF.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        asf.read(files[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":DEGREES", ":GRADS", "line 3: unknown keyword ':GRADS'"),
        ("\n1\n", "\n", "line 4: 'root' before the first frame number"),
        ("\n3\n", "\n4\n", "line 12: frame 4 after frame 2"),
        (frame(1), frame(1).partition("\n")[2], "line 8: the frame that begins here leaves out root"),
        (frame(1), frame(1).rpartition("\n")[0], "line 8: the frame that begins here leaves out femur"),
        (frame(19), frame(19).rpartition("\n")[0], "line 80: the frame that begins here leaves out femur"),
        ("tibia", "fibula", "line 6: the bone 'fibula' is not in the skeleton"),
        ("tibia", "hip", "line 6: the bone 'hip' has no degree of freedom"),
        ("tibia", "tibia 1", "line 6: 2 values for the bone 'tibia', wanted 1"),
        (frame(0), frame(0).replace(".", ",", 1), "line 5: '.*,.*' is not a number"),
        ("femur", "tibia 1\nfemur", "line 7: the bone 'tibia' twice in one frame"),
    ],
)
def test_what_is_wrong_with_a_motion_is_told_with_its_line(files, old, new, message):
    assert old in AMC
    files[1].write_text(AMC.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        amc.read(files[1], asf.read(files[0]))


def test_cut_at_every_line(files):
    skeleton = asf.read(files[0])
    lines = ASF.splitlines()
    for count in range(1, len(lines)):
        files[0].write_text("\n".join(lines[:count]))
        with pytest.raises(InputError, match=r"07\.asf: line \d+: "):
            asf.read(files[0])
    lines = AMC.splitlines()
    for count in range(1, len(lines)):
        files[1].write_text("\n".join(lines[:count]))
        if count > 3 and (count - 3) % 4 == 0:  # whole frames, fewer than before
            assert len(amc.read(files[1], skeleton).rotations) == (count - 3) // 4
        else:
            with pytest.raises(InputError, match=r"07_01\.amc: line \d+: "):
                amc.read(files[1], skeleton)
