"""Rotations between bones: what they do not depend on, mirror images, gaps, and degenerate poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.io import read
from manifoldnet.activity.kinect import FLORENCE_15, KINECT_20, SKELETONS
from manifoldnet.activity.skeleton import (
    Skeleton,
    filled,
    mirrored,
    mirrored_rotations,
    outward,
    relative_rotations,
    smallest_rotation,
)
from manifoldnet.errors import InputError


def pose(skeleton, frames=25):
    """A person that moves: a random tree with hips below shoulders, left and right where they belong."""
    rng = np.random.default_rng(0)
    joints = skeleton.joints
    start = rng.normal(scale=0.1, size=(len(joints), 3))
    for number, name in enumerate(joints):
        start[number, 0] += {"left": -0.3, "right": 0.3}.get(name.split()[0], 0)
        start[number, 2] += 1 if "shoulder" in name else 0
    return start + np.cumsum(rng.normal(scale=0.02, size=(frames, len(joints), 3)), axis=0)


def rotations_of(positions, skeleton):
    return relative_rotations(positions, skeleton.bones, hips=skeleton.hips, shoulders=skeleton.shoulders)


@pytest.mark.parametrize("name", list(SKELETONS))
def test_rotations_and_frames(name):
    skeleton = SKELETONS[name]
    positions = pose(skeleton)
    rotations, frame = rotations_of(positions, skeleton)
    assert rotations.shape == (25, len(skeleton.joints) - 1, 3, 3)
    for matrices in (rotations, frame):
        np.testing.assert_allclose(
            matrices.swapaxes(-1, -2) @ matrices, np.broadcast_to(np.eye(3), matrices.shape), atol=1e-12
        )
        np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)
    # the frame is made of hips and shoulders
    hips, shoulders = positions[:, list(skeleton.hips)], positions[:, list(skeleton.shoulders)]
    up = shoulders.mean(1) - hips.mean(1)
    across = hips[:, 1] - hips[:, 0] + shoulders[:, 1] - shoulders[:, 0]
    inside_up, inside_across = (np.einsum("nij,ni->nj", frame, v) for v in (up, across))
    np.testing.assert_allclose(inside_up[:, :2], 0, atol=1e-12)
    np.testing.assert_allclose(inside_across[:, 1], 0, atol=1e-12)
    assert (inside_up[:, 2] > 0).all()
    assert (inside_across[:, 0] > 0).all()


@pytest.mark.parametrize("name", list(SKELETONS))
def test_a_bone_is_turned_out_of_its_neighbour_by_the_angle_between_them(name):
    skeleton = SKELETONS[name]
    positions = pose(skeleton)
    rotations, frame = rotations_of(positions, skeleton)
    up = frame[:, :, 2]
    for number, (a, b) in enumerate(skeleton.bones):
        bone = positions[:, b] - positions[:, a]
        before = next((positions[:, a] - positions[:, c] for c, d in skeleton.bones if d == a), None)
        if before is None:
            before = -up if b in skeleton.hips else up
        u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (before, bone))
        inside = [np.einsum("nij,ni->nj", frame, x) for x in (u, v)]
        np.testing.assert_allclose(np.einsum("nij,nj->ni", rotations[:, number], inside[0]), inside[1], atol=1e-12)
        angle = Rotation.from_matrix(rotations[:, number]).magnitude()
        np.testing.assert_allclose(angle, np.arccos((u * v).sum(1)), atol=1e-7)


def test_every_bone_is_there_once():
    for skeleton in SKELETONS.values():
        assert sorted(b for _, b in skeleton.bones) == sorted(set(range(len(skeleton.joints))) - {skeleton.bones[0][0]})
        assert (skeleton.joint_mirror[skeleton.joint_mirror] == np.arange(len(skeleton.joints))).all()


def test_place_heading_and_size_do_not_matter():
    positions = pose(KINECT_20)
    rotations, frame = rotations_of(positions, KINECT_20)
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    moved, moved_frame = rotations_of(2.7 * positions @ turn.T + [1.0, -20.0, 3.0], KINECT_20)
    np.testing.assert_allclose(moved, rotations, atol=1e-10)
    np.testing.assert_allclose(moved_frame, turn @ frame, atol=1e-10)


@pytest.mark.parametrize("name", list(SKELETONS))
def test_the_mirror_image(name):
    """M R M with left and right bones exchanged; twice is the identity."""
    skeleton = SKELETONS[name]
    positions = pose(skeleton)
    rotations, frame = rotations_of(positions, skeleton)
    other, other_frame = rotations_of(mirrored(positions, skeleton), skeleton)
    np.testing.assert_allclose(mirrored_rotations(rotations, skeleton), other, atol=1e-12)
    m = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(m @ frame @ m, other_frame, atol=1e-12)
    np.testing.assert_array_equal(mirrored(mirrored(positions, skeleton), skeleton), positions)
    assert np.abs(other - rotations).max() > 0.1


def test_smallest_rotation_is_scipys():
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in np.random.default_rng(1).normal(size=(2, 50, 3)))
    axis = np.cross(u, v)
    axis *= (np.arccos((u * v).sum(1)) / np.linalg.norm(axis, axis=1))[:, None]
    np.testing.assert_allclose(smallest_rotation(u, v), Rotation.from_rotvec(axis).as_matrix(), atol=1e-10)
    np.testing.assert_allclose(smallest_rotation(u, u), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12)


def test_opposite_bones_give_one_half_turn():
    u = np.random.default_rng(2).normal(size=(50, 3))
    u[:3] = np.eye(3)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for noise in (0, 1e-9):
        turn = smallest_rotation(u, -u + noise * np.array([0, 0, 1]))
        np.testing.assert_allclose(Rotation.from_matrix(turn).magnitude(), np.pi, atol=1e-6)
        np.testing.assert_allclose(np.einsum("nij,nj->ni", turn, u), -u, atol=1e-6)
    np.testing.assert_array_equal(smallest_rotation(u, -u), smallest_rotation(u, -u))
    m = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(smallest_rotation(m * u, -m * u), m[:, None] * m * smallest_rotation(u, -u), atol=1e-12)
    # nearly opposite ones are still exact
    v = -u + 1e-4 * np.roll(u, 1, axis=1)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", smallest_rotation(u, v), u), v, atol=1e-10)


def test_a_folded_elbow():
    positions = pose(FLORENCE_15)
    shoulder, elbow, wrist = (FLORENCE_15.joints.index(f"left {name}") for name in ("shoulder", "elbow", "wrist"))
    positions[:, wrist] = positions[:, shoulder]
    rotations, _ = rotations_of(positions, FLORENCE_15)
    number = FLORENCE_15.bones.index((elbow, wrist))
    np.testing.assert_allclose(np.trace(rotations[:, number], axis1=1, axis2=2), -1, atol=1e-10)


def test_a_bone_without_length_keeps_its_direction():
    positions = pose(KINECT_20)
    still = positions.copy()
    wrist, hand = (KINECT_20.joints.index(f"right {name}") for name in ("wrist", "hand"))
    still[[3, 4, 5, 6], hand] = still[[3, 4, 5, 6], wrist]
    rotations, frame = rotations_of(still, KINECT_20)
    bone = KINECT_20.bones.index((wrist, hand))
    before = KINECT_20.bones.index((KINECT_20.joints.index("right elbow"), wrist))

    def direction(at):
        """Of the hand inside the person, by the rotations up to it."""
        vectors = np.einsum("nij,ni->nj", frame, positions[:, wrist] - positions[:, KINECT_20.bones[before][0]])
        return rotations[at, bone] @ (vectors[at] / np.linalg.norm(vectors[at]))

    np.testing.assert_allclose(direction(3), direction(2), atol=1e-10)
    np.testing.assert_allclose(direction(4), direction(2), atol=1e-10)
    np.testing.assert_allclose(direction(6), direction(7), atol=1e-10)
    still[:, hand] = still[:, wrist]
    with pytest.raises(InputError, match=rf"the bone \({wrist}, {hand}\) has length 0 in all frames"):
        rotations_of(still, KINECT_20)


def test_a_person_without_a_frame():
    positions = pose(KINECT_20)
    positions[:, list(KINECT_20.hips)] = positions[:, list(KINECT_20.shoulders)]
    with pytest.raises(InputError, match="the trunk has length 0 in all frames"):
        rotations_of(positions, KINECT_20)


def test_gaps_are_filled_linearly():
    positions = np.arange(20.0)[:, None, None] * np.ones((20, 2, 3)) + 1
    holes = positions.copy()
    holes[[0, 5, 6, 7, 19], 1] = [[np.nan] * 3, [np.nan, 1, 1], [0, 0, 0], [0, 0, 0], [np.inf] * 3]
    wanted = positions.copy()
    wanted[0, 1], wanted[19, 1] = wanted[1, 1], wanted[18, 1]
    np.testing.assert_allclose(filled(holes), wanted, atol=1e-12)
    assert filled(positions) is positions
    root = positions.copy()
    root[:, 0] = 0  # the origin, not a joint that is never seen
    np.testing.assert_array_equal(filled(root), root)


def test_long_gaps_are_refused():
    positions = np.ones((30, 2, 3))
    positions[4:19, 1] = np.nan
    assert np.isfinite(filled(positions)).all()
    positions[19, 1] = np.nan
    with pytest.raises(InputError, match="joint 1 is missing in more than 15 successive frames, from frame 4"):
        filled(positions)
    positions = np.ones((30, 2, 3))
    positions[:, 0] = np.nan
    with pytest.raises(InputError, match=r"joint 0 is missing .* from frame 0"):
        filled(positions)


def test_what_does_not_fit():
    positions = pose(KINECT_20)
    for bones, message in (
        ([(0, 1), (2, 1)], "two bones end in joint 1"),
        ([(0, 0)], "from a joint to itself"),
        ([], "no bone"),
        ([(0, 20)], "joint 20, wanted 0 to 19"),
    ):
        with pytest.raises(InputError, match=message):
            relative_rotations(positions, bones, hips=(12, 16), shoulders=(4, 8))
    positions[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="1 joint positions are nan or infinite, the first is frame 3, joint 2"):
        rotations_of(positions, KINECT_20)
    with pytest.raises(InputError, match="'right ear' is wanted in the mirror"):
        _ = Skeleton(("left ear",), ((0, 0),), (0, 0), (0, 0)).joint_mirror


def test_outward():
    assert outward([(3, 2), (1, 2), (1, 0)], 1) == ((1, 2), (1, 0), (2, 3))
    with pytest.raises(InputError, match="closes a loop"):
        outward([(0, 1), (1, 2), (2, 0)], 0)
    with pytest.raises(InputError, match=r"\(4, 5\) is not connected with joint 0"):
        outward([(0, 1), (4, 5)], 0)


@pytest.mark.filterwarnings("ignore:.*aliased")
def test_positions_in_files(tmp_path):
    positions = pose(KINECT_20)
    rotations, frame = rotations_of(positions, KINECT_20)
    np.save(tmp_path / "a.npy", positions)
    (out,) = read(tmp_path / "a.npy", 30, content="positions", skeleton="kinect-20")
    np.testing.assert_allclose(out.samples, rotations, atol=1e-12)
    np.testing.assert_allclose(out.frame, frame, atol=1e-12)
    assert out.bodies == KINECT_20.bodies
    np.savez(
        tmp_path / "a.npz", samples=np.concatenate([positions, positions]), lengths=[25, 25], labels=["sit", "run"],
        rate=30.0, content="positions", skeleton="kinect-20",
    )  # fmt: skip
    sit, run = read(tmp_path / "a.npz")
    assert (sit.label, run.label) == ("sit", "run")
    np.testing.assert_allclose(run.samples, rotations, atol=1e-12)
    # columns by the names of the joints, in another order
    names = [f"{'_'.join(reversed(joint.split()))}_{axis}" for joint in KINECT_20.joints for axis in "xyz"]
    order = np.random.default_rng(0).permutation(60)
    table = np.c_[np.arange(25), positions.reshape(25, 60)[:, order]]
    header = ",".join(["frame", *(names[i] for i in order)])
    np.savetxt(tmp_path / "a.csv", table, delimiter=",", header=header, comments="")
    (out,) = read(tmp_path / "a.csv", 30, content="positions", skeleton=KINECT_20)
    np.testing.assert_allclose(out.samples, rotations, atol=1e-12)
    np.savetxt(tmp_path / "b.csv", table[:, :-1], delimiter=",", header=header.rpartition(",")[0], comments="")
    with pytest.raises(InputError, match="no column for "):
        read(tmp_path / "b.csv", 30, content="positions", skeleton=KINECT_20)


def test_errors_of_files(tmp_path):
    positions = pose(KINECT_20)
    np.save(tmp_path / "a.npy", positions)
    with pytest.raises(InputError, match="skeleton: positions need a Skeleton or the name of one"):
        read(tmp_path / "a.npy", 30, content="positions")
    with pytest.raises(InputError, match="no skeleton 'kinect'; there are kinect-20"):
        read(tmp_path / "a.npy", 30, content="positions", skeleton="kinect")
    with pytest.raises(InputError, match=r"a\.npy: 20 joints, the skeleton has 15"):
        read(tmp_path / "a.npy", 30, content="positions", skeleton="florence-15")
    positions[:20, 3] = np.nan
    np.save(tmp_path / "a.npy", positions)
    with pytest.raises(InputError, match=r"a\.npy: positions: joint 3 is missing"):
        read(tmp_path / "a.npy", 30, content="positions", skeleton="kinect-20")
