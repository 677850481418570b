import math
import os

import numpy as np
import pytest
import scipy.linalg
import torch
from geometry import constraint_error_after_momentum_steps, orthonormal_pair, pole_ladder, rng, sectional_curvature
from torch.autograd import gradcheck, gradgradcheck

from manifoldnet import SO, Stiefel

os.environ["GEOMSTATS_BACKEND"] = "numpy"
geomstats_stiefel = pytest.importorskip("geomstats.geometry.stiefel")

F64 = torch.float64


def frames(n, p, count=8, seed=0):
    return Stiefel(n, p).random(count, n, p, dtype=F64, generator=rng(seed))


def velocities(space, x, length, seed=1):
    u = space.random_tangent(x, generator=rng(seed))
    return u * (length / space.norm(x, u, keepdim=True))


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="wanted 1 <= p <= n"):
        Stiefel(2, 3)
    with pytest.raises(ValueError, match="both sizes or none"):
        Stiefel(4)
    ok, reason = Stiefel().check_point(torch.zeros(2, 3), explain=True)
    assert not ok
    assert "no more columns than rows" in reason


@pytest.mark.parametrize(("n", "p"), [(5, 2), (4, 3), (6, 2)])
def test_canonical_metric_is_geomstats(n, p):
    ours, other = Stiefel(n, p), geomstats_stiefel.Stiefel(n, p, equip=False)
    other.equip_with_metric(geomstats_stiefel.StiefelCanonicalMetric)
    x = frames(n, p)
    u, v = velocities(ours, x, 0.8, 1), velocities(ours, x, 1.0, 2)
    a = x.numpy()
    assert np.allclose(ours.inner(x, u, v), other.metric.inner_product(u.numpy(), v.numpy(), a), atol=1e-13)
    y = ours.expmap(x, u)
    assert np.allclose(y, other.metric.exp(u.numpy(), a), atol=1e-12)
    other.metric.log_solver.tol = 1e-13
    theirs = np.stack([other.metric.log(q, r) for q, r in zip(y.numpy(), a, strict=True)])
    assert np.allclose(ours.logmap(x, y), theirs, atol=1e-9)


@pytest.mark.parametrize(("n", "p"), [(3, 1), (5, 2), (12, 2), (20, 4), (4, 4)])
def test_geodesics_are_orbits_of_the_lift(n, p):
    """By scipy's exponential of the full n x n lift, whichever formula is used."""
    space = Stiefel(n, p)
    x = frames(n, p)
    u = velocities(space, x, 1.5)
    generator = space.action.group.hat(space.lift(x, u)).numpy()
    wanted = np.stack([scipy.linalg.expm(a) @ q for a, q in zip(generator, x.numpy(), strict=True)])
    assert np.allclose(space.expmap(x, u), wanted, atol=1e-13)
    assert np.allclose(0.5 * (generator**2).sum((1, 2)), 1.5**2)


@pytest.mark.parametrize(("n", "p"), [(3, 1), (3, 2), (5, 2), (6, 4), (10, 5), (30, 3)])
def test_logarithm_inverts_the_exponential_up_to_the_injectivity_radius(n, p):
    space = Stiefel(n, p)
    x = frames(n, p, 50)
    for length in (1e-9, 0.1, 2.0, 0.98 * space.injectivity_radius()):
        u = velocities(space, x, length)
        assert (space.logmap(x, space.expmap(x, u)) - u).abs().max() < 1e-13 * max(1, 100 * (length > 2.5))


def test_logarithm_reaches_random_frames():
    """The shortest geodesic is as long backwards, and no longer than those to the same frame from other guesses."""
    for n, p in ((5, 2), (8, 4), (10, 5)):
        space = Stiefel(n, p)
        x, y = frames(n, p, 300, 3), frames(n, p, 300, 4)
        u = space.logmap(x, y)
        assert (space.expmap(x, u) - y).abs().max() < 1e-11
        assert torch.allclose(space.dist(x, y), space.dist(y, x), atol=1e-11)


def test_one_column_is_the_sphere():
    space = Stiefel(4, 1)
    x, y = frames(4, 1), frames(4, 1, seed=1)
    cosine = (x * y).sum((-2, -1))
    assert torch.allclose(space.dist(x, y), cosine.acos(), atol=1e-13)
    u = y - x * cosine[:, None, None]
    wanted = u * (cosine.acos() / u.norm(dim=(-2, -1)))[:, None, None]
    assert torch.allclose(space.logmap(x, y), wanted, atol=1e-13)
    assert space.curvature_bounds() == (1.0, 1.0)


