import math
import os

import geoopt
import mpmath
import numpy as np
import pytest
import torch

from manifoldnet import Hyperbolic
from manifoldnet.manifolds import LorentzGroup

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some(space, count=6, seed=0, dtype=F64):
    return space.random(count, space.n + 1, dtype=dtype, generator=rng(seed))


def at(space, distance, direction):
    """Points at distances (radii) from the origin, by mpmath's sinh."""
    length = torch.tensor([float(mpmath.sinh(d)) for d in distance.tolist()], dtype=F64)
    spatial = space.radius * length[:, None] * direction / direction.norm(dim=-1, keepdim=True)
    return space.projx(torch.cat([torch.ones(len(distance), 1, dtype=F64), spatial], -1))


def exact_distance(space, x, y):
    """At 80 digits from the spatial parts."""
    with mpmath.workdps(80):
        r = mpmath.mpf(space.radius)
        xs, ys = ([mpmath.mpf(c) for c in p[1:].tolist()] for p in (x, y))
        x0, y0 = (mpmath.sqrt(r**2 + sum(c * c for c in s)) for s in (xs, ys))
        return float(r * mpmath.acosh((x0 * y0 - sum(a * b for a, b in zip(xs, ys, strict=True))) / r**2))


@pytest.mark.parametrize("n", [2, 3])
def test_maps_are_those_of_geomstats(n):
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    hyperboloid = pytest.importorskip("geomstats.geometry.hyperboloid").Hyperboloid(n)
    space = Hyperbolic(n)
    x, y = some(space, seed=1), some(space, seed=2)
    u, v = space.random_tangent(x, generator=rng(3)), space.random_tangent(x, generator=rng(4))
    a, b = x.numpy(), y.numpy()
    assert np.allclose(space.dist(x, y), hyperboloid.metric.dist(a, b), atol=1e-9, rtol=1e-9)
    assert np.allclose(space.logmap(x, y), hyperboloid.metric.log(b, a), atol=1e-8, rtol=1e-8)
    assert np.allclose(space.expmap(x, u), hyperboloid.metric.exp(u.numpy(), a), atol=1e-9, rtol=1e-9)
    assert np.allclose(space.inner(x, u, v), hyperboloid.metric.inner_product(u.numpy(), v.numpy(), a), atol=1e-9)
    theirs = hyperboloid.metric.parallel_transport(v.numpy(), a, direction=space.logmap(x, y).numpy())
    assert np.allclose(space.transp(x, y, v), theirs, atol=1e-8, rtol=1e-8)
    ambient = torch.randn(6, n + 1, dtype=F64, generator=rng(5))
    assert np.allclose(space.proju(x, ambient), hyperboloid.to_tangent(ambient.numpy(), a), atol=1e-10)


@pytest.mark.parametrize("curvature", [-1.0, -0.3, -4.0])
def test_the_poincare_ball_is_isometric(curvature):
    """Against geoopt's ball."""
    space, ball = Hyperbolic(3, curvature), geoopt.PoincareBall(c=torch.tensor(-curvature, dtype=F64))
    x, y = 0.5 * space.radius * torch.randn(2, 8, 3, dtype=F64, generator=rng(6))
    x, y = (p / (1 + p.norm(dim=-1, keepdim=True) / space.radius) for p in (x, y))
    p, q = space.from_poincare(x), space.from_poincare(y)
    assert space.check_point_on_manifold(p)
    assert torch.allclose(space.to_poincare(p), x, atol=1e-14)
    assert torch.allclose(space.dist(p, q), ball.dist(x, y), rtol=1e-9)
    assert torch.allclose(
        space.to_poincare(space.geodesic(p, q, 0.3)), ball.geodesic(torch.tensor(0.3, dtype=F64), x, y), rtol=1e-9
    )
    assert space.curvature_bounds() == (curvature, curvature)


