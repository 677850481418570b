"""Quaternions in either order, rotation vectors, and the arrays and tables that hold them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifoldnet.activity.io import read
from manifoldnet.activity.rotation_arrays import from_quaternions, from_rotation_vectors
from manifoldnet.errors import InputError

RNG = np.random.default_rng(0)
VECTORS = np.cumsum(RNG.normal(scale=0.1, size=(30, 2, 3)), axis=0)
TURN = Rotation.from_rotvec(VECTORS.reshape(-1, 3))
MATRICES = TURN.as_matrix().reshape(30, 2, 3, 3)
XYZW = TURN.as_quat().reshape(30, 2, 4) * RNG.choice([-1, 1], size=(30, 2, 1)) * RNG.uniform(0.9, 1.1, size=(30, 2, 1))
WXYZ = XYZW[..., [3, 0, 1, 2]]
CONTENTS = [("wxyz", WXYZ), ("xyzw", XYZW), ("rotation vectors", VECTORS)]


def test_a_quarter_turn_by_hand():
    quarter = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    half = np.sqrt(0.5)
    np.testing.assert_allclose(from_quaternions(np.array([half, 0, 0, half]), "wxyz"), quarter, atol=1e-15)
    np.testing.assert_allclose(from_quaternions(np.array([0, 0, half, half]), "xyzw"), quarter, atol=1e-15)
    np.testing.assert_allclose(from_rotation_vectors(np.array([0, 0, np.pi / 2])), quarter, atol=1e-15)


@pytest.mark.parametrize(("content", "values"), CONTENTS)
@pytest.mark.parametrize("flat", [False, True])
def test_arrays(tmp_path, content, values, flat):
    """Signs and lengths of quaternions do not matter."""
    array = values.reshape(30, -1) if flat else values
    np.save(tmp_path / "a.npy", array)
    (out,) = read(tmp_path / "a.npy", 30, content=content)
    np.testing.assert_allclose(out.samples, MATRICES, atol=1e-12)
    np.savez(tmp_path / "a.npz", walk=array, rate=25.0, content=content)
    (out,) = read(tmp_path / "a.npz")
    assert (out.name, out.rate, out.kind) == ("walk", 25.0, "rotations")
    np.testing.assert_allclose(out.samples, MATRICES, atol=1e-12)
    np.savetxt(tmp_path / "a.csv", values.reshape(30, -1), delimiter=",")
    (out,) = read(tmp_path / "a.csv", 30, content=content)
    np.testing.assert_allclose(out.samples, MATRICES, atol=1e-12)


def test_named_columns(tmp_path):
    names = ["t", *(f"{body} {axis}" for body in ("Left hip q", "spine_Quat_") for axis in "wxyz")]
    times = np.arange(30) / 20
    rows = np.concatenate([times[:, None], WXYZ.reshape(30, -1)], axis=1)
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header=",".join(names), comments="")
    (out,) = read(tmp_path / "a.csv")
    assert out.bodies == ("left hip", "spine")
    assert out.rate == pytest.approx(20)
    np.testing.assert_allclose(out.samples, MATRICES, atol=1e-12)
    names = ["t", *(f"{body}{axis}" for body in ("hip rv ", "spine RotVec") for axis in "XYZ")]
    rows = np.concatenate([times[:, None], VECTORS.reshape(30, -1)], axis=1)
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header=",".join(names), comments="")
    (out,) = read(tmp_path / "a.csv")
    assert out.bodies == ("hip", "spine")
    np.testing.assert_allclose(out.samples, MATRICES, atol=1e-12)


def test_uneven_times_are_made_even_along_geodesics(tmp_path):
    """A steady turn stays steady."""
    times = (np.arange(30) + np.where(np.arange(30) % 2, 0.2, 0)) / 20
    quaternions = Rotation.from_rotvec(times[:, None] * [0.5, -1.0, 1.5]).as_quat(scalar_first=True)
    np.savetxt(tmp_path / "a.csv", np.c_[times, quaternions], delimiter=",", header="t,w,x,y,z", comments="")
    with pytest.warns(UserWarning, match=r"uneven times, steps of 0\.04 to 0\.06 s"):
        (out,) = read(tmp_path / "a.csv")
    even = np.linspace(times[0], times[-1], 30)
    wanted = Rotation.from_rotvec(even[:, None] * [0.5, -1.0, 1.5]).as_matrix()
    np.testing.assert_allclose(out.samples[:, 0], wanted, atol=1e-12)


def test_errors(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, WXYZ)
    with pytest.raises(InputError, match="say with content what else the array holds"):
        read(path, 30)
    with pytest.raises(InputError, match="content: 'quaternions', wanted one of wxyz, xyzw"):
        read(path, 30, content="quaternions")
    with pytest.raises(InputError, match=r"wanted \(N, k, 3\) or \(N, 3k\) for rotation vectors"):
        read(path, 30, content="rotation vectors")
    bad = WXYZ.copy()
    bad[7, 1] *= 3
    np.save(path, bad)
    with pytest.raises(InputError, match=r"1 of 60 quaternions have a norm outside 0\.5 to 2, the first is .* at 7, 1"):
        read(path, 30, content="wxyz")
    bad = VECTORS.copy()
    bad[7, 1] = np.nan
    np.save(path, bad)
    with pytest.raises(InputError, match=r"1 of 60 rotation vectors hold nan or infinity, the first is sample 7"):
        read(path, 30, content="rotation vectors")
    np.savetxt(tmp_path / "a.csv", WXYZ[:, 0, :3], delimiter=",", header="a_qw,a_qx,a_qy", comments="")
    with pytest.raises(InputError, match="nor for quaternions"):
        read(tmp_path / "a.csv", 30)
    rows = np.c_[WXYZ[:, 0], WXYZ[:, 1, :3]]
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="a_qw,a_qx,a_qy,a_qz,b_qw,b_qx,b_qy", comments="")
    with pytest.raises(InputError, match="the body 'b' has no column for all of w, x, y, z"):
        read(tmp_path / "a.csv", 30)
