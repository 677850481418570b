import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.linalg import (
    hat,
    rotation_expm,
    rotation_from_quaternion,
    rotation_logm,
    rotation_to_quaternion,
    so3_dexp,
    so3_dexpinv,
    vee,
)

ANGLES = [0.0, 1e-300, 1e-12, 1e-8, 1e-4, 0.01, 0.1, 0.3, 0.499, 0.501, 1.0, 2.0, 3.0]
NEAR_PI = [math.pi - 1e-2, math.pi - 1e-4, math.pi - 1e-8, math.pi - 1e-12, math.pi]


def axes(count=20, seed=0):
    v = np.random.default_rng(seed).normal(size=(count, 3))
    # the axes of coordinates and planes are where branches of the quaternion meet
    special = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 1, 1], [1, 0, -1], [1, 1, 1], [-1, -1, -1.0]])
    v = np.concatenate([special, v])
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def vectors(angles):
    return np.concatenate([angle * axes() for angle in angles])


def test_hat_is_the_cross_product_and_vee_its_inverse():
    u, v = torch.randn(2, 10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose((hat(u) @ v[..., None])[..., 0], torch.linalg.cross(u, v), atol=1e-15, rtol=1e-15)
    assert torch.equal(vee(hat(u)), u)
    symmetric = torch.ones(10, 3, 3, dtype=torch.float64)
    assert torch.allclose(vee(hat(u) + symmetric), u, atol=1e-15, rtol=1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-15)])
def test_expm_is_scipys(dtype, tolerance):
    v = vectors([*ANGLES, *NEAR_PI, 4.0, 6.0, 20.0])
    r = rotation_expm(torch.tensor(v, dtype=dtype)).double().numpy()
    rounded = torch.tensor(v, dtype=dtype).double().numpy()
    assert np.abs(r - Rotation.from_rotvec(rounded).as_matrix()).max() < 4 * tolerance * max(1, np.abs(v).max() / 3)
    some = v[::37]
    general = np.stack([scipy.linalg.expm(hat(torch.tensor(w)).numpy()) for w in some])
    assert np.abs(rotation_expm(torch.tensor(some)).numpy() - general).max() < 1e-13


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 4e-15)])
def test_logm_is_scipys_below_pi(dtype, tolerance):
    v = vectors([*ANGLES, *NEAR_PI[:2]])
    r = torch.tensor(Rotation.from_rotvec(v).as_matrix(), dtype=dtype)
    assert np.abs(rotation_logm(r).double().numpy() - v).max() < tolerance


def test_logm_keeps_the_relative_precision_of_small_angles():
    for angle in (1e-12, 1e-8, 1e-4, 0.0999, 0.1001):
        v = angle * axes()
        r = torch.tensor(Rotation.from_rotvec(v).as_matrix())
        assert np.abs(rotation_logm(r).numpy() / angle - axes()).max() < 1e-14


def test_logm_near_pi_is_one_of_the_two_logarithms():
    for angle in NEAR_PI:
        v = angle * axes()
        r = torch.tensor(Rotation.from_rotvec(v).as_matrix())
        found = rotation_logm(r)
        assert (found.norm(dim=-1) <= math.pi + 1e-15).all()
        assert (rotation_expm(found) - r).abs().max() < 1e-14
        distance = np.minimum(np.abs(found.numpy() - v).max(1), np.abs(found.numpy() + v).max(1))
        # the sine of a half angle this close to 1 does not say on which side of pi the rotation is
        assert distance.max() < (1e-7 if math.pi - angle > 1e-9 else 1e-6)


def test_quaternions_are_scipys():
    v = vectors([*ANGLES, 3.1])
    wanted = Rotation.from_rotvec(v).as_quat(canonical=True, scalar_first=True)
    q = rotation_to_quaternion(torch.tensor(Rotation.from_rotvec(v).as_matrix()))
    assert np.abs(q.numpy() - wanted).max() < 1e-15
    assert (q[:, 0] >= 0).all()
    assert (rotation_from_quaternion(-3.0 * q) - rotation_from_quaternion(q)).abs().max() < 1e-15
    assert np.abs(rotation_from_quaternion(q).numpy() - Rotation.from_rotvec(v).as_matrix()).max() < 1e-15


def test_quaternion_of_a_half_turn_has_no_division_by_a_small_number():
    q = rotation_to_quaternion(torch.tensor(Rotation.from_rotvec(math.pi * axes()).as_matrix()))
    assert (q.norm(dim=-1) - 1).abs().max() < 1e-15
    parallel = np.abs((q[:, 1:].numpy() * axes()).sum(1))
    assert np.abs(parallel - 1).max() < 1e-15


def test_dexp_is_the_frechet_derivative_of_the_matrix_exponential():
    rng = np.random.default_rng(1)
    for angle in [0.0, 1e-8, 1e-3, 0.3, 0.499, 0.501, 1.0, 3.0, 5.0]:
        u, v = angle * axes(3)[-1], rng.normal(size=3)
        _, derivative = scipy.linalg.expm_frechet(hat(torch.tensor(u)).numpy(), hat(torch.tensor(v)).numpy())
        found = hat(so3_dexp(torch.tensor(u), torch.tensor(v))) @ rotation_expm(torch.tensor(u))
        assert np.abs(found.numpy() - derivative).max() < 1e-13


def test_dexpinv_is_the_inverse_up_to_near_two_pi():
    v = torch.tensor(np.random.default_rng(2).normal(size=(28, 3)))
    for angle in [*ANGLES, *NEAR_PI, 4.0, 5.0, 6.0]:
        u = torch.tensor(angle * axes())
        tolerance = 1e-14 / abs(1 - angle / (2 * math.pi))
        assert (so3_dexp(u, so3_dexpinv(u, v)) - v).abs().max() < tolerance
        matrix = np.stack([so3_dexp(u, torch.eye(3, dtype=u.dtype)[k]).numpy() for k in range(3)], -1)
        wanted = np.linalg.solve(matrix, v.numpy()[..., None])[..., 0]
        assert np.abs(so3_dexpinv(u, v).numpy() - wanted).max() < 10 * tolerance