@pytest.mark.parametrize("curvature", [-1.0, -0.25])
def test_distances_are_exact_far_out_and_close_by(curvature):
    """Up to 20 radii from the origin, at distances from 1e-9 to 40."""
    space = Hyperbolic(3, curvature)
    g = rng(7)
    radii, directions = 20 * torch.rand(2, 40, dtype=F64, generator=g), torch.randn(2, 40, 3, dtype=F64, generator=g)
    x = at(space, radii[0], directions[0])
    opposite = -directions[0] + 1e-9 * directions[1]
    aligned = directions[0] + 1e-9 * directions[1]
    pairs = [
        (x, at(space, radii[1], directions[1])),
        (x, at(space, radii[1], opposite)),
        (x, at(space, radii[1], aligned)),
        (x, at(space, radii[1], directions[0])),
        (x, space.origin(40, 4, dtype=F64)),
        (x, x * (1 + 1e-9)),
        (x, space.projx(x + 1e-6 * directions[1].repeat(1, 2)[:, :4])),
    ]
    for a, b in pairs:
        wanted = torch.tensor([exact_distance(space, *pair) for pair in zip(a, b, strict=True)], dtype=F64)
        assert (space.dist(a, b) / wanted - 1).abs().max() < 1e-8
        assert (space.dist(b, a) / wanted - 1).abs().max() < 1e-8


def test_single_precision_reaches_a_distance_of_eight():
    space, g = Hyperbolic(2), rng(8)
    radii, directions = 8 * torch.rand(2, 40, dtype=F64, generator=g), torch.randn(2, 40, 2, dtype=F64, generator=g)
    x, y = at(space, radii[0], directions[0]).float(), at(space, radii[1], directions[1]).float()
    wanted = torch.tensor([exact_distance(space, *pair) for pair in zip(x, y, strict=True)])
    assert (space.dist(x, y) / wanted - 1).abs().max() < 1e-5
    u = space.logmap(space.origin(40, 3, dtype=torch.float32), x)
    assert (space.dist(space.expmap(space.origin(40, 3, dtype=torch.float32), u), x)).max() < 1e-3


def test_maps_are_as_exact_as_the_numbers_of_a_point_far_out():
    """An angle at x is known to eps x_0 / r, which a geodesic of length d magnifies by sinh d."""
    space = Hyperbolic(3)
    x = at(space, torch.tensor([5.0, 8.0, 12.0], dtype=F64), torch.randn(3, 3, dtype=F64, generator=rng(9)))
    origin = space.origin(3, 4, dtype=F64)
    back = space.expmap(x, space.logmap(x, origin))
    assert (space.dist(back, origin) < 4 * torch.finfo(F64).eps * x[:, 0] ** 2).all()
    assert (space.dist(space.expmap(origin, space.logmap(origin, x)), x) < 4 * torch.finfo(F64).eps * x[:, 0]).all()
    x = at(space, torch.tensor([5.0, 12.0, 20.0], dtype=F64), torch.randn(3, 3, dtype=F64, generator=rng(9)))
    u, v = space.random_tangent(x, generator=rng(10)), space.random_tangent(x, generator=rng(11))
    for y in (origin, x.roll(1, 0), space.projx(-x)):
        moved = space.inner(y, space.transp(x, y, u), space.transp(x, y, v))
        assert torch.allclose(moved, space.inner(x, u, v), rtol=1e-6, atol=1e-6)


def test_small_distances_keep_value_and_gradient():
    space = Hyperbolic(2, -2.0)
    x = some(space)
    u = space.random_tangent(x, generator=rng(12))
    u = u / space.norm(x, u, keepdim=True)
    for length in (1e-3, 1e-7, 1e-11):
        y = space.expmap(x, length * u).requires_grad_()
        (gradient,) = torch.autograd.grad(space.dist(x, y).sum(), y)
        y = y.detach()
        norm = space.norm(y, space.egrad2rgrad(y, gradient))
        assert (norm - 1).abs().max() < 1e-13
        # the rounding of y decides
        assert (space.dist(x, y) / length - 1).abs().max() < 1e-14 * x.max() ** 2 / length
    y = x.clone().requires_grad_()
    for value, bound in ((space.dist(x, y), 1.0), (space.dist2(x, y), 0.0), (space.logmap(x, y), 1e3)):
        (gradient,) = torch.autograd.grad(value.sum(), y)
        assert gradient.abs().max() <= bound


