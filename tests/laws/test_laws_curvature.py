"""Declared curvature bounds and injectivity radii against measurements by exp, log and dist; random tangent vectors."""

import math

import pytest
import torch
from law_cases import F64, close, every_space, points, rng, tangents

COUNT = 400


def measured_curvature(space, x, u, v, step=2e-2):
    """K of the plane of orthonormal u and v at x.

    d(exp su, exp sv)^2 = s^2 |u - v|^2 - K s^4 / 3 + O(s^5), and the odd powers cancel between v and -v.
    """
    squares = [space.dist2(space.expmap(x, step * u), space.expmap(x, sign * step * v)) for sign in (1, -1)]
    return -3 * (0.5 * sum(squares) - 2 * step**2) / step**4


@every_space
def test_curvature_lies_within_the_bounds(space):
    low, high = space.curvature_bounds()
    assert low <= high
    if space.dim < 2:
        assert low == high == 0
        return
    x = points(space, COUNT)
    u, v = tangents(space, x, seed=100), tangents(space, x, seed=101)
    u = u / space.norm(x, u, keepdim=True)
    v = v - space.inner(x, u, v, keepdim=True) * u
    v = v / space.norm(x, v, keepdim=True)
    # the step must be short where geodesics do not last, as on nearly singular matrices
    step = min(2e-2, 0.02 * float(torch.as_tensor(space.injectivity_radius(x)).min()))
    k = measured_curvature(space, x, u, v, step)
    rounding = 1e-13 / step**4
    assert (k >= low - 2e-3 - rounding).all()
    assert (k <= high + 2e-3 * max(1.0, high) + rounding).all()
    if low == high:
        assert (k - low).abs().max() < 2e-3 + rounding
    elif low < 0:  # some plane is curved as the sign of the bound says
        assert k.min() < -1e-3
    else:
        assert k.max() > 1e-3


@every_space
def test_geodesics_are_shortest_up_to_the_injectivity_radius(space):
    """To 0.999 of it, in general directions and from any point, log inverts exp and dist is the length."""
    x = points(space, COUNT)
    radius = torch.as_tensor(space.injectivity_radius(x), dtype=F64).clamp(max=4.0).expand(COUNT)
    u = tangents(space, x, seed=102)
    u = u * (0.999 * radius).reshape(-1, *[1] * space.ndim) / space.norm(x, u, keepdim=True)
    y = space.expmap(x, u)
    close(space.dist(x, y), 0.999 * radius, 1e-8)
    close(space.logmap(x, y), u, 1e-6)
    assert torch.as_tensor(space.injectivity_radius(), dtype=F64).min() <= radius.min() + 1e-12 or math.isinf(
        space.injectivity_radius()
    )


@every_space
def test_random_tangents_are_standard_normal_in_the_metric(space):
    """|u|^2 has mean dim and variance 2 dim, and against any unit vector u has mean 0 and variance 1."""
    x = points(space)
    many = x.expand(20000, *space.point_shape)
    u = space.random_tangent(many, generator=rng(103))
    assert u.dtype == x.dtype
    assert space.check_vector_on_tangent(many[:9], u[:9], explain=True) == (True, None)
    assert torch.equal(u, space.random_tangent(many, generator=rng(103)))
    squares = space.inner(many, u)
    assert squares.mean().item() == pytest.approx(space.dim, rel=0.05)
    assert squares.var().item() == pytest.approx(2 * space.dim, rel=0.1)
    for seed in (104, 105, 106):
        along = space.inner(many, u, tangents(space, x, seed=seed) / space.norm(x, tangents(space, x, seed=seed)))
        assert abs(along.mean().item()) < 0.04
        assert along.var().item() == pytest.approx(1.0, abs=0.05)
