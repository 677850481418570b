import math

import pytest
import torch

from manifoldnet import SPD, Circle, Euclidean, Power, Sphere
from manifoldnet.fields import ManifoldGradientFlow, from_tangent
from manifoldnet.fields.geodesic_step import geodesic_step_bound, is_symmetric_space, space_step_bound
from manifoldnet.manifolds import SE3, SO, Hyperbolic, Product, Stiefel
from manifoldnet.nn import Flow

F64 = torch.float64
ZERO = torch.zeros((), dtype=F64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def expansion(space, field, h, x, y, method="geodesic-euler"):
    """Ratio of the distances after and before a step."""
    flow = Flow(field, method=method, steps=1, t1=h, space=space)
    with torch.no_grad():
        return space.dist(flow(x), flow(y)) / space.dist(x, y)


def pairs(space, count, spread, seed=0):
    """Points at random, each with a partner near by or anywhere."""
    x = space.random(count, *space.point_shape, dtype=F64, generator=rng(seed))
    u = space.random_tangent(x, generator=rng(seed + 1))
    return x, space.expmap(x, spread * u)


def learned(space, potential, seed=0, features=5):
    return ManifoldGradientFlow(space, features, "sigmoid", potential, generator=rng(seed)).double()


CONVEX = {
    "spd-log-trace": (SPD("affine-invariant", n=3), "log-trace"),
    "spd-busemann": (SPD("affine-invariant", n=3), "busemann"),
    "hyperbolic-busemann": (Hyperbolic(3), "busemann"),
    "curved-busemann": (Hyperbolic(2, -4.0), "busemann"),
}
every_convex = pytest.mark.parametrize(("space", "potential"), CONVEX.values(), ids=CONVEX.keys())


@every_convex
def test_no_pair_moves_apart_within_the_bound_of_a_learned_field(space, potential):
    for seed in range(4):
        field = learned(space, potential, seed)
        h = field.step_bound()
        assert h > 0.05
        for spread in (1e-3, 0.1, 2.0):
            x, y = pairs(space, 700, spread, seed)
            assert expansion(space, field, h, x, y).max() <= 1 + 1e-9


@every_convex
def test_some_multiple_of_the_bound_is_too_long(space, potential):
    """The case that is looked for: the constants are sums over features, the bound is within ten times the truth."""
    field = learned(space, potential)
    x, y = pairs(space, 2000, 0.05, 3)
    worst = [expansion(space, field, k * field.step_bound(), x, y).max().item() for k in (1.0, 10.0)]
    assert worst[0] <= 1 < worst[1]


def test_the_implicit_step_does_not_expand_where_the_explicit_one_does():
    space = SPD("affine-invariant", n=3)
    field = learned(space, "log-trace")
    h = 10 * field.step_bound()
    x, y = pairs(space, 60, 0.05, 3)
    explicit = expansion(space, field, h, x, y)
    assert explicit.max() > 1.05
    assert expansion(space, field, h, x, y, "geodesic-implicit-euler").max() <= 1 + 1e-9


@pytest.mark.parametrize("space", [Hyperbolic(2), SPD("affine-invariant", n=2)], ids=["hyperbolic", "spd"])
def test_no_pair_moves_apart_in_a_ball_of_known_constants(space):
    """V = dist(., o)^2 / 2: 1 <= Hess V <= a coth a, |grad V| <= R within R of o, a = R sqrt(k) (Karcher 1977)."""
    radius = 1.5
    a = radius * math.sqrt(-space.curvature_bounds()[0])
    o = space.origin(*space.point_shape, dtype=F64)
    field = from_tangent(space, lambda t, y: space.logmap(y, o))
    h = space_step_bound(space, 1.0, a / math.tanh(a), radius)
    assert 0.3 < h < 2 * math.tanh(a) / a
    u = space.random_tangent(o.expand(4000, *o.shape), generator=rng(4))
    length = radius * torch.rand(4000, 1, dtype=F64, generator=rng(5)).reshape(-1, *(1,) * space.ndim)
    ball = space.expmap(o, length * u / space.norm(o, u, keepdim=True))
    assert expansion(space, field, h, *ball.chunk(2)).max() <= 1 + 1e-12


@pytest.mark.parametrize("distance", [0.05, 0.3, 1.0])
def test_in_the_hyperbolic_plane_the_bound_is_attained(distance):
    """A field with |X| = 1 that crosses the geodesic x_2 = 0 at right angles, seen at some distance s from it.

    Its curves are geodesics at a width in proportion to cosh(s), hence Hess V = tanh(s) across. A step from s to -s
    keeps lengths, and one that is longer expands them: h = 2 s, where the bound is.
    """
    space = Hyperbolic(2)

    def away(t, y):
        """-grad s, with sinh s = x_2."""
        slope = torch.zeros_like(y)
        slope[..., 2] = -1.0
        return space.egrad2rgrad(y, slope) / (1 + y[..., 2:] ** 2).sqrt()

    field = from_tangent(space, away)
    h = space_step_bound(space, math.tanh(distance), math.tanh(distance), 1.0)
    assert h == pytest.approx(2 * distance, rel=1e-9)

    def at(along):
        height = torch.full_like(along, math.sinh(distance))
        width = math.cosh(distance)
        return torch.stack([along.cosh() * width, along.sinh() * width, height], -1)

    x, y = at(torch.tensor([0.0, 1.0], dtype=F64)), at(torch.tensor([1e-4, 1.0001], dtype=F64))
    assert (expansion(space, field, h, x, y) - 1).abs().max() < 1e-7
    assert expansion(space, field, 1.02 * h, x, y).min() > 1 + 1e-4 * distance
    assert expansion(space, field, 0.98 * h, x, y).max() < 1


def test_the_function_of_the_second_condition_is_below_its_parabola():
    """f(a) = a coth a - (a / sinh a)^2 lies between 0 and both 2 a^2 / 3 and a."""
    a = torch.linspace(1e-3, 30, 20001, dtype=F64)
    f = a / a.tanh() - (a / a.sinh()) ** 2
    assert (f >= 0).all()
    assert (f <= 2 * a**2 / 3 + 1e-9).all()
    assert (f <= a).all()


def test_jacobi_fields_of_symmetric_spaces_are_bounded_as_the_first_condition_says():
    """max |C(Q) - E(Q) S| over matrices Q and S within their bounds, which need not commute."""
    for seed in range(40):
        mu, L, speed, low, high = torch.rand(5, dtype=F64, generator=rng(seed)).tolist()
        low, high, L = (-low, 0.0, mu + L) if seed % 3 else (-low, high, mu + L)
        h = geodesic_step_bound(mu, L, speed, (low, high))
        assert 0 < h <= 2 / L
        turn = torch.linalg.qr(torch.randn(2, 500, 4, 4, dtype=F64, generator=rng(seed + 100)))[0]
        share = torch.rand(2, 500, 4, dtype=F64, generator=rng(seed + 200)).round(decimals=seed % 2)
        z = (h * speed) ** 2 * (-high + (high - low) * share[0]).to(torch.complex128)
        z = torch.cat([0 * z[:, :1], z[:, 1:]], 1) + 1e-30  # v itself is in the kernel
        spectrum = h * (mu + (L - mu) * share[1])
        root = z.sqrt()
        C, E = root.cosh().real, (root.sinh() / root).real
        of = lambda values, frame: (frame * values[:, None]) @ frame.mT  # noqa: E731
        J = of(C, turn[0]) - of(E, turn[0]) @ of(spectrum, turn[1])
        assert torch.linalg.matrix_norm(J, 2).max() <= 1 + 1e-10


def test_jacobi_fields_are_bounded_as_the_second_condition_says():
    """S = Q / (h bending), the least that is allowed, plus anything; from h bending = 2 on the least alone expands."""
    L, speed, bending = 0.01, 0.1, 1.0
    h = geodesic_step_bound(0.0, L, speed, (-1.0, 0.0), bending)
    assert h == pytest.approx(1.5, rel=1e-9)
    q = torch.linspace(1e-3, h * speed, 50, dtype=F64)

    def largest(h, extra):
        z = torch.stack([torch.full_like(q, 1e-15), q], -1)  # v itself is in the kernel of Q
        C, E = torch.diag_embed(z.cosh()), torch.diag_embed(z.sinh() / z)
        return torch.linalg.matrix_norm(C - E @ (torch.diag_embed(z**2 / (h * bending)) + extra), 2).max()

    vector = torch.randn(200, 1, 2, 1, dtype=F64, generator=rng(7))
    ray = vector * vector.mT / vector.square().sum((-2, -1), keepdim=True)
    for extra in (0.0, 1e-3 * ray, 0.9 * ray, 1.9 * ray):
        assert largest(h, extra) <= 1 + 1e-12
    assert largest(2.1, 0.0) > 1


def test_flat_spaces_and_unmoved_points_have_the_euclidean_bound():
    assert geodesic_step_bound(0.0, 3.0, 5.0, (0.0, 0.0)) == 2 / 3
    assert geodesic_step_bound(0.0, 3.0, 0.0, (-1.0, 1.0)) == 2 / 3
    assert geodesic_step_bound(0.0, 0.0, 5.0, (0.0, 0.0)) == math.inf
    assert space_step_bound(Power(Circle(), 3), 0.0, 4.0, 7.0) == 0.5
    assert space_step_bound(SPD("log-euclidean", n=3), 0.0, 4.0, 7.0) == 0.5


def test_curvature_costs_what_it_must():
    assert geodesic_step_bound(0.0, 1.0, 1.0, (-1.0, 0.0)) == 0.0  # parallel motion spreads out
    bounds = [geodesic_step_bound(0.5, 1.0, 1.0, (-k, 0.0)) for k in (1e-6, 0.1, 1.0, 10.0)]
    assert bounds[0] == pytest.approx(2.0, rel=1e-5)
    assert bounds == sorted(bounds, reverse=True)
    # on spheres motion draws together, and a long step past the pole does not
    sphere = [geodesic_step_bound(0.0, 1.0, 1.0, (k, k)) for k in (1e-6, 0.1, 1.0)]
    assert sphere[0] == pytest.approx(2.0, rel=1e-5)
    assert sphere == sorted(sphere, reverse=True)
    # knowing less of the space never allows more
    for mu in (0.1, 0.5, 1.0):
        known = geodesic_step_bound(mu, 1.0, 1.0, (-1.0, 0.0))
        assert 0 < geodesic_step_bound(mu, 1.0, 1.0, (-1.0, 0.0), is_symmetric=False) <= known
    # wide curves of unbounded activations
    assert learned(Hyperbolic(2), "busemann").step_bound() > 0
    field = ManifoldGradientFlow(Hyperbolic(2), activation="softplus", potential="busemann")
    assert field.step_bound() == 0.0


def test_the_bound_of_spheres_holds_towards_a_pole():
    """V = -<n, x> on the half sphere around n: 0 <= Hess V = <n, x> <= 1, |grad V| <= 1."""
    space = Sphere(3)
    n = torch.tensor([0.0, 0.0, 1.0], dtype=F64)
    field = from_tangent(space, lambda t, y: space.proju(y, n.expand_as(y)))
    x = space.random(4000, 3, dtype=F64, generator=rng(6))
    x = torch.cat([x[:, :2], x[:, 2:].abs()], -1)
    h = space_step_bound(space, 0.0, 1.0, 1.0)
    assert h > 1.3
    assert expansion(space, field, h, *x.chunk(2)).max() <= 1 + 1e-12
    assert expansion(space, field, 2.2, *x.chunk(2)).max() > 1


def test_what_spaces_are_symmetric():
    assert is_symmetric_space(Product([SO(4), SPD("affine-invariant", n=2), Power(Sphere(4), 2), Euclidean(1, (2,))]))
    assert not is_symmetric_space(Product([SO(4), Stiefel(4, 2)]))
    assert not is_symmetric_space(SPD("bures-wasserstein", n=2))
    assert not is_symmetric_space(SE3())


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"mu, L: .*mu=2.0 and L=1.0"):
        geodesic_step_bound(2.0, 1.0, 1.0, (0.0, 0.0))
    with pytest.raises(ValueError, match=r"speed: .*-1"):
        geodesic_step_bound(0.0, 1.0, -1.0, (0.0, 0.0))
    with pytest.raises(ValueError, match=r"curvature: "):
        geodesic_step_bound(0.0, 1.0, 1.0, (0.0, -1.0))
    with pytest.raises(ValueError, match=r"bending: .*-2"):
        geodesic_step_bound(0.0, 1.0, 1.0, (-1.0, 0.0), bending=-2.0)
