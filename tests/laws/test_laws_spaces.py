"""Laws of Riemannian geometry that every registered space obeys."""

from itertools import pairwise

import pytest
import torch
from law_cases import F64, both_precisions, close, coordinates, every_space, near, points, reach, rng, tangents

EPS = {torch.float32: 2e-4, F64: 1e-11}


@every_space
@both_precisions
def test_log_inverts_exp(space, dtype):
    x = points(space, 32, dtype=dtype)
    u = tangents(space, x, 2.5)
    y = space.expmap(x, u)
    close(space.logmap(x, y), u, EPS[dtype])
    close(space.expmap(x, space.logmap(x, y)), y, EPS[dtype])


@every_space
@both_precisions
def test_exp_of_zero_is_the_point(space, dtype):
    x = points(space, 8, dtype=dtype)
    zero = torch.zeros_like(x)
    close(space.expmap(x, zero), x, EPS[dtype])
    close(space.retr(x, zero), x, EPS[dtype])
    close(space.logmap(x, x), zero, EPS[dtype])


@every_space
@both_precisions
def test_distance_is_the_length_of_the_logarithm(space, dtype):
    x, y = points(space, 32, dtype=dtype), points(space, 32, dtype=dtype, seed=5)
    u = space.logmap(x, y)
    distance = space.dist(x, y)
    assert distance.shape == (32,)
    close(distance, space.norm(x, u), EPS[dtype])
    close(space.dist2(x, y), space.inner(x, u, u), EPS[dtype])
    close(distance.square(), space.dist2(x, y), EPS[dtype])


@every_space
def test_distance_along_a_geodesic_is_the_length_of_the_velocity(space):
    x = points(space, 8)
    for length in (1e-7, 1e-3, 1.0, 3.0):
        distance, wanted = space.dist(x, near(space, x, length)), reach(space, x, length)
        assert ((distance / wanted - 1).abs() < 1e-12 + 1e-13 / wanted).all()


@every_space
def test_distance_is_a_metric(space):
    x, y, z = (points(space, 64, seed=seed) for seed in (5, 6, 7))
    close(space.dist(x, y), space.dist(y, x), 1e-11)
    assert (space.dist(x, z) <= space.dist(x, y) + space.dist(y, z) + 1e-11).all()
    assert (space.dist(x, y) > 0).all()
    assert (space.dist(x, x) < 1e-6).all()


@every_space
def test_the_action_is_by_isometries(space):
    """Of the spaces whose action says so, and of no others."""
    x = points(space, 16, seed=8)
    y = near(space, x, 1.0, seed=9)
    v = coordinates(space.action.group, 16, scale=0.5, seed=10)
    moved_x, moved_y = space.action.act_exp(v, x), space.action.act_exp(v, y)
    change = (space.dist(moved_x, moved_y) - space.dist(x, y)).abs().max()
    assert (change < 1e-10) == space.action.is_isometric


@every_space
def test_geodesic_has_constant_speed(space):
    x = points(space, 8)
    y = near(space, x, 2.5)
    close(space.geodesic(x, y, 0.0), x, 1e-12)
    close(space.geodesic(x, y, 1.0), y, 1e-11)
    times = [0.0, 0.2, 0.5, 0.7, 1.0]
    along = [space.geodesic(x, y, t) for t in times]
    for s, p in zip(times, along, strict=True):
        for t, q in zip(times, along, strict=True):
            if s != t:
                close(space.dist(p, q), reach(space, x, 2.5) * abs(s - t), 1e-10)


@every_space
def test_geodesic_takes_a_time_for_each_pair(space):
    x = points(space, 4)
    y = near(space, x, 1.0)
    t = torch.linspace(0, 1, 4, dtype=F64)
    wanted = torch.stack([space.geodesic(p, q, s) for p, q, s in zip(x, y, t.tolist(), strict=True)])
    close(space.geodesic(x, y, t), wanted, 1e-12)


