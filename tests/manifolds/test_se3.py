import math

import geoopt
import numpy as np
import pytest
import torch
from scipy.spatial.transform import RigidTransform, Rotation, Slerp

from manifoldnet import SE3, SO3

F64 = torch.float64


def rng(seed):
    return torch.Generator().manual_seed(seed)


def some(count=8, seed=0, dtype=F64):
    return SE3().random(count, 4, 4, dtype=dtype, generator=rng(seed))


def tangent(x, seed=0):
    return SE3().random_tangent(x, generator=rng(seed))


def test_parts_are_taken_and_put_together():
    r = torch.tensor(Rotation.random(3, rng=np.random.default_rng(0)).as_matrix())
    t = torch.randn(3, 3, dtype=F64, generator=rng(1))
    x = SE3.from_parts(r, t)
    wanted = RigidTransform.from_components(t.numpy(), Rotation.from_matrix(r)).as_matrix()
    assert np.allclose(x, wanted, atol=1e-15, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(SE3.parts(x), (r, t), strict=True))


def test_group_maps_are_scipys():
    x, y = some(seed=1), some(seed=2)
    a, b = RigidTransform.from_matrix(x.numpy()), RigidTransform.from_matrix(y.numpy())
    space = SE3()
    assert np.allclose(space.compose(x, y), (a * b).as_matrix(), atol=1e-14, rtol=0)
    assert np.allclose(space.inverse(x), a.inv().as_matrix(), atol=1e-14, rtol=0)
    assert np.allclose(space.log(x), a.as_exp_coords(), atol=1e-12, rtol=1e-12)
    assert np.allclose(space.exp(space.log(x)), x, atol=1e-14, rtol=0)
    assert torch.equal(space.compose(x, y)[:, 3], torch.tensor([0, 0, 0, 1], dtype=F64).expand(8, 4))


def test_adjoint_is_conjugation_by_the_matrix():
    x, v = some(), torch.randn(8, 6, dtype=F64, generator=rng(3))
    conjugate = x.numpy() @ SE3().hat(v).numpy() @ np.linalg.inv(x.numpy())
    assert np.allclose(SE3().hat(SE3().Ad(x, v)), conjugate, atol=1e-13, rtol=0)


def test_a_force_and_its_torque_move_with_the_body():
    """The coadjoint action: a force f at the point p has torque p x f, wherever the body is carried."""
    x = some()
    p, f = torch.randn(2, 8, 3, dtype=F64, generator=rng(4))
    r, t = SE3.parts(x)
    moved_p, moved_f = (r @ p[..., None])[..., 0] + t, (r @ f[..., None])[..., 0]
    wrench = torch.cat([torch.linalg.cross(p, f), f], -1)
    wanted = torch.cat([torch.linalg.cross(moved_p, moved_f), moved_f], -1)
    assert torch.allclose(SE3().coAd(x, wrench), wanted, atol=1e-13, rtol=0)


def test_distance_is_scipys_angle_and_length():
    x, y = some(seed=1), some(seed=2)
    angle = (Rotation.from_matrix(x[:, :3, :3]).inv() * Rotation.from_matrix(y[:, :3, :3])).magnitude()
    length = np.linalg.norm((x - y)[:, :3, 3], axis=-1)
    assert np.allclose(SE3().dist(x, y), np.hypot(angle, length), atol=1e-13, rtol=1e-13)


def test_metric_is_invariant_on_the_left_only():
    x, y, g = some(seed=1), some(seed=2), some(seed=3)
    space = SE3()
    assert torch.allclose(space.dist(g @ x, g @ y), space.dist(x, y), atol=1e-13, rtol=1e-13)
    assert (space.dist(x @ g, y @ g) - space.dist(x, y)).abs().max() > 0.1


def test_geodesics_are_scipys_slerp_beside_a_straight_line():
    x, y = some(2, seed=4)
    slerp = Slerp([0, 1], Rotation.from_matrix(np.stack([x[:3, :3], y[:3, :3]])))
    for t in (0.2, 0.5, 0.9):
        found = SE3().geodesic(x, y, t)
        assert np.allclose(found[:3, :3], slerp(t).as_matrix(), atol=1e-13, rtol=1e-13)
        assert torch.allclose(found[:3, 3], x[:3, 3] + t * (y - x)[:3, 3], atol=1e-14, rtol=0)


def test_geomstats_left_invariant_metric_has_the_same_geodesics_and_transport():
    """Its inner product is tr(U'V): twice ours on rotations, with the same connection."""
    special_euclidean = pytest.importorskip("geomstats.geometry.special_euclidean")
    metric = special_euclidean.SpecialEuclidean(3).metric
    x, y = some(seed=5), some(seed=6)
    u = SE3().logmap(x, y)
    v = tangent(x, 7)
    assert np.allclose(metric.log(y.numpy(), x.numpy()), u, atol=1e-9, rtol=0)
    assert np.allclose(metric.exp(u.numpy(), x.numpy()), SE3().expmap(x, u), atol=1e-10, rtol=0)
    moved = metric.parallel_transport(v.numpy(), x.numpy(), end_point=y.numpy())
    assert np.allclose(moved, SE3().transp(x, y, v), atol=1e-9, rtol=0)


