import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from manifoldnet.linalg import (
    quaternion_conjugate,
    quaternion_from_euler,
    quaternion_from_rotvec,
    quaternion_inverse,
    quaternion_multiply,
    quaternion_normalize,
    quaternion_to_euler,
    quaternion_to_rotvec,
    rotation_from_6d,
    rotation_from_axis_angle,
    rotation_from_euler,
    rotation_to_6d,
    rotation_to_axis_angle,
    rotation_to_euler,
    rotvec_from_euler,
    rotvec_to_euler,
)

F64 = torch.float64
SEQUENCES = [
    cased for a, b, c in product("xyz", repeat=3) if a != b and b != c for cased in ((a + b + c), (a + b + c).upper())
]
every_sequence = pytest.mark.parametrize("sequence", SEQUENCES)
both_precisions = pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 2e-6), (F64, 2e-15)], ids=["f32", "f64"])


def some(count=200, seed=0):
    return Rotation.random(count, rng=np.random.default_rng(seed))


def quaternions(rotations, dtype=F64):
    return torch.tensor(rotations.as_quat(scalar_first=True), dtype=dtype)


def matrices(rotations, dtype=F64):
    return torch.tensor(rotations.as_matrix(), dtype=dtype)


def worst(found, wanted):
    return np.abs(found.double().numpy() - wanted).max()


def turns_apart(found, wanted):
    """Largest difference of angles, whole turns left out."""
    return np.abs(np.angle(np.exp(1j * (found.double().numpy() - wanted)))).max()


def locked(sequence, seed=1):
    """Angles whose middle one is at either end of its range, where the outer two turn about one axis."""
    angles = np.random.default_rng(seed).uniform(-3, 3, (40, 3))
    ends = (0.0, math.pi) if sequence[0] == sequence[2] else (-math.pi / 2, math.pi / 2)
    angles[:, 1] = np.repeat(ends, 20)
    return angles


def test_there_are_24_sequences():
    assert len(set(SEQUENCES)) == 24


@both_precisions
def test_products_and_inverses_are_scipys(dtype, eps):
    p, q = some(seed=1), some(seed=2)
    a, b = quaternions(p, dtype), quaternions(q, dtype)
    found = quaternion_multiply(a, b)
    assert found.dtype == dtype
    wanted = (p * q).as_quat(scalar_first=True)
    same_sign = np.sign((found.double().numpy() * wanted).sum(-1, keepdims=True))
    assert worst(found, same_sign * wanted) < eps
    assert worst(quaternion_conjugate(a), p.inv().as_quat(scalar_first=True)) < eps
    one = torch.tensor([1.0, 0, 0, 0], dtype=dtype).expand(200, 4)
    assert worst(quaternion_multiply(3 * a, quaternion_inverse(3 * a)), one.numpy()) < eps
    assert worst(quaternion_normalize(-0.2 * a), -p.as_quat(scalar_first=True)) < eps


def test_hamiltons_relations():
    one, i, j, k = torch.eye(4, dtype=F64)
    assert torch.equal(quaternion_multiply(i, j), k)
    assert torch.equal(quaternion_multiply(j, i), -k)
    assert torch.equal(quaternion_multiply(k, k), -one)
    assert quaternion_multiply(torch.eye(4)[:, None], torch.eye(4)).shape == (4, 4, 4)


@both_precisions
def test_rotation_vectors_are_scipys(dtype, eps):
    axes = some(seed=3).as_matrix()[:, 0]
    for angle in (0.0, 1e-12, 1e-6, 0.2, 0.499, 0.501, 2.0, math.pi - 1e-3, math.pi - 1e-6):
        v = torch.tensor(angle * axes, dtype=dtype)
        q = quaternion_from_rotvec(v)
        assert worst(q, Rotation.from_rotvec(v.double().numpy()).as_quat(scalar_first=True)) < eps
        back = quaternion_to_rotvec(q)
        assert worst(back, angle * axes) < 4 * eps
        assert worst(quaternion_to_rotvec(-5 * q), back.double().numpy()) < 4 * eps
        if angle:
            assert worst(back / angle, axes) < 8 * eps
    half_turn = quaternion_to_rotvec(quaternion_from_rotvec(torch.tensor(math.pi * axes, dtype=dtype)))
    assert np.abs(np.abs((half_turn.double().numpy() * axes).sum(-1)) - math.pi).max() < 4 * eps
    far = torch.tensor(4.0 * axes, dtype=F64)  # more than half a turn: the scalar part is negative
    assert (
        worst(quaternion_from_rotvec(far), np.concatenate([np.full((200, 1), np.cos(2)), np.sin(2) * axes], -1)) < 1e-15
    )
    assert worst(quaternion_to_rotvec(quaternion_from_rotvec(far)), (4.0 - 2 * math.pi) * axes) < 1e-14


