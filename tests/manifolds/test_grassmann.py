import math
import os

import numpy as np
import pytest
import scipy.linalg
import torch
from geometry import constraint_error_after_momentum_steps, orthonormal_pair, pole_ladder, rng, sectional_curvature
from torch.autograd import gradcheck, gradgradcheck

from manifoldnet import SO, Grassmann

os.environ["GEOMSTATS_BACKEND"] = "numpy"
geomstats_grassmannian = pytest.importorskip("geomstats.geometry.grassmannian")

F64 = torch.float64


def subspaces(n, p, count=8, seed=0):
    return Grassmann(n, p).random(count, n, n, dtype=F64, generator=rng(seed))


def velocities(space, x, length, seed=1):
    u = space.random_tangent(x, generator=rng(seed))
    return u * (length / space.norm(x, u, keepdim=True))


def turned(angles, n):
    """A projector, and the one whose principal angles with it are the given ones, in general position."""
    p = len(angles)
    q = SO(n).random(n, n, dtype=F64, generator=rng(3))
    angles = torch.tensor(angles, dtype=F64)
    basis = torch.zeros(n, p, dtype=F64)
    basis[:p] = torch.diag(angles.cos())
    basis[p : 2 * p] = torch.diag(angles.sin())
    x, y = q @ torch.eye(n, p, dtype=F64), q @ basis
    return x @ x.mT, y @ y.mT


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="wanted 1 <= p < n"):
        Grassmann(3, 3)
    with pytest.raises(ValueError, match=r"basis: wanted shape \(..., 4, 2\)"):
        Grassmann(4, 2).from_basis(torch.zeros(4, 3))
    ok, reason = Grassmann(4, 2).check_point_on_manifold(torch.eye(4), explain=True)
    assert not ok
    assert "rank" in reason


def test_bases_and_projectors_translate():
    space = Grassmann(5, 2)
    basis = torch.randn(6, 5, 2, dtype=F64, generator=rng(0))
    x = space.from_basis(basis)
    assert torch.allclose(x @ basis, basis)
    assert space.check_point_on_manifold(x)
    assert torch.allclose(space.from_basis(space.to_basis(x)), x)


@pytest.mark.parametrize(("n", "p"), [(4, 2), (5, 1), (6, 4)])
def test_distance_is_made_of_scipys_principal_angles(n, p):
    space = Grassmann(n, p)
    x, y = subspaces(n, p), subspaces(n, p, seed=1)
    bases = zip(space.to_basis(x).numpy(), space.to_basis(y).numpy(), strict=True)
    wanted = [np.linalg.norm(scipy.linalg.subspace_angles(a, b)) for a, b in bases]
    assert np.allclose(space.dist(x, y), wanted, atol=1e-12)


@pytest.mark.parametrize(("n", "p"), [(4, 2), (5, 2)])
def test_exponential_and_logarithm_are_geomstats(n, p):
    """Theirs is the metric tr(UV), ours half of it: geodesics are the same."""
    other = geomstats_grassmannian.Grassmannian(n, p, equip=False)
    other.equip_with_metric(geomstats_grassmannian.GrassmannianCanonicalMetric)
    space, x = Grassmann(n, p), subspaces(n, p)
    u = velocities(space, x, 1.2)
    y = space.expmap(x, u)
    assert np.allclose(y, other.metric.exp(u.numpy(), x.numpy()), atol=1e-12)
    assert np.allclose(space.logmap(x, y), other.metric.log(y.numpy(), x.numpy()), atol=1e-9)
    assert torch.allclose(space.logmap(x, y), u, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-4, 0.7, math.pi / 2 - 1e-6, math.pi / 2])
def test_logarithm_is_exact_at_singular_angles(angle):
    space = Grassmann(6, 2)
    for angles in ([angle, 0.0], [angle, angle], [angle, 0.3], [angle, angle * (1 - 1e-9)]):
        x, y = turned(angles, 6)
        u = space.logmap(x, y)
        assert torch.allclose(space.expmap(x, u), y, atol=1e-14)
        assert space.norm(x, u).item() == pytest.approx(math.hypot(*angles), rel=1e-14, abs=3e-15)
        assert torch.allclose(space.proju(x, u), u, atol=1e-15)