@every_space
@both_precisions
def test_transport_is_an_isometry_that_carries_the_geodesic(space, dtype):
    x = points(space, 16, dtype=dtype)
    y = near(space, x, 2.0)
    u, v = tangents(space, x, 1.0, seed=11), tangents(space, x, 1.0, seed=12)
    moved_u, moved_v = space.transp(x, y, u), space.transp(x, y, v)
    close(space.inner(y, moved_u, moved_v), space.inner(x, u, v), EPS[dtype])
    close(moved_u, space.proju(y, moved_u), EPS[dtype])
    close(space.transp(x, y, space.logmap(x, y)), -space.logmap(y, x), EPS[dtype])
    close(space.transp(y, x, moved_u), u, EPS[dtype])


@every_space
def test_transport_is_along_the_geodesic(space):
    """Transport to the end equals transport by way of points in between, and by Schild's ladder to first order."""
    x = points(space, 4)
    y = near(space, x, 2.0)
    u = tangents(space, x, 1.0, seed=13)
    middle = space.geodesic(x, y, 0.3)
    close(space.transp(middle, y, space.transp(x, middle, u)), space.transp(x, y, u), 1e-10)


@every_space
def test_inner_is_symmetric_bilinear_and_positive(space):
    x = points(space, 16)
    u, v, w = (tangents(space, x, seed=seed) for seed in (14, 15, 16))
    close(space.inner(x, u, v), space.inner(x, v, u), 1e-12)
    close(space.inner(x, 2 * u + w, v), 2 * space.inner(x, u, v) + space.inner(x, w, v), 1e-11)
    assert (space.inner(x, u) > 0).all()
    close(space.norm(x, u).square(), space.inner(x, u, u), 1e-12)


@every_space
def test_riemannian_gradient_represents_the_derivative(space):
    """<egrad, u> = inner(rgrad, u) = d/de f(exp_x(e u)) for a function f of the coordinates."""
    x = points(space, 8)
    weights = torch.randn(x.shape[1:], dtype=F64, generator=rng(17))

    def f(y):
        return torch.sin(weights * y).flatten(1).sum(1) if y.dim() > 1 else torch.sin(weights * y)

    leaf = x.clone().requires_grad_()
    (egrad,) = torch.autograd.grad(f(leaf).sum(), leaf)
    rgrad = space.egrad2rgrad(x, egrad)
    close(space.proju(x, rgrad), rgrad, 1e-12)
    for seed in (18, 19, 20):
        u = tangents(space, x, 1.0, seed)
        inner = space.inner(x, rgrad, u)
        close(inner, (egrad * u).flatten(1).sum(1) if x.dim() > 1 else egrad * u, 1e-11)
        e = 1e-5
        close(inner, (f(space.expmap(x, e * u)) - f(space.expmap(x, -e * u))) / (2 * e), 1e-7)


@every_space
@both_precisions
def test_projections_are_idempotent(space, dtype):
    noise = torch.randn(16, *space.point_shape, dtype=dtype, generator=rng(21))
    x = space.projx(noise)
    assert space.check_point_on_manifold(x, explain=True) == (True, None)
    close(space.projx(x), x, EPS[dtype])
    on = points(space, 16, dtype=dtype)
    close(space.projx(on), on, EPS[dtype])
    u = space.proju(on, noise)
    assert space.check_vector_on_tangent(on, u, explain=True) == (True, None)
    close(space.proju(on, u), u, EPS[dtype])


@every_space
@both_precisions
def test_random_points_lie_on_the_space_and_repeat(space, dtype):
    before = torch.get_rng_state()
    x = points(space, 5, 4, dtype=dtype)
    assert x.shape == (5, 4, *space.point_shape)
    assert x.dtype == dtype
    assert space.check_point_on_manifold(x, explain=True) == (True, None)
    assert torch.equal(x, points(space, 5, 4, dtype=dtype))
    assert not torch.equal(x, points(space, 5, 4, dtype=dtype, seed=1))
    assert torch.equal(before, torch.get_rng_state())


@every_space
def test_wrong_shapes_are_refused_by_name(space):
    wrong = (2, *space.point_shape[:-1], space.point_shape[-1] + 1) if space.ndim else None
    if wrong is None:
        assert space.check_point(torch.zeros(3))
        return
    ok, reason = space.check_point(torch.zeros(wrong), explain=True)
    assert not ok
    assert str(wrong) in reason
    with pytest.raises(ValueError, match="size"):
        space.random(*wrong)