@every_sequence
@both_precisions
def test_euler_angles_are_scipys(sequence, dtype, eps):
    rotations = some(seed=4)
    wanted = rotations.as_euler(sequence)
    found = rotation_to_euler(matrices(rotations, dtype), sequence)
    assert found.dtype == dtype
    # an angle is as uncertain as the middle one is close to gimbal lock
    width = np.sin(wanted[:, 1]) if sequence[0] == sequence[2] else np.cos(wanted[:, 1])
    assert turns_apart(found, wanted) < 2 * eps / width.min()
    assert np.abs(found.double().numpy()).max() <= np.float32(math.pi)
    assert turns_apart(quaternion_to_euler(quaternions(rotations, dtype), sequence), wanted) < 2 * eps / width.min()
    vectors = torch.tensor(rotations.as_rotvec(), dtype=dtype)
    assert turns_apart(rotvec_to_euler(vectors, sequence), wanted) < 4 * eps / width.min()

    angles = torch.tensor(np.random.default_rng(5).uniform(-3, 3, (200, 3)), dtype=dtype)
    made = Rotation.from_euler(sequence, angles.double().numpy())
    assert worst(rotation_from_euler(angles, sequence), made.as_matrix()) < eps
    assert worst(quaternion_from_euler(angles, sequence).abs(), np.abs(made.as_quat(scalar_first=True))) < eps
    assert worst(rotvec_from_euler(angles, sequence), made.as_rotvec()) < 10 * eps


@every_sequence
@both_precisions
@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_gimbal_lock_is_resolved_as_scipy_does(sequence, dtype, eps):
    angles = locked(sequence)
    rotations = Rotation.from_euler(sequence, angles)
    r = matrices(rotations, dtype).requires_grad_()
    found = rotation_to_euler(r, sequence)
    values = found.detach()
    assert (values[:, 2] == 0).all()
    assert turns_apart(values, rotations.as_euler(sequence)) < 4 * eps
    assert worst(rotation_from_euler(values, sequence), rotations.as_matrix()) < 4 * eps
    (gradient,) = torch.autograd.grad(found.square().sum(), r)
    assert gradient.isfinite().all()


@every_sequence
@both_precisions
@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_gradients_are_finite_in_exact_gimbal_lock(sequence, dtype, eps):
    """The 24 rotations of the cube: entries 0, 1 and -1, so that the directionless part is 0 to the last bit."""
    cube = Rotation.create_group("O").as_matrix().round()
    r = torch.tensor(cube, dtype=dtype, requires_grad=True)
    found = rotation_to_euler(r, sequence)
    assert worst(rotation_from_euler(found.detach(), sequence), cube) < eps
    assert turns_apart(found.detach(), Rotation.from_matrix(cube).as_euler(sequence)) < eps
    (gradient,) = torch.autograd.grad(found.square().sum(), r, create_graph=True)
    assert gradient.isfinite().all()
    assert torch.autograd.grad(gradient.square().sum(), r)[0].isfinite().all()
    _, moved = torch.func.jvp(lambda x: rotation_to_euler(x, sequence), (r.detach(),), (torch.ones_like(r),))
    assert moved.isfinite().all()
    assert (
        torch.func.jvp(lambda x: rotation_to_euler(x, sequence), (r[0].detach(),), (r[1].detach(),))[1].dtype == dtype
    )


@every_sequence
@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_the_rotation_is_kept_close_to_gimbal_lock(sequence):
    """Whatever the angles are, they make the rotation again; scipy's limit of 1e-7 is the largest error."""
    for gap in (1e-12, 1e-8, 0.9e-7, 1.1e-7, 1e-6, 1e-4):
        angles = locked(sequence)
        angles[:, 1] *= 1 - gap
        angles[:, 1] += gap * (angles[:, 1] == 0)
        wanted = Rotation.from_euler(sequence, angles).as_matrix()
        found = rotation_to_euler(torch.tensor(wanted), sequence)
        assert worst(rotation_from_euler(found, sequence), wanted) < (2e-15 if gap > 3e-7 else 4e-7)