@pytest.mark.parametrize("angles", [[0.0, 0.0], [1e-8, 0.0], [0.6, 0.6], [0.6, 0.6 + 1e-8], [0.6, 0.2], [1.5, 0.0]])
def test_derivatives_at_repeated_angles(angles):
    space = Grassmann(4, 2)
    x, y = turned(angles, 4)
    hat = SO(4).hat
    a, b = (torch.zeros(6, dtype=F64, requires_grad=True) for _ in range(2))

    def moved(m, point):
        turn = torch.matrix_exp(hat(m))
        return turn @ point @ turn.mT

    for f in (space.logmap, space.dist2):
        assert gradcheck(lambda a, b, f=f: f(moved(a, x), moved(b, y)), (a, b), check_forward_ad=True)
        assert gradgradcheck(lambda a, b, f=f: f(moved(a, x), moved(b, y)), (a, b), atol=2e-5)


def test_transport_is_the_pole_ladder():
    """Which is exact on a symmetric space."""
    space, x = Grassmann(5, 2), subspaces(5, 2)
    y, v = space.expmap(x, velocities(space, x, 1.0, 5)), velocities(space, x, 0.5, 6)
    assert torch.allclose(space.transp(x, y, v), pole_ladder(space, x, y, v, 2), atol=1e-11)


def test_transport_of_optimisers_follows_the_step():
    space, x = Grassmann(5, 2), subspaces(5, 2)
    u, v = velocities(space, x, 1.0, 5), velocities(space, x, 0.5, 6)
    for step in (space.expmap_transp, space.retr_transp):
        y, moved = step(x, u, v)
        assert torch.allclose(y, space.expmap(x, u), atol=1e-13)
        assert torch.allclose(moved, space.transp(x, y, v), atol=1e-12)


def test_curvature_keeps_its_bounds_and_attains_them():
    space = Grassmann(4, 2)
    x = subspaces(4, 2, 50)
    u, v = orthonormal_pair(space, x, *(space.random_tangent(x, generator=rng(seed)) for seed in (7, 8)))
    sampled = sectional_curvature(space, x, u, v)
    low, high = space.curvature_bounds()
    assert sampled.min() > low - 2e-3
    assert sampled.max() < high + 2e-3
    line = Grassmann(4, 1)
    x = subspaces(4, 1, 5)
    u, v = orthonormal_pair(line, x, *(line.random_tangent(x, generator=rng(seed)) for seed in (7, 8)))
    assert torch.allclose(sectional_curvature(line, x, u, v), torch.ones(5, dtype=F64), atol=2e-3)
    # turns of both directions of the plane by the same angle, a quarter turn apart
    flat = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=F64))
    u, v = torch.zeros(2, 4, 4, dtype=F64).unbind()
    u[2, 0] = u[3, 1] = v[2, 1] = math.sqrt(0.5)
    v[3, 0] = -math.sqrt(0.5)
    assert sectional_curvature(space, flat, u + u.mT, v + v.mT).item() == pytest.approx(high, abs=2e-3)


def test_random_subspaces_are_uniform():
    x = subspaces(4, 2, 20000, 9)
    assert torch.allclose(x.mean(0), 0.5 * torch.eye(4, dtype=F64), atol=0.01)


def test_random_tangents_are_isotropic():
    space, x = Grassmann(4, 2), subspaces(4, 2, 1)[0]
    u = space.random_tangent(x.expand(40000, 4, 4), generator=rng(10))
    for seed in (11, 12, 13):
        w = velocities(space, x, 1.0, seed)
        assert space.inner(x, u, w).square().mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_float32_momentum_does_not_drift():
    x = subspaces(4, 2).float()
    assert constraint_error_after_momentum_steps(Grassmann(4, 2), x) < 1e-6