def test_lift_moves_along_geodesics_and_the_group_keeps_the_form():
    for n in (1, 2, 3, 4):
        space, group = Hyperbolic(n, -0.5), LorentzGroup(n)
        x, y = some(space, seed=1), some(space, seed=2)
        v = space.lift(x, space.logmap(x, y))
        for t in (0.3, 1.0):
            assert torch.allclose(space.action.act_exp(t * v, x), space.geodesic(x, y, t), atol=1e-11, rtol=1e-11)
        form = torch.diag(torch.tensor([-1.0] + [1.0] * n, dtype=F64))
        z = group.exp(torch.randn(5, group.dim, dtype=F64, generator=rng(13)))
        assert torch.allclose(z.mT @ form @ z, form.expand_as(z), atol=1e-11)
        assert torch.allclose(torch.linalg.det(z), torch.ones(5, dtype=F64), atol=1e-11)
        assert (z[:, 0, 0] >= 1).all()
        assert torch.allclose(group.inverse(z) @ z, torch.eye(n + 1, dtype=F64).expand_as(z), atol=1e-11)


def test_the_first_coordinates_are_boosts():
    group, space = LorentzGroup(2), Hyperbolic(2)
    boost = group.exp(torch.tensor([0.7, 0.0, 0.0], dtype=F64))
    wanted = torch.tensor([math.cosh(0.7), math.sinh(0.7), 0.0], dtype=F64)
    assert torch.allclose(space.action.act(boost, space.origin(3, dtype=F64)), wanted, atol=1e-15)
    turn = group.exp(torch.tensor([0.0, 0.0, 0.5 * math.pi], dtype=F64))
    assert torch.allclose(space.action.act(turn, wanted), wanted[[0, 2, 1]], atol=1e-15)


def test_random_points_are_a_wrapped_normal_distribution():
    from scipy import stats

    for curvature in (-1.0, -3.0):
        space = Hyperbolic(3, curvature)
        squares = space.dist2(space.origin(4, dtype=F64), some(space, 4000, seed=14))
        assert stats.kstest(squares.numpy(), stats.chi2(3).cdf).pvalue > 1e-3
        x = some(space, 1, seed=15).expand(4000, 4)
        lengths = space.inner(x, space.random_tangent(x, generator=rng(16)))
        assert stats.kstest(lengths.numpy(), stats.chi2(3).cdf).pvalue > 1e-3


def test_mean_of_points_far_apart_is_stationary():
    space = Hyperbolic(3)
    cloud = some(space, 30, seed=17)
    mean = space.frechet_mean(cloud)
    assert space.norm(mean, space.logmap(mean, cloud).mean(0)) < 1e-6


def test_wrong_arguments_and_points_are_named():
    with pytest.raises(ValueError, match="n: wanted a dimension"):
        Hyperbolic(0)
    for curvature in (0.0, 1.0, -math.inf, math.nan):
        with pytest.raises(ValueError, match="curvature: wanted a negative number"):
            Hyperbolic(2, curvature)
    with pytest.raises(ValueError, match="n: wanted a dimension"):
        LorentzGroup(0)
    space = Hyperbolic(2)
    ok, reason = space.check_point_on_manifold(-some(space), explain=True)
    assert not ok
    assert "x_0" in reason
    ok, reason = space.check_vector_on_tangent(some(space), some(space), explain=True)
    assert not ok
    assert "u_0" in reason
