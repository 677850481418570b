"""Actions that are nobody's default: right multiplication, rigid motion of points, adjoint and coadjoint action."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import RigidTransform
from torch.autograd import grad, gradcheck, gradgradcheck

from manifoldnet.manifolds import (
    SE3,
    SO3,
    AdjointAction,
    Circle,
    CoadjointAction,
    Euclidean,
    GeneralLinear,
    LeftMultiplication,
    Power,
    Product,
    RightMultiplication,
    RigidMotionOfPoints,
)

F64 = torch.float64
GROUPS = {
    "so3": SO3(),
    "se3": SE3(),
    "gl3": GeneralLinear(3),
    "torus": Power(Circle(), 2),
    "power-so3": Power(SO3(), 2),
    "product": Product([SO3(), Euclidean(1, shape=(2,)), Circle(), SE3()]),
}


def rng(seed):
    return torch.Generator().manual_seed(seed)


def vectors(dim, *batch, seed=0, dtype=F64, scale=1.0):
    return scale * torch.randn(*batch, dim, dtype=dtype, generator=rng(seed))


def points(action, *batch, seed=0, dtype=F64):
    group = action.group
    if isinstance(action, RightMultiplication):
        return group.random(*batch, *group.point_shape, dtype=dtype, generator=rng(seed))
    return vectors(3 if isinstance(action, RigidMotionOfPoints) else group.dim, *batch, seed=seed, dtype=dtype)


ACTIONS = {"rigid-motion-of-points": RigidMotionOfPoints()}
for name, group in GROUPS.items():
    ACTIONS |= {f"adjoint-{name}": AdjointAction(group), f"coadjoint-{name}": CoadjointAction(group)}
    if name != "gl3":
        ACTIONS[f"right-{name}"] = RightMultiplication(group)
every_action = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
both_precisions = pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 1e-4), (F64, 1e-12)], ids=["f32", "f64"])


def close(found, wanted, tolerance):
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert (found - wanted).abs().max() <= tolerance * max(1.0, wanted.abs().max().item())


@every_action
@both_precisions
def test_acting_twice_is_acting_by_the_product(action, dtype, eps):
    y = points(action, 6, dtype=dtype)
    u, v = (vectors(action.group.dim, 6, seed=seed, dtype=dtype, scale=0.5) for seed in (1, 2))
    g, h = action.group.exp(u), action.group.exp(v)
    close(action.act(action.group.compose(g, h), y), action.act(g, action.act(h, y)), eps)
    close(action.act(action.group.inverse(g), action.act(g, y)), y, eps)
    close(action.act_exp(u, y), action.act(g, y), eps)
    close(action.act_exp(0 * u, y), y, eps)


@every_action
def test_tangent_is_the_derivative_of_the_motion(action):
    y, v, e = points(action, 6), vectors(action.group.dim, 6, seed=1), 1e-5
    difference = (action.act_exp(e * v, y) - action.act_exp(-e * v, y)) / (2 * e)
    close(action.tangent(v, y), difference, 1e-8)


@every_action
@both_precisions
def test_lift_undoes_tangent_on_the_orbit(action, dtype, eps):
    y, v = points(action, 6, dtype=dtype), vectors(action.group.dim, 6, seed=1, dtype=dtype)
    tangent = action.tangent(v, y)
    found = action.lift(y, tangent)
    assert found.shape == v.shape
    close(action.tangent(found, y), tangent, 10 * eps)
    assert (found.norm(dim=-1) <= v.norm(dim=-1) * (1 + eps) + eps).all() or isinstance(action, RigidMotionOfPoints)


@every_action
def test_derivatives_match_differences(action):
    y = points(action).requires_grad_()
    v = vectors(action.group.dim, seed=1, scale=0.5).requires_grad_()
    w = vectors(action.group.dim, seed=2).requires_grad_()

    def moved(u):  # points of a group are moved along it
        return action.act_exp(u, y.detach()) if isinstance(action, RightMultiplication) else y

    for f in (
        lambda u, v: action.act_exp(v, moved(u)) + (u.sum() + v.sum()) ** 3,
        lambda u, v: action.act(action.group.exp(v), moved(u)) + (u.sum() + v.sum()) ** 3,
        lambda u, v: action.lift(moved(u), action.tangent(v, moved(u))) + (u.sum() + v.sum()) ** 3,
    ):
        assert gradcheck(f, (w, v), fast_mode=True)
        assert gradgradcheck(f, (w, v), fast_mode=True)
    if not isinstance(action, RightMultiplication):
        assert gradcheck(lambda y: action.act_exp(v, y) + y.sum() ** 3, y, fast_mode=True)
        assert gradcheck(lambda y: action.lift(y, action.tangent(v, y)) + y.sum() ** 3, y, fast_mode=True)


@every_action
def test_vmap_and_broadcasting(action):
    y, v = points(action, 5), vectors(action.group.dim, 5, seed=1, scale=0.5)
    u = action.tangent(v, y)
    close(torch.vmap(action.act_exp)(v, y), action.act_exp(v, y), 1e-13)
    close(torch.vmap(action.tangent)(v, y), u, 1e-13)
    close(torch.vmap(action.lift)(y, u), action.lift(y, u), 1e-12)
    wide = v[:, None].expand(5, 5, -1)
    full = y.expand(5, *y.shape)
    # where a commutative group moves nothing the points come back as they are
    close(action.act_exp(v[:, None], y).expand_as(full), action.act_exp(wide, full), 1e-13)
    close(action.tangent(v[:, None], y), action.tangent(wide, full), 1e-13)
    elements = action.group.exp(v)[:, None]
    close(action.act(elements, y).expand_as(full), action.act(action.group.exp(wide), full), 1e-13)
    u = action.tangent(wide, full)
    close(action.lift(y, u), action.lift(full, u), 1e-12)


@every_action
def test_gradients_are_finite_at_zero(action):
    y = points(action, 2)
    if not isinstance(action, RightMultiplication):
        y = torch.zeros_like(y)
    y = y.requires_grad_()
    v = torch.zeros(2, action.group.dim, dtype=F64).requires_grad_()
    for value in (action.act_exp(v, y), action.lift(y, action.tangent(v, y))):
        # on commutative groups the value may depend on neither
        for gradient in grad(value.sum() + 0 * (y.sum() + v.sum()), (y, v)):
            assert gradient.isfinite().all()


def test_right_multiplication_is_by_the_inverse_and_commutes_with_the_left():
    space = SE3()
    x, y, z = space.random(3, 4, 4, dtype=F64, generator=rng(3))
    right, left = RightMultiplication(space), LeftMultiplication(space)
    close(right.act(x, y), torch.tensor(y.numpy() @ np.linalg.inv(x.numpy())), 1e-13)
    close(right.act(x, left.act(z, y)), left.act(z, right.act(x, y)), 1e-13)
    v = vectors(6, seed=4)
    close(right.tangent(v, y), -y @ space.hat(v), 1e-13)


@both_precisions
def test_points_move_as_scipy_moves_them(dtype, eps):
    v, y = vectors(6, 20, dtype=dtype), vectors(3, 20, seed=1, dtype=dtype)
    wanted = RigidTransform.from_exp_coords(v.double().numpy()).apply(y.double().numpy())
    action = RigidMotionOfPoints()
    close(action.act_exp(v, y), torch.tensor(wanted, dtype=dtype), eps)
    close(action.act(SE3().exp(v), y), torch.tensor(wanted, dtype=dtype), eps)


def test_the_lift_to_translations_is_straight_and_commutes_with_motions():
    action = RigidMotionOfPoints()
    y, u = vectors(3, 5), vectors(3, 5, seed=1)
    v = action.lift(y, u)
    close(action.act_exp(0.3 * v, y), y + 0.3 * u, 1e-15)
    x = SE3().exp(vectors(6, 5, seed=2))
    turned = (x[:, :3, :3] @ u[..., None])[..., 0]
    close(action.lift(action.act(x, y), turned), SE3().Ad(x, v), 1e-14)


def test_orbits_keep_their_invariants():
    """Adjoint orbits keep angle and pitch of a screw, coadjoint ones |f| and m.f of a wrench, GL the eigenvalues."""
    u, y = vectors(6, 20), vectors(6, 20, seed=1)
    for action, first, second in ((AdjointAction(SE3()), 0, 1), (CoadjointAction(SE3()), 1, 0)):
        moved = action.act_exp(u, y)
        assert (moved - y).abs().max() > 0.5
        a, b = y.unflatten(-1, (2, 3)), moved.unflatten(-1, (2, 3))
        close(b[:, first].norm(dim=-1), a[:, first].norm(dim=-1), 1e-13)
        close((b[:, first] * b[:, second]).sum(-1), (a[:, first] * a[:, second]).sum(-1), 1e-13)
    moved = AdjointAction(GeneralLinear(3)).act_exp(vectors(9, 20, seed=2), vectors(9, 20, seed=3))
    before, after = (
        torch.linalg.eigvals(vectors(9, 20, seed=3).unflatten(-1, (3, 3))),
        torch.linalg.eigvals(moved.unflatten(-1, (3, 3))),
    )
    for power in (1, 2, 3):
        close((after**power).sum(-1).real, (before**power).sum(-1).real, 1e-9)


def test_the_adjoint_lift_on_rotations_is_the_cross_product():
    """v = y x u / |y|^2, the rotation in the plane of y and u; along y itself nothing can be reached."""
    y, u = vectors(3, 10), vectors(3, 10, seed=1)
    wanted = torch.linalg.cross(y, u) / y.square().sum(-1, keepdim=True)
    close(AdjointAction(SO3()).lift(y, u), wanted, 1e-13)
    close(CoadjointAction(SO3()).lift(y, u), wanted, 1e-13)
    assert AdjointAction(SO3()).lift(y, y).abs().max() < 1e-14


def test_the_lift_leaves_out_what_is_orthogonal_to_the_orbit():
    action = CoadjointAction(SE3())
    y, u = vectors(6, 4), vectors(6, 4, seed=1)
    left = u - action.tangent(action.lift(y, u), y)
    reachable = action.tangent(torch.eye(6, dtype=F64), y[:, None])
    assert left.norm(dim=-1).min() > 1e-3
    assert ((reachable * left[:, None]).sum(-1)).abs().max() < 1e-13


def test_a_rotating_body_keeps_its_angular_momentum_in_space():
    """Euler's equations m' = coad(-I^-1 m, m) in the body frame; the solution is on the sphere |m| = const."""
    inertia = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    action = CoadjointAction(SO3())
    m = torch.tensor([0.4, 1.0, -0.7], dtype=F64)
    start = m
    for _ in range(200):
        half = action.act_exp(-0.005 * m / inertia, m)
        m = action.act_exp(-0.01 * half / inertia, m)
    assert math.isclose(m.norm().item(), start.norm().item(), rel_tol=1e-13)
    assert (m - start).abs().max() > 0.3
    energy = [(x.square() / inertia).sum().item() for x in (start, m)]
    assert math.isclose(*energy, rel_tol=1e-4)
