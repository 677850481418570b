"""C3D: markers written by ezc3d, rigid bodies with known attitudes, and files that are not whole."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity import c3d
from manifoldnet.activity.io import read
from manifoldnet.activity.kinect import FLORENCE_15
from manifoldnet.activity.skeleton import relative_rotations
from manifoldnet.data import cached
from manifoldnet.errors import InputError

ezc3d = pytest.importorskip("ezc3d")

RNG = np.random.default_rng(0)
TURN = Rotation.from_rotvec(np.cumsum(RNG.normal(scale=0.1, size=(40, 3)), axis=0))
SHAPE = np.array([[0, 0, 0], [100, 0, 0], [30, 80, 0], [10, 20, 50]], dtype=float)  # x along the first edge, z up
PLACE = np.cumsum(RNG.normal(scale=10, size=(40, 1, 3)), axis=0)
NAMES = ["RTHI", "RKNE", "RTIB", "RANK"]
MARKERS = np.einsum("nij,mj->nmi", TURN.as_matrix(), SHAPE) + PLACE


def write(path, labels, positions, rate=100.0):
    """``positions`` (N, M, 3) in mm; nan is a marker that was not seen."""
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [rate]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(labels)
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = np.concatenate(
        [np.moveaxis(positions, -1, 0), np.ones((1, *positions.shape[:2]))]
    ).swapaxes(1, 2)
    file.write(str(path))
    return path


def test_markers(tmp_path):
    markers = c3d.read(write(tmp_path / "a.c3d", [f"Anna:{name}" for name in NAMES], MARKERS))
    assert (markers.rate, markers.unit) == (100.0, "mm")
    np.testing.assert_allclose(markers.positions, MARKERS, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(markers.of(["RTIB", "Anna:RKNE"], "a"), markers.positions[:, [2, 1]])
    with pytest.raises(InputError, match="a: no marker 'LTIB'; there are Anna:RTHI, Anna:RKNE"):
        markers.of(["LTIB"], "a")


def test_attitude_of_a_rigid_body(tmp_path):
    path = write(tmp_path / "walk.c3d", NAMES, MARKERS)
    (out,) = read(path, skeleton={"leg": NAMES, "three": NAMES[:3]})
    assert (out.name, out.kind, out.rate, out.bodies) == ("walk", "rotations", 100.0, ("leg", "three"))
    for body in (0, 1):
        np.testing.assert_allclose(out.samples[:, body], TURN.as_matrix(), atol=1e-5)


def test_the_fit_is_the_best_in_the_mean_square():
    """Skin moves: the attitude is that of scipy's fit to the mean shape."""
    loose = MARKERS + np.random.default_rng(1).normal(scale=5, size=MARKERS.shape)
    out = c3d.rigid_bodies({"leg": loose})[:, 0]
    centred = loose - loose.mean(axis=1, keepdims=True)
    x = loose[:, 1] - loose[:, 0]
    z = np.cross(x, loose[:, 2] - loose[:, 0])
    axes = np.stack([v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, np.cross(z, x), z)], axis=-1)
    shape = np.einsum("nji,nmj->nmi", axes, centred).mean(axis=0)
    wanted = [Rotation.align_vectors(frame, shape)[0].as_matrix() for frame in centred]
    np.testing.assert_allclose(out, wanted, atol=1e-10)
    assert Rotation.from_matrix(out.swapaxes(-1, -2) @ TURN.as_matrix()).magnitude().max() < 0.25


def test_short_gaps_are_filled(tmp_path):
    holes = MARKERS.copy()
    holes[10:13, 1] = np.nan
    (out,) = read(write(tmp_path / "a.c3d", NAMES, holes), skeleton={"leg": NAMES})
    error = Rotation.from_matrix(out.samples[:, 0].swapaxes(-1, -2) @ TURN.as_matrix()).magnitude()
    assert np.median(error) < 0.02
    assert error.max() < 0.5
    holes[5:30, 1] = np.nan
    with pytest.raises(
        InputError, match=r"a\.c3d: leg: positions: joint 1 is missing in more than 15 successive frames"
    ):
        read(write(tmp_path / "a.c3d", NAMES, holes), skeleton={"leg": NAMES})


@pytest.mark.filterwarnings("ignore:.*aliased")
def test_markers_at_joints(tmp_path):
    joints = FLORENCE_15.joints
    positions = np.random.default_rng(2).normal(scale=100, size=(1, 15, 3)) + np.cumsum(
        np.random.default_rng(3).normal(scale=5, size=(40, 15, 3)), axis=0
    )
    path = write(
        tmp_path / "a.c3d", ["extra", *joints[::-1]], np.concatenate([positions[:, :1], positions[:, ::-1]], 1)
    )
    (out,) = read(path, skeleton=FLORENCE_15)
    wanted, frame = relative_rotations(
        positions, FLORENCE_15.bones, hips=FLORENCE_15.hips, shoulders=FLORENCE_15.shoulders
    )
    np.testing.assert_allclose(out.samples, wanted, atol=1e-4)
    np.testing.assert_allclose(out.frame, frame, atol=1e-4)


def test_errors(tmp_path):
    path = write(tmp_path / "a.c3d", NAMES, MARKERS)
    with pytest.raises(InputError, match=r"skeleton: C3D holds positions only; .* the markers in .* are RTHI, RKNE"):
        read(path)
    with pytest.raises(InputError, match=r"a\.c3d: leg: no marker 'LTIB'; there are RTHI"):
        read(path, skeleton={"leg": [*NAMES, "LTIB"]})
    with pytest.raises(InputError, match="a dict without a body"):
        read(path, skeleton={})
    with pytest.raises(InputError, match=r"a\.c3d: leg: 2 markers, wanted at least 3"):
        read(path, skeleton={"leg": NAMES[:2]})
    with pytest.raises(InputError, match=r"rate: 50 Hz, but the frames of .* say 100 Hz"):
        read(path, 50, skeleton={"leg": NAMES})
    line = MARKERS.copy()
    line[7, 2] = (line[7, 0] + line[7, 1]) / 2
    path = write(tmp_path / "b.c3d", NAMES, line)
    with pytest.raises(InputError, match=r"b\.c3d: leg: the markers are on one line in frame 7"):
        read(path, skeleton={"leg": NAMES[:3]})


def test_files_that_are_not_whole(tmp_path):
    content = write(tmp_path / "a.c3d", NAMES, MARKERS).read_bytes()
    for size in (1, *range(64, len(content) - 512, 64)):
        (tmp_path / "b.c3d").write_bytes(content[:size])
        with pytest.raises(InputError, match=r"b\.c3d: not a (whole )?C3D file"):
            read(tmp_path / "b.c3d", skeleton={"leg": NAMES})


def test_without_the_library(tmp_path, monkeypatch):
    path = write(tmp_path / "a.c3d", NAMES, MARKERS)
    monkeypatch.setitem(sys.modules, "ezc3d", None)
    with pytest.raises(InputError, match=r'pip install "manifoldnet\[c3d\]"'):
        read(path, skeleton={"leg": NAMES})


@pytest.mark.skipif(cached("imu-samples") is None, reason="needs: manifoldnet data get imu-samples")
def test_a_real_file_without_markers():
    """A wearable sensor's: 677 frames of analogue channels only."""
    folder = cached("imu-samples")
    assert folder is not None
    with pytest.raises(InputError, match="0 markers in 677 frames"):
        read(folder / "left-foot.c3d", skeleton={"leg": NAMES})
