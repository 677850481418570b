"""Group actions on windows: laws of an action, what each leaves as it was; the frame that a recording brings along."""

import numpy as np
from scipy.spatial.transform import Rotation

from manifoldnet.activity.augment import canonical, random_mounts, random_speeds, remount, warp
from manifoldnet.activity.channels import attitudes
from manifoldnet.activity.mounting import in_own_frame, own_frame
from manifoldnet.activity.windows import mirror

RNG = np.random.default_rng(0)
SAMPLES = np.cumsum(RNG.normal(0, 0.3, (4, 50, 6)), 1)


def test_mirror_is_an_involution_and_commutes_with_canonical():
    np.testing.assert_array_equal(mirror(mirror(SAMPLES)), SAMPLES)
    sides = np.array([0, 1, 0, 1])
    np.testing.assert_array_equal(canonical(mirror(SAMPLES), 1 - sides), canonical(SAMPLES, sides))
    np.testing.assert_array_equal(canonical(SAMPLES, sides)[[0, 2]], SAMPLES[[0, 2]])
    assert canonical(SAMPLES, None) is SAMPLES


def test_re_mounting_is_an_action():
    first, second = (Rotation.random(4, rng=seed).as_matrix() for seed in (1, 2))
    np.testing.assert_allclose(remount(remount(SAMPLES, first), second), remount(SAMPLES, second @ first), atol=1e-12)
    np.testing.assert_array_equal(remount(SAMPLES, np.tile(np.eye(3), (4, 1, 1))), SAMPLES)
    # turning and pull alike, so their products stay
    products = [np.einsum("nti,nti->nt", x[..., :3], x[..., 3:]) for x in (SAMPLES, remount(SAMPLES, first))]
    np.testing.assert_allclose(*products, atol=1e-12)


def test_mounts_are_of_a_group():
    turns = random_mounts(np.random.default_rng(3), np.array(["a", "b", "a", "c"]), 0.3)
    np.testing.assert_array_equal(turns[0], turns[2])
    assert not np.allclose(turns[0], turns[1])
    np.testing.assert_allclose(turns @ turns.swapaxes(1, 2), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)
    many = Rotation.from_matrix(random_mounts(np.random.default_rng(4), np.arange(4000), 0.3)).as_rotvec()
    np.testing.assert_allclose(many.std(0), 0.3, rtol=0.05)


def test_warp_keeps_the_path():
    """A steady turn run through at another speed ends in the same attitude; unit speed from 0 changes nothing."""
    np.testing.assert_allclose(warp(SAMPLES, np.zeros(4), np.ones((4, 50))), SAMPLES)
    steady = np.broadcast_to(SAMPLES[:, :1], SAMPLES.shape)
    speeds = random_speeds(np.random.default_rng(5), 4, 41)
    speeds *= 20 / speeds[:, :-1].sum(1, keepdims=True)  # 20 of the old samples in 40 of the new
    found = attitudes(warp(steady, np.zeros(4), speeds)[..., :3], 50.0)[:, 40]
    np.testing.assert_allclose(found, attitudes(steady[..., :3], 50.0)[:, 20], atol=1e-9)
    np.testing.assert_allclose(warp(steady, np.zeros(4), speeds)[..., 3:], steady[:, :41, 3:])


def test_warp_between_samples_and_beyond_the_end():
    one = np.arange(5.0)[None, :, None] * np.ones(6)
    found = warp(one, np.array([0.5]), np.full((1, 4), 2.0))[0]
    np.testing.assert_allclose(found[:, 3], [0.5, 2.5, 4, 4])
    np.testing.assert_allclose(found[:, 0], [1, 5, 8, 8])


def test_speeds():
    speeds = random_speeds(np.random.default_rng(6), 2000, 30)
    assert (speeds > 0).all()
    assert abs(np.log(speeds).mean()) < 0.01
    assert np.abs(np.diff(np.log(speeds), 2)[:, :13]).max() < 1e-9  # piecewise linear


def test_own_frame():
    """The same for every mounting, and mirrored with the recording."""
    rng = np.random.default_rng(7)
    steps = rng.normal(0, 0.1, (400, 6)) + np.concatenate([np.zeros(3), [0.2, 1, 0.1]])
    steps[::7, 3:] += [0.1, 0, 1.5]
    steps[:, 5] += rng.exponential(0.3, 400)
    own = in_own_frame(steps)
    frame = own_frame(steps)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frame), 1)
    for seed in range(5):
        turn = Rotation.random(rng=seed).as_matrix()[None]
        np.testing.assert_allclose(in_own_frame(remount(steps[None], turn)[0]), own, atol=1e-10)
    np.testing.assert_allclose(in_own_frame(mirror(steps)), mirror(own), atol=1e-10)
    assert own[:, 4].mean() > 0  # gravity upwards
    moments = own[:, 3:].T @ own[:, 3:]
    np.testing.assert_allclose(moments, np.diag(np.diag(moments)), atol=1e-9)
    assert moments[1, 1] > moments[2, 2] > moments[0, 0]