def test_group_exponential_is_a_screw_and_not_a_geodesic():
    v = torch.tensor([0.0, 0.0, math.pi, 1.0, 0.0, 0.0], dtype=F64)
    one = SE3().identity(dtype=F64)
    screw, geodesic = SE3().exp(v), SE3().expmap(one, SE3().hat(v))
    assert torch.allclose(screw[:3, 3], torch.tensor([0.0, 2 / math.pi, 0.0], dtype=F64), atol=1e-15)
    assert torch.allclose(geodesic[:3, 3], v[3:], atol=1e-15)
    assert torch.allclose(screw[:3, :3], geodesic[:3, :3], atol=1e-15)


def test_curvature_is_that_of_the_product():
    """Spreading of geodesics: |J(h)|^2 = h^2 (1 - K h^2 / 3) for orthonormal velocities."""
    one, h, e = SE3().identity(dtype=F64), 0.05, 1e-5
    low, high = SE3().curvature_bounds()
    basis = SE3().hat(torch.eye(6, dtype=F64))
    found = []
    for i in range(6):
        for j in range(i):
            ahead, behind = (SE3().expmap(one, h * (basis[i] + s * e * basis[j])) for s in (1, -1))
            spread = SE3().dist(ahead, behind).item() / (2 * e)
            found.append(3 * (1 - (spread / h) ** 2) / h**2)
    assert min(found) == pytest.approx(low, abs=1e-3)
    assert max(found) == pytest.approx(high, abs=1e-3)


def test_projection_keeps_the_translation():
    x = some(4)
    noise = 0.3 * torch.randn(4, 4, 4, dtype=F64, generator=rng(8))
    found = SE3().projx(x + noise)
    wanted = Rotation.from_matrix((x + noise)[:, :3, :3].numpy()).as_matrix()
    assert np.allclose(found[:, :3, :3], wanted, atol=1e-12, rtol=0)
    assert torch.equal(found[:, :3, 3], (x + noise)[:, :3, 3])
    assert torch.equal(found[:, 3], torch.tensor([0, 0, 0, 1], dtype=F64).expand(4, 4))


def test_random_motions_are_uniform_in_rotation_and_normal_in_translation():
    x = some(20000, seed=9)
    angle = torch.tensor(Rotation.from_matrix(x[:, :3, :3]).magnitude()).sort().values
    uniform = (angle - angle.sin()) / math.pi
    steps = (torch.arange(20000, dtype=F64) + 0.5) / 20000
    assert (uniform - steps).abs().max() < 0.015  # Kolmogorov: about 1.63 / sqrt(n) at one per cent
    t = x[:, :3, 3]
    assert t.mean(0).abs().max() < 0.03
    assert (t.T.cov() - torch.eye(3, dtype=F64)).abs().max() < 0.05


def test_random_tangent_vectors_are_isotropic():
    x = some(1, seed=10).expand(20000, 4, 4)
    u = tangent(x, 11)
    assert SE3().check_vector_on_tangent(x, u, explain=True) == (True, None)
    frame = SE3().rotations.vee((x.mT @ u)[:, :3, :3])
    coordinates = torch.cat([frame, u[:, :3, 3]], -1)
    assert (coordinates.T.cov() - torch.eye(6, dtype=F64)).abs().max() < 0.05
    assert torch.allclose(SE3().inner(x, u), coordinates.square().sum(-1), rtol=1e-13)
    assert torch.equal(u, tangent(x, 11))


@pytest.mark.parametrize("space", [SE3(), SO3()], ids=["se3", "so3"])
def test_basis_is_orthonormal(space):
    x = space.random(2, 3, *space.point_shape, dtype=F64, generator=rng(14))
    basis = space.orthonormal_basis(x)
    assert basis.shape == (2, 3, space.dim, *space.point_shape)
    y = x.unsqueeze(2)
    assert space.check_vector_on_tangent(y.expand_as(basis), basis, explain=True) == (True, None)
    products = space.inner(y.unsqueeze(3), basis.unsqueeze(3), basis.unsqueeze(2))
    assert (products - torch.eye(space.dim, dtype=F64)).abs().max() < 1e-14


def test_other_matrices_are_refused():
    space = SE3()
    for entry, value, message in (((3, 1), 0.1, "0 0 0 1"), ((3, 3), 2.0, "0 0 0 1"), ((0, 0), 1.1, "identity")):
        x = torch.eye(4)
        x[entry] = value
        ok, reason = space.check_point_on_manifold(x, explain=True)
        assert not ok
        assert message in reason
    ok, reason = space.check_point_on_manifold(torch.diag(torch.tensor([1.0, 1, -1, 1])), explain=True)
    assert not ok
    assert "determinant" in reason
    with pytest.raises(ValueError, match="SE3"):
        space.assert_check_point(torch.eye(3))
    for entry, message in (((3, 3), "last row"), ((0, 1), "skew")):
        u = torch.zeros(4, 4)
        u[entry] = 1.0
        ok, reason = space.check_vector_on_tangent(torch.eye(4), u, explain=True)
        assert not ok
        assert message in reason


@pytest.mark.parametrize("steps", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_float32_steps_with_momentum_stay_on_the_group(steps):
    targets = some(steps, seed=12, dtype=torch.float32)
    parameter = geoopt.ManifoldParameter(some(1, seed=13, dtype=torch.float32)[0], manifold=SE3())
    optimiser = geoopt.optim.RiemannianSGD([parameter], lr=1e-2, momentum=0.9)
    for target in targets:
        optimiser.zero_grad()
        SE3().dist2(parameter, target).backward()
        optimiser.step()
    x = parameter.detach().double()
    assert x[3].tolist() == [0, 0, 0, 1]
    r = x[:3, :3]
    assert (r.mT @ r - torch.eye(3, dtype=F64)).norm() < 1e-6