@pytest.mark.parametrize("sequence", ["XyZ", "xxy", "ZYY", "xy", "xyzx", "abc", ""])
def test_other_sequences_are_refused(sequence):
    for f in (rotation_from_euler, quaternion_from_euler, rotvec_from_euler, quaternion_to_euler, rotvec_to_euler):
        with pytest.raises(ValueError, match="sequence"):
            f(torch.zeros(4 if f is quaternion_to_euler else 3), sequence)
    with pytest.raises(ValueError, match="sequence"):
        rotation_to_euler(torch.eye(3), sequence)


@both_precisions
def test_axis_and_angle(dtype, eps):
    rotations = some(seed=6)
    axis, angle = rotation_to_axis_angle(matrices(rotations, dtype))
    assert worst(angle, rotations.magnitude()) < 4 * eps
    assert worst(axis * angle[:, None], rotations.as_rotvec()) < 8 * eps
    assert (axis.norm(dim=-1) - 1).abs().max() < eps
    assert worst(rotation_from_axis_angle(7 * axis, angle), rotations.as_matrix()) < 8 * eps
    axis, angle = rotation_to_axis_angle(torch.eye(3, dtype=dtype))
    assert axis.tolist() == [1, 0, 0]
    assert angle == 0
    r = torch.eye(3, dtype=dtype, requires_grad=True)
    axis, angle = rotation_to_axis_angle(r)
    (gradient,) = torch.autograd.grad(axis.sum() + angle, r)
    assert gradient.isfinite().all()


@both_precisions
def test_six_dimensional_form(dtype, eps):
    r = matrices(some(seed=7), dtype)
    d = rotation_to_6d(r)
    assert torch.equal(d, torch.cat([r[:, :, 0], r[:, :, 1]], -1))
    assert worst(rotation_from_6d(d), r.double().numpy()) < eps
    noise = torch.randn(200, 6, generator=torch.Generator().manual_seed(8), dtype=dtype)
    found = rotation_from_6d(noise).double().numpy()
    # Gram-Schmidt is the QR decomposition with a positive diagonal
    q, upper = np.linalg.qr(noise.double().unflatten(-1, (2, 3)).mT.numpy())
    wanted = q * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]
    skewness = (np.abs(upper[:, 0, 0]) / np.abs(upper[:, 1, 1])).max() + 10
    assert np.abs(found[..., :2] - wanted).max() < skewness * eps
    assert np.abs(np.linalg.det(found) - 1).max() < 4 * eps * skewness


def test_derivatives_match_differences():
    generator = torch.Generator().manual_seed(9)

    def random(n):
        return torch.randn(n, dtype=F64, generator=generator).requires_grad_()

    cases = [
        (quaternion_multiply, random(4), random(4)),
        (quaternion_inverse, random(4)),
        (quaternion_from_rotvec, random(3)),
        (quaternion_from_rotvec, torch.zeros(3, dtype=F64, requires_grad=True)),
        (quaternion_to_rotvec, random(4)),
        (quaternion_to_rotvec, torch.tensor([1.0, 0, 0, 0], dtype=F64, requires_grad=True)),
        (rotation_from_6d, random(6)),
        (lambda v: rotation_to_axis_angle(rotation_from_axis_angle(v, v.norm())), random(3)),
        *((lambda v, s=s: rotation_from_euler(v, s), random(3)) for s in ("zyx", "XYX")),
        *((lambda v, s=s: rotation_to_euler(rotation_from_6d(v), s), random(6)) for s in SEQUENCES),
    ]
    for f, *inputs in cases:
        assert gradcheck(f, inputs)
        assert gradgradcheck(f, inputs)


def test_vmap_and_broadcasting():
    r = matrices(some(5))
    q, v = quaternions(some(5)), torch.tensor(some(5).as_rotvec())
    for f, x in (
        (lambda x: rotation_to_euler(x, "zxz"), r),
        (lambda x: rotation_from_euler(x, "XYZ"), v),
        (quaternion_to_rotvec, q),
        (quaternion_from_rotvec, v),
        (rotation_to_6d, r),
        (lambda x: rotation_to_axis_angle(x)[0], r),
    ):
        assert torch.allclose(torch.vmap(f)(x), f(x), atol=1e-15, rtol=1e-14)
        assert f(x.expand(2, *x.shape)).shape == (2, *f(x).shape)
        assert f(x[:0]).shape == f(x)[:0].shape
    assert rotation_from_axis_angle(v, torch.zeros(3, 5, dtype=F64)).shape == (3, 5, 3, 3)
