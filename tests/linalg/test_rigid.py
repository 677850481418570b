import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import RigidTransform, Rotation
from torch.autograd import grad, gradcheck, gradgradcheck

from manifoldnet.linalg import (
    rigid_expm,
    rigid_from_parts,
    rigid_hat,
    rigid_logm,
    rigid_move,
    rigid_vee,
    se3_bracket,
    se3_dexp,
    se3_dexpinv,
)
from manifoldnet.linalg.rigid import _dcosc, _dcotc, _dsinc3

F64 = torch.float64
ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.3, 0.499, 0.501, 1.0, 1.41, 1.42, 2.0, 3.0)
both_precisions = pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float32, 1.2e-7), (F64, 2.3e-16)], ids=["f32", "f64"]
)


def generators(angle, count=6, seed=0, dtype=F64):
    """(omega, v) with |omega| = angle and standard normal v."""
    u = np.random.default_rng(seed).normal(size=(count, 6))
    u[:, :3] *= angle / np.linalg.norm(u[:, :3], axis=1, keepdims=True)
    return torch.tensor(u, dtype=dtype)


def series(function, s):
    """Derivative in s = theta^2, from the definition with 60 digits."""
    with mpmath.workdps(60):
        return float(mpmath.diff(lambda x: function(mpmath.sqrt(x)), mpmath.mpf(s)))


@both_precisions
def test_coefficients_keep_their_relative_precision(dtype, eps):
    definitions = {
        _dcosc: lambda t: (1 - mpmath.cos(t)) / t**2,
        _dsinc3: lambda t: (t - mpmath.sin(t)) / t**3,
        _dcotc: lambda t: (1 - t / 2 * mpmath.cot(t / 2)) / t**2,
    }
    for s in (1e-12, 1e-6, 1e-3, 0.3, 1.0, 1.99, 2.01, 4.0, math.pi**2, 16.0, 30.0):
        s = torch.tensor(s, dtype=dtype)
        for f, definition in definitions.items():
            assert f(s).item() == pytest.approx(series(definition, s.item()), rel=200 * eps), (f, s)


@both_precisions
def test_expm_and_logm_are_scipys(dtype, eps):
    for angle in ANGLES:
        u = generators(angle, dtype=dtype)
        wanted = RigidTransform.from_exp_coords(u.double().numpy())
        x = rigid_expm(u)
        assert x.dtype == dtype
        assert np.abs(x.double().numpy() - wanted.as_matrix()).max() < 10 * eps
        assert torch.equal(x[:, 3], torch.tensor([0, 0, 0, 1], dtype=dtype).expand(6, 4))
        found = rigid_logm(torch.tensor(wanted.as_matrix(), dtype=dtype))
        assert np.abs(found.double().numpy() - wanted.as_exp_coords()).max() < 30 * eps / (math.pi - angle)


def test_logm_near_half_turns_is_a_logarithm():
    for gap in (1e-2, 1e-4, 1e-6, 0.0):
        u = generators(math.pi - gap)
        x = torch.tensor(scipy.linalg.expm(rigid_hat(u).numpy()))
        found = rigid_logm(x)
        assert np.abs(scipy.linalg.expm(rigid_hat(found).numpy()) - x.numpy()).max() < 1e-14
        assert (found[:, :3].norm(dim=-1) <= math.pi + 1e-15).all()