def test_square_frames_are_rotations():
    space, group = Stiefel(4, 4), SO(4)
    x, y = (group.random(6, 4, 4, dtype=F64, generator=rng(seed)) for seed in (0, 1))
    u = group.random_tangent(x, generator=rng(2))
    assert torch.allclose(space.logmap(x, y), group.logmap(x, y), atol=1e-12)
    assert torch.allclose(space.transp(x, y, u), group.transp(x, y, u), atol=1e-12)
    assert torch.allclose(space.inner(x, u), group.inner(x, u))
    mirror = torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=F64))
    assert space.logmap(x, x @ mirror).isnan().all()
    assert space.logmap(torch.stack([x[0], x[0]]), torch.stack([x[0] @ mirror, y[0]]))[1].isfinite().all()


@pytest.mark.parametrize(("n", "p"), [(5, 2), (9, 2), (6, 3)])
def test_transport_is_the_limit_of_the_pole_ladder(n, p):
    space = Stiefel(n, p)
    x = frames(n, p, 3)
    u, v = velocities(space, x, 1.0, 5), velocities(space, x, 1.0, 6)
    y = space.expmap(x, u)
    moved = space.transp(x, y, v)
    errors = [(pole_ladder(space, x, y, v, rungs) - moved).abs().max().item() for rungs in (4, 8)]
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 3.5


@pytest.mark.parametrize(("n", "p"), [(5, 2), (9, 2)])
def test_transport_of_optimisers_follows_the_step(n, p):
    space = Stiefel(n, p)
    x = frames(n, p)
    u, v = velocities(space, x, 0.7, 5), velocities(space, x, 1.0, 6)
    y, moved = space.expmap_transp(x, u, v)
    assert torch.allclose(y, space.expmap(x, u))
    assert torch.allclose(moved, space.transp(x, y, v), atol=1e-12)
    z, turned = space.retr_transp(x, u, v)
    assert torch.equal(z, space.retr(x, u))
    assert torch.allclose(space.norm(z, turned), torch.ones(8, dtype=F64), atol=1e-12)
    assert torch.allclose(space.retr_transp(x, 1e-6 * u, v)[1], v, atol=1e-5)


def test_second_derivatives_where_frames_coincide_and_apart():
    space = Stiefel(4, 2)
    x = frames(4, 2, 1)[0]
    for y in (x, frames(4, 2, 1, 1)[0]):
        a = torch.zeros(6, dtype=F64, requires_grad=True)
        b = torch.zeros(6, dtype=F64, requires_grad=True)

        def f(a, b, y=y):
            hat = SO(4).hat
            return space.logmap(torch.matrix_exp(hat(a)) @ x, torch.matrix_exp(hat(b)) @ y)

        assert gradcheck(f, (a, b), check_forward_ad=True)
        assert gradgradcheck(f, (a, b))


def test_curvature_keeps_its_bounds_and_attains_them():
    space = Stiefel(5, 2)
    x = frames(5, 2, 50)
    u, v = orthonormal_pair(space, x, *(space.random_tangent(x, generator=rng(seed)) for seed in (7, 8)))
    sampled = sectional_curvature(space, x, u, v)
    low, high = space.curvature_bounds()
    assert sampled.min() > low - 1e-4
    assert sampled.max() < high + 1e-4
    # the plane of Zimmermann and Stoye: two turns out of the frame that differ by a quarter turn
    eye = torch.eye(5, 2, dtype=F64)
    u, v = torch.zeros(2, 5, 2, dtype=F64).unbind()
    u[2, 0] = u[3, 1] = v[2, 1] = math.sqrt(0.5)
    v[3, 0] = -math.sqrt(0.5)
    assert sectional_curvature(space, eye, u, v).item() == pytest.approx(high, abs=1e-3)


def test_random_tangents_are_isotropic():
    space = Stiefel(4, 2)
    x = frames(4, 2, 1)[0]
    u = space.random_tangent(x.expand(40000, 4, 2), generator=rng(9))
    for seed in (10, 11, 12):
        w = velocities(space, x, 1.0, seed)
        assert space.inner(x, u, w).square().mean().item() == pytest.approx(1, abs=0.03)


def test_random_frames_are_uniform():
    x = frames(4, 2, 20000, 13)
    assert x.mean(0).abs().max() < 0.015
    assert torch.allclose((x**2).mean(0), torch.full((4, 2), 0.25, dtype=F64), atol=0.01)


def test_float32_momentum_does_not_drift():
    x = frames(5, 2).float()
    assert constraint_error_after_momentum_steps(Stiefel(5, 2), x) < 1e-6