@every_space
def test_retraction_agrees_with_the_exponential_map_to_first_order(space):
    x = points(space, 8)
    u = tangents(space, x, 1.0)
    errors = [space.dist(space.retr(x, h * u), space.expmap(x, h * u)).max().item() for h in (0.2, 0.1, 0.05)]
    if max(errors) > 1e-7:  # otherwise it is the exponential map
        slopes = [torch.log2(torch.tensor(a / b)).item() for a, b in pairwise(errors)]
        assert min(slopes) > 1.9, slopes
    assert space.check_point_on_manifold(space.retr(x, 3.0 * u), explain=True) == (True, None)


@every_space
@both_precisions
def test_mean_is_stationary(space, dtype):
    centre = points(space, 3, dtype=dtype)
    cloud = near(space, centre.unsqueeze(1).expand(3, 6, *space.point_shape), 0.7)
    weights = torch.rand(3, 6, dtype=dtype, generator=rng(22)) + 0.1
    for given in (None, weights):
        mean = space.frechet_mean(cloud, given)
        assert mean.shape == centre.shape
        w = torch.ones(3, 6, dtype=dtype) if given is None else given
        w = (w / w.sum(-1, keepdim=True))[(...,) + (None,) * space.ndim]
        gradient = (w * space.logmap(mean.unsqueeze(1), cloud)).sum(1)
        close(gradient, torch.zeros_like(gradient), EPS[dtype] / 10)
    close(space.frechet_mean(cloud, 3 * weights), space.frechet_mean(cloud, weights), EPS[dtype])


@every_space
def test_mean_of_two_points_divides_their_geodesic(space):
    x = points(space, 4)
    y = near(space, x, 1.5)
    pair = torch.stack([x, y], 1)
    close(space.frechet_mean(pair, torch.tensor([3.0, 1.0], dtype=F64)), space.geodesic(x, y, 0.25), 1e-10)
    close(space.frechet_mean(pair), space.geodesic(x, y, 0.5), 1e-10)
    close(space.frechet_mean(pair, torch.tensor([0.0, 2.0], dtype=F64)), y, 1e-10)
    several = space.frechet_mean(pair[0], torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64))
    close(several, pair[0], 1e-10)


@every_space
def test_batches_broadcast(space):
    x, y = points(space, 4, 1), near(space, points(space, 3), 0.5)
    u = tangents(space, x, 1.0)
    full_x, full_y = torch.broadcast_tensors(x, y)
    full_u = u.expand_as(full_x)
    for value, wanted in [
        (space.expmap(y, u), space.expmap(full_y, space.proju(full_x, full_u))),
        (space.retr(y, u), space.retr(full_y, full_u)),
        (space.logmap(x, y), space.logmap(full_x, full_y)),
        (space.dist(x, y), space.dist(full_x, full_y)),
        (space.dist2(x, y), space.dist2(full_x, full_y)),
        (space.inner(y, u), space.inner(full_y, full_u)),
        (space.transp(x, y, u), space.transp(full_x, full_y, full_u)),
        (space.proju(y, u), space.proju(full_y, full_u)),
    ]:
        close(value, wanted, 1e-12)
    keep = (4, 3, *[1] * space.ndim)
    for value in (
        space.dist(x, y, keepdim=True),
        space.dist2(x, y, keepdim=True),
        space.inner(y, u, keepdim=True),
        space.norm(y, u, keepdim=True),
    ):
        assert value.shape == keep
    close(space.dist(x, y, keepdim=True).reshape(4, 3), space.dist(x, y), 0)


@every_space
def test_batches_may_be_empty_or_absent(space):
    none, one = points(space, 0), points(space)
    assert one.shape == space.point_shape
    assert space.dist(one, one).shape == ()
    assert space.dist(none, none).shape == (0,)
    assert space.logmap(none, none).shape == none.shape
    assert space.expmap(none, none).shape == none.shape
    assert space.transp(none, none, none).shape == none.shape