@both_precisions
def test_gradients_at_angles_zero_and_pi(dtype, eps):
    """Moving x = exp(u) by d/de exp(e w) x changes its logarithm by dexpinv_u(w), a matrix solved for by numpy."""
    w = generators(1.0, 1, seed=5)[0]
    for angle in (0.0, 1e-12, 1e-8, 1e-4, 1.0, math.pi - 1e-2, math.pi - 1e-4, math.pi - 1e-6, math.pi):
        x = torch.tensor(scipy.linalg.expm(rigid_hat(generators(angle, 3)).numpy()), dtype=dtype)
        velocity = rigid_hat(w.to(dtype)) @ x
        found, moved = torch.func.jvp(rigid_logm, (x,), (velocity,))
        for u, change in zip(found.double(), moved.double().numpy(), strict=True):
            jacobian = np.stack([dexp_by_scipy(u, e) for e in torch.eye(6, dtype=F64)], -1)
            assert np.abs(change - np.linalg.solve(jacobian, w.numpy())).max() < (1e-3 if eps > 1e-8 else 1e-6), angle
        leaf = x.clone().requires_grad_()
        (pulled,) = grad(rigid_logm(leaf), leaf, torch.ones(3, 6, dtype=dtype))
        assert ((pulled * velocity).sum((-1, -2)) - moved.sum(-1)).abs().max() < 1e3 * eps


def dexp_by_scipy(u, v):
    exp, derivative = scipy.linalg.expm_frechet(rigid_hat(u).numpy(), rigid_hat(v).numpy())
    return rigid_vee(torch.tensor(derivative @ np.linalg.inv(exp))).numpy()


def test_dexp_is_the_frechet_derivative_of_the_matrix_exponential():
    for angle in (*ANGLES, 4.0, 5.0, 6.0, 9.0):
        u, v = generators(angle)[-1], generators(1.0, seed=1)[-1]
        assert np.abs(se3_dexp(u, v).numpy() - dexp_by_scipy(u, v)).max() < 1e-13


def test_dexpinv_is_the_inverse_up_to_near_two_pi():
    for angle in (*ANGLES, math.pi, 4.0, 5.0, 6.0):
        u, v = generators(angle, 28), generators(1.0, 28, seed=2)
        matrix = np.stack([se3_dexp(u, e).numpy() for e in torch.eye(6, dtype=F64)], -1)
        wanted = np.linalg.solve(matrix, v.numpy()[..., None])[..., 0]
        tolerance = 1e-14 / abs(1 - angle / (2 * math.pi)) ** 2
        assert np.abs(se3_dexpinv(u, v).numpy() - wanted).max() < 10 * tolerance


def test_bracket_is_the_commutator():
    u, v = generators(1.0, seed=3), generators(2.0, seed=4)
    a, b = rigid_hat(u), rigid_hat(v)
    assert (rigid_hat(se3_bracket(u, v)) - (a @ b - b @ a)).abs().max() < 1e-14


def test_moving_a_point_needs_no_matrix():
    y = torch.tensor(np.random.default_rng(6).normal(size=(6, 3)))
    for angle in (*ANGLES, 7.0):
        u = generators(angle)
        wanted = RigidTransform.from_exp_coords(u.numpy()).apply(y.numpy())
        assert np.abs(rigid_move(u, y).numpy() - wanted).max() < 1e-14


def test_first_and_second_derivatives_match_differences():
    v, y = generators(1.0, 1, seed=7)[0].requires_grad_(), torch.randn(3, dtype=F64).requires_grad_()
    # differences of logm are taken along the group
    base = rigid_expm(generators(0.8, 1, seed=8)[0])
    for angle in (0.0, 0.5, 1.414, 2.5):
        u = generators(angle, 1)[0].requires_grad_()
        for f, *inputs in (
            (rigid_expm, u),
            (lambda u: rigid_logm(rigid_expm(u) @ base), u),
            (se3_dexp, u, v),
            (se3_dexpinv, u, v),
            (rigid_move, u, y),
        ):
            assert gradcheck(f, inputs)
            assert gradgradcheck(f, inputs)


def test_parts_broadcast():
    r = torch.tensor(Rotation.random(4, rng=np.random.default_rng(9)).as_matrix())
    x = rigid_from_parts(r[:, None], torch.ones(5, 3, dtype=F64))
    assert x.shape == (4, 5, 4, 4)
    assert torch.equal(x[2, 3, :3, :3], r[2])
    assert torch.equal(x[..., 3], torch.ones(4, 5, 4, dtype=F64))
    assert torch.equal(x[..., 3, :3], torch.zeros(4, 5, 3, dtype=F64))
