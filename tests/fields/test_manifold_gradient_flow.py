import copy
import math

import numpy as np
import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Euclidean, Power, Product, odeint
from manifoldnet.fields import ACTIVATIONS, Activation, ManifoldGradientFlow, from_tangent
from manifoldnet.fields.features import features_of
from manifoldnet.fields.potentials import potentials_of
from manifoldnet.linalg import sym_expm, sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.manifolds import Hyperbolic, Sphere
from manifoldnet.nn import Flow

F64 = torch.float64
ZERO = torch.zeros((), dtype=F64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def field_on(space, features=7, activation="tanh", potential="default", seed=0, **options):
    return ManifoldGradientFlow(space, features, activation, potential, generator=rng(seed), **options).double()


def moved_parameters(field, A, b=None):
    """The same field with other parameters."""
    other = copy.deepcopy(field)
    with torch.no_grad():
        other.A.copy_(A)
        other.b.copy_(field.b if b is None else b)
    return other


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_on_vectors_it_is_minus_a_transposed_sigma_of_ax_plus_b(activation):
    field = field_on(Euclidean(1, shape=(4,)), activation=activation)
    x = torch.randn(9, 4, dtype=F64, generator=rng(1))
    sigma = ACTIVATIONS[activation].sigma
    wanted = torch.stack([-field.A.T @ sigma(field.A @ p + field.b) for p in x])
    assert torch.allclose(field(ZERO, x), wanted, atol=1e-15, rtol=1e-15)
    energy = torch.stack([ACTIVATIONS[activation].gamma(field.A @ p + field.b).sum() for p in x])
    assert torch.allclose(field.potential(ZERO, x), energy, atol=1e-14, rtol=1e-14)


def test_on_log_euclidean_spd_it_is_that_field_in_the_logarithm():
    space = SPD("log-euclidean", n=3)
    field = field_on(space)
    flat = field_on(Euclidean(1, shape=(6,)))
    flat.load_state_dict(field.state_dict())
    y = space.random(5, 3, 3, dtype=F64, generator=rng(2))
    logs = sym_to_vector(sym_logm(y))
    assert torch.allclose(field(ZERO, y), flat(ZERO, logs), atol=1e-13, rtol=1e-13)
    moved = Flow(field, method="rkmk4", steps=5)(y)
    wanted = Flow(flat, method="rk4", steps=5)(logs)
    assert torch.allclose(sym_logm(moved), sym_from_vector(wanted), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("space", [Euclidean(1, shape=(4,)), SPD("log-euclidean", n=3)], ids=["euclidean", "spd"])
def test_flat_flows_never_expand_within_the_step_bound(space):
    """Celledoni et al. (2021): h <= 2 r / (L |A|^2) with r = 1 for Runge-Kutta 4 keeps distances from growing."""
    field = field_on(space)
    bound = 2 / torch.linalg.matrix_norm(field.A.detach(), 2).item() ** 2
    x, y = (3 * space.random(300, *space.point_shape, dtype=F64, generator=rng(seed)) for seed in (3, 4))
    flow = Flow(field, method="rkmk4", steps=1, t1=0.999 * bound)
    with torch.no_grad():
        assert (space.dist(flow(x), flow(y)) <= space.dist(x, y) * (1 + 1e-10)).all()


def test_euler_expands_beyond_the_step_bound():
    """Where every unit of a relu is active the field is linear, -A'A x, and h > 2 / |A|^2 must expand."""
    field = field_on(Euclidean(1, shape=(4,)), activation="relu")
    with torch.no_grad():
        field.b.fill_(50.0)
    _, values, vh = torch.linalg.svd(field.A.detach())
    x, y = torch.zeros(1, 4, dtype=F64), vh[:1]
    flow = Flow(field, method="lie-euler", steps=1, t1=1.05 * 2 / values[0].item() ** 2)
    grown = (flow(x) - flow(y)).norm().item() / (x - y).norm().item()
    assert grown == pytest.approx(1.1, abs=1e-6)


def test_a_single_harmonic_on_the_circle_is_the_known_flow():
    """V = gamma(a cos y) with gamma = s^2 / 2 at positive s: y' = a^2 sin y cos y while cos y > 0."""
    field = field_on(Circle(), features=1, activation="relu")
    with torch.no_grad():
        field.A.copy_(torch.tensor([[2.0, 0.0]]))
        field.b.zero_()
    y = torch.tensor([0.3, -0.5], dtype=F64)
    assert torch.allclose(field(ZERO, y)[:, 0], 4 * y.sin() * y.cos(), rtol=1e-12, atol=1e-12)
    t = 0.2
    moved = Flow(field, method="rkmk4", steps=40, t1=t)(y)
    assert np.allclose(moved.detach(), np.arctan(np.tan(y.numpy()) * math.exp(4 * t)), atol=1e-7, rtol=1e-7)


def test_a_rotation_is_drawn_to_its_target():
    """V = -<T, R> up to a constant at large b: the flow climbs to the rotation nearest to T."""
    target = SO3().random(3, 3, dtype=F64, generator=rng(5))
    field = field_on(SO3(), features=1, activation="relu")
    with torch.no_grad():
        field.A.copy_(-0.01 * target.reshape(1, 9))
        field.b.fill_(10.0)
    y = SO3().random(20, 3, 3, dtype=F64, generator=rng(6))
    y = y[SO3().dist(y, target) < 2.9]
    with torch.no_grad():
        moved = Flow(field, method="rkmk4", steps=100, t1=100.0)(y)
    assert SO3().dist(moved, target).max() < 1e-4


def test_features_of_compound_spaces_are_those_of_their_parts():
    space = Product([Power(Circle(), 2), SPD("affine-invariant", n=2)])
    y = space.random(3, *space.point_shape, dtype=F64, generator=rng(7))
    angles, matrices = space.split(y)
    value = features_of(space).value(y)
    assert value.shape == (3, features_of(space).size) == (3, 2 * 2 + 3)
    wanted = torch.stack([angles.cos(), angles.sin()], -1).flatten(1)
    assert torch.allclose(value[:, :4], wanted, rtol=1e-12, atol=1e-12)
    assert torch.allclose(value[:, 4:], sym_to_vector(sym_logm(matrices)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", ["affine-invariant", "log-euclidean"])
def test_the_first_points_decide_a_size_that_the_space_does_not_know(metric):
    known = ManifoldGradientFlow(SPD(metric, n=4), features=5, generator=rng(3)).double()
    field = ManifoldGradientFlow(SPD(metric), features=5, generator=rng(3)).double()
    y = SPD(metric).random(2, 4, 4, dtype=F64, generator=rng(4))
    value = field.potential(ZERO, y)
    assert field.A.shape == (5, 10)
    # the late draw is in double, the early one was in single precision, so the numbers differ
    known.load_state_dict(field.state_dict())
    assert torch.equal(known.potential(ZERO, y), value)
    assert torch.equal(known(ZERO, y), field(ZERO, y))
    field(ZERO, y).sum().backward()
    assert field.A.grad.abs().max() > 0


def test_spaces_without_features_are_refused():
    with pytest.raises(ValueError, match="space: "):
        ManifoldGradientFlow(Euclidean(2, shape=(3, 4)))
    with pytest.raises(ValueError, match=r"features: .*0"):
        ManifoldGradientFlow(Circle(), features=0)


def test_from_tangent_lifts_the_tangent_field():
    space = SO3()
    field = ManifoldGradientFlow(space, generator=rng(8)).double()
    y = space.random(4, 3, 3, dtype=F64, generator=rng(9))

    def tangent(t, y):
        return space.action.tangent(field(t, y), y)

    assert torch.allclose(from_tangent(space, tangent)(ZERO, y), field(ZERO, y), atol=1e-14, rtol=1e-14)
    t = torch.tensor([0.0, 1.0], dtype=F64)
    one = odeint(field, y, t, space=space, steps=4)
    two = odeint(from_tangent(space, tangent), y, t, space=space, steps=4)
    assert torch.allclose(one, two, atol=1e-12, rtol=1e-12)


# convex potentials ---------------------------------------------------------------------------------------------------
SPD3 = SPD("affine-invariant", n=3)
CONVEX = {
    "spd-log-trace": (SPD3, "log-trace"),
    "spd-busemann": (SPD3, "busemann"),
    "hyperbolic-busemann": (Hyperbolic(3, -2.0), "busemann"),
    "log-euclidean": (SPD("log-euclidean", n=3), "log-euclidean"),
}
every_convex = pytest.mark.parametrize(("space", "potential"), CONVEX.values(), ids=CONVEX.keys())


def bend(space, field, count=3000):
    """Largest V(midpoint) - (V(x) + V(y)) / 2 over random geodesics."""
    x, y = (space.random(count, *space.point_shape, dtype=F64, generator=rng(seed)) for seed in (10, 11))
    middle = space.geodesic(x, y, 0.5)
    return (field.potential(ZERO, middle) - 0.5 * (field.potential(ZERO, x) + field.potential(ZERO, y))).max().item()


@every_convex
@pytest.mark.parametrize("activation", ["sigmoid", "softplus", "relu"])
def test_potentials_said_to_be_convex_are_so_along_geodesics(space, potential, activation):
    field = field_on(space, activation=activation, potential=potential)
    assert field.is_geodesically_convex
    assert bend(space, field) < 1e-12


def test_potentials_that_are_not_convex_say_so():
    for space in (SPD3, SPD("log-cholesky", n=3), Hyperbolic(3)):
        field = field_on(space, activation="sigmoid")
        assert not field.is_geodesically_convex
        assert bend(space, field) > 0.05
    for space in (Circle(), SO3(), Sphere(3)):
        assert not field_on(space).is_geodesically_convex
    assert not field_on(SPD("log-euclidean", n=3), activation="sigmoid", potential="log-trace").is_geodesically_convex
    assert field_on(Product([Euclidean(1, (2,)), Power(Euclidean(1, (3,)), 2)])).is_geodesically_convex
    concave = Activation(lambda s: -s, lambda s: -0.5 * s**2, -1.0, -1.0)
    assert not field_on(Euclidean(1, (2,)), activation=concave).is_geodesically_convex


@every_convex
def test_exact_flows_of_convex_potentials_never_expand(space, potential):
    field = field_on(space, activation="softplus", potential=potential)
    x, y = (space.random(100, *space.point_shape, dtype=F64, generator=rng(seed)) for seed in (12, 13))
    assert field.nu().item() <= 0
    with torch.no_grad():
        flow = Flow(field, method="rkmk4", steps=6, t1=0.6)
        assert (space.dist(flow(x), flow(y)) <= space.dist(x, y) * (1 + 1e-7)).all()


def test_log_traces_are_what_they_are_called():
    field = field_on(SPD3, features=2, activation="sigmoid", potential="log-trace")
    y = SPD3.random(3, 3, dtype=F64, generator=rng(14))
    C = field.A @ field.A.mT
    scores = torch.stack([torch.trace(c @ y).log() for c in C])
    assert field.A.shape == (2, 3, 3)
    assert torch.allclose(field.potential(ZERO, y), torch.nn.functional.softplus(scores + field.b).sum(), rtol=1e-13)


def test_busemann_functions_are_limits_of_distances():
    """|A| (d(x, ray(t)) - t), whose error falls as 1/t on SPD and exponentially on hyperbolic space."""
    for space, rays in ((SPD3, _spd_ray), (Hyperbolic(3, -2.0), _hyperbolic_ray)):
        field = field_on(space, features=4, activation="sigmoid", potential="busemann")
        A = field.A.detach()
        x = space.random(5, 1, *space.point_shape, dtype=F64, generator=rng(15))
        value = field.scores.value(x[:, 0], A)
        size = A.norm(dim=-1)
        far = [size * (space.dist(x, rays(space, A / size[:, None], t)) - t) for t in (3.0, 6.0, 12.0)]
        twice = [2 * far[1] - far[0], 2 * far[2] - far[1]]  # Richardson
        limit = (4 * twice[1] - twice[0]) / 3
        assert (value - limit).abs().max() < 0.02 * value.abs().max()
        speeds = field.scores.gradient(x[:, 0], A[:1], torch.ones(5, 1, dtype=F64))
        tangent = space.action.tangent(speeds, x[:, 0])
        assert torch.allclose(space.norm(x[:, 0], tangent), size[0].expand(5), rtol=1e-10)


def _spd_ray(space, direction, t):
    return sym_expm(t * sym_from_vector(direction))


def _hyperbolic_ray(space, direction, t):
    o = space.origin(4, dtype=F64)
    return space.expmap(o, torch.cat([torch.zeros_like(direction[:, :1]), t * direction], -1))


def test_busemann_gradients_are_exact_far_out():
    """At the distance 15 from the origin, towards the ray's end and away from it, |grad b| is 1."""
    space = Hyperbolic(3)
    field = field_on(space, features=1, activation="sigmoid", potential="busemann")
    with torch.no_grad():
        field.A.copy_(torch.tensor([[2.0, 0.0, 0.0]]))
    for sign in (15.0, -15.0):
        y = _hyperbolic_ray(space, torch.tensor([[1.0, 0.0, 0.0]], dtype=F64), sign)
        assert field.scores.value(y, field.A).item() == pytest.approx(-2 * sign, rel=1e-12)
        generator = field.scores.gradient(y, field.A, torch.ones(1, 1, dtype=F64))
        # along the ray the lift is the boost of the speed 2 along it
        assert torch.allclose(generator, torch.tensor([[-2.0, 0, 0, 0, 0, 0]], dtype=F64), atol=1e-12)


# symmetry ------------------------------------------------------------------------------------------------------------
def check_equivariance(field, moved, group_element, y):
    """field_{g theta}(g y) = Ad_g field_theta(y), and V_{g theta}(g y) = V_theta(y)."""
    action = field.space.action
    y1 = action.act(group_element, y)
    assert torch.allclose(moved.potential(ZERO, y1), field.potential(ZERO, y), rtol=1e-10, atol=1e-10)
    wanted = action.group.Ad(group_element, field(ZERO, y))
    assert (moved(ZERO, y1) - wanted).abs().max() < 1e-10
    flow, moved_flow = (Flow(f, method="rkmk4", steps=3) for f in (field, moved))
    assert (moved_flow(y1) - action.act(group_element, flow(y))).abs().max() < 1e-10 * y1.abs().max()


def test_flows_on_the_circle_turn_with_their_parameters():
    field = field_on(Circle())
    angle = torch.tensor(0.7, dtype=F64)
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]], dtype=F64)
    y = torch.linspace(-1.5, 1.5, 9, dtype=F64)
    check_equivariance(field, moved_parameters(field, field.A @ turn.T), angle, y)


def test_flows_of_rotations_turn_with_their_parameters():
    field = field_on(SO3())
    g, y = SO3().random(3, 3, dtype=F64, generator=rng(16)), SO3().random(9, 3, 3, dtype=F64, generator=rng(17))
    A = field.A.unflatten(-1, (3, 3))
    check_equivariance(field, moved_parameters(field, (g @ A).flatten(1)), g, y)
    # turns from the right leave the generator as it is
    other = moved_parameters(field, (A @ g).flatten(1))
    assert (other(ZERO, y @ g) - field(ZERO, y)).abs().max() < 1e-12


@pytest.mark.parametrize("potential", potentials_of(SPD3))
def test_flows_of_spd_matrices_move_with_their_parameters(potential):
    """By any g in GL(3), and by rotations for the default, whose features are not invariant under others."""
    field = field_on(SPD3, activation="sigmoid", potential=potential)
    g = torch.randn(3, 3, dtype=F64, generator=rng(18)) + 2 * torch.eye(3, dtype=F64)
    A, b = field.A.detach(), field.b.detach()
    if potential == "log-trace":
        A = torch.linalg.inv(g).mT @ A
    elif potential == "busemann":
        # with g^-T U = U2 R, R' times a lower triangular matrix is one: log R_ii^2 is all that is added
        rates, frames = torch.linalg.eigh(sym_from_vector(A))
        frames, R = torch.linalg.qr(torch.linalg.inv(g).mT @ frames)
        A = sym_to_vector((frames * rates[:, None]) @ frames.mT)
        b = b - 2 * (rates * R.diagonal(dim1=-2, dim2=-1).abs().log()).sum(-1)
    else:
        g = torch.linalg.qr(g)[0]
        A = sym_to_vector(g @ sym_from_vector(A) @ g.T)
    y = SPD3.random(9, 3, 3, dtype=F64, generator=rng(19))
    check_equivariance(field, moved_parameters(field, A, b), g, y)


def test_flows_of_busemann_functions_move_with_their_parameters_on_hyperbolic_space():
    space = Hyperbolic(3, -2.0)
    field = field_on(space, activation="softplus", potential="busemann")
    g = space.action.group.exp(torch.tensor([0.3, -0.5, 0.2, 0.4, 0.1, -0.6], dtype=F64))
    size = field.A.detach().norm(dim=-1, keepdim=True)
    rays = torch.cat([torch.ones_like(size), field.A.detach() / size], -1) @ g.mT
    A = size * rays[:, 1:] / rays[:, :1]
    b = field.b + (size * space.radius * rays[:, :1].log())[:, 0]
    y = space.random(9, 4, dtype=F64, generator=rng(20))
    check_equivariance(field, moved_parameters(field, A, b), g, y)


# constants, time, limits ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("time", ["constant", "piecewise-linear", "piecewise-constant"])
@pytest.mark.parametrize("space", [Euclidean(1, shape=(4,)), SPD("log-euclidean", n=2)], ids=["euclidean", "spd"])
def test_flat_charts_have_the_constants_of_gradient_fields(space, time):
    """No pair of points violates them, and some pair comes close."""
    knots = None if time == "constant" else 3
    field = field_on(space, features=9, activation="strong", time=time, knots=knots)
    chart = field.in_chart()
    assert chart.A is field.A
    values = torch.linalg.svdvals(field.A.detach()).reshape(-1, min(field.A.shape[-2:]))
    assert field.operator_norm().item() == pytest.approx(values.max().item(), rel=1e-12)
    assert field.cocoercivity().item() == pytest.approx(-1 / values.max().item() ** 2, rel=1e-12)
    assert field.nu().item() >= -0.1 * values[:, -1].min().item() ** 2 - 1e-12
    assert field.step_bound() == pytest.approx(2 / values.max().item() ** 2, rel=1e-12)
    for t in (0.0, 0.4, 1.0):
        t = torch.tensor(t, dtype=F64)
        x, y = (space.random(500, *space.point_shape, dtype=F64, generator=rng(seed)) for seed in (21, 22))
        logs = [features_of(space).value(p) for p in (x, y)]
        df, dx = field(t, x) - field(t, y), logs[0] - logs[1]
        product = (df * dx).sum(-1)
        assert (product <= field.cocoercivity() * df.square().sum(-1) + 1e-12).all()
        assert (product <= field.nu() * dx.square().sum(-1) + 1e-12).all()


def test_speeds_and_second_derivatives_stay_below_their_bounds():
    for space, potential in list(CONVEX.values())[:3]:
        field = field_on(space, activation="sigmoid", potential=potential)
        x = space.random(400, *space.point_shape, dtype=F64, generator=rng(23))
        speed = space.norm(x, space.action.tangent(field(ZERO, x), x))
        assert 0.3 * field.speed() < speed.max() < field.speed()
        u = space.random_tangent(x, generator=rng(24))
        u, h = u / space.norm(x, u, keepdim=True), 1e-3
        V = [field.potential(ZERO, space.expmap(x, k * h * u)) for k in (-1, 0, 1)]
        second = (V[0] - 2 * V[1] + V[2]) / h**2
        assert second.min() > -1e-6
        assert 0.1 * field.lipschitz() < second.max() < field.lipschitz()


def test_parameters_change_with_time():
    field = field_on(SPD3, activation="sigmoid", potential="log-trace", time="piecewise-linear", knots=2)
    assert field.A.shape == (2, 7, 3, 3)
    y = SPD3.random(4, 3, 3, dtype=F64, generator=rng(25))
    ends = [moved_parameters(field_on(SPD3, 7, "sigmoid", "log-trace"), field.A[k], field.b[k]) for k in (0, 1)]
    for k, end in enumerate(ends):
        t = torch.tensor(float(k), dtype=F64)
        assert torch.allclose(field(t, y), end(ZERO, y), atol=1e-14)
        assert torch.allclose(field.potential(t, y), end.potential(ZERO, y), atol=1e-14)
    # every sample at its own time
    times = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=F64)
    wanted = torch.stack([ends[int(t)](ZERO, p) for t, p in zip(times, y, strict=True)])
    assert torch.allclose(field(times, y), wanted, atol=1e-14)


@pytest.mark.parametrize("potential", potentials_of(SPD3))
def test_the_first_points_decide_the_size_for_every_potential(potential):
    field = ManifoldGradientFlow(SPD(), 5, "sigmoid", potential, generator=rng(3)).double()
    y = SPD().random(2, 4, 4, dtype=F64, generator=rng(4))
    value = field.potential(ZERO, y)
    known = ManifoldGradientFlow(SPD(n=4), 5, "sigmoid", potential).double()
    known.load_state_dict(field.state_dict())
    assert torch.equal(known.potential(ZERO, y), value)
    assert torch.equal(known(ZERO, y), field(ZERO, y))


@pytest.mark.parametrize(
    ("space", "potential", "activation"),
    [
        pytest.param(SPD3, "log-trace", "sigmoid", id="spd-log-trace"),
        pytest.param(SPD3, "default", "tanh", id="spd", marks=pytest.mark.slow),
        pytest.param(SO3(), "default", "tanh", id="so3"),
        pytest.param(Circle(), "default", "tanh", id="circle"),
    ],
)
def test_a_thousand_layers_stay_on_the_space_and_the_potential_never_rises(space, potential, activation):
    field = field_on(space, activation=activation, potential=potential)
    h = field.step_bound() if potential == "log-trace" else 0.02
    y = space.random(3, *space.point_shape, dtype=F64, generator=rng(26))
    with torch.no_grad():
        path = odeint(field, y, h * torch.arange(1001, dtype=F64), space=space, method="geodesic-euler", steps=1)
    scale = path.abs().amax()
    assert (space.projx(path) - path).abs().max() < 1e-12 * scale
    assert space.check_point_on_manifold(path, explain=True) == (True, None)
    falls = field.potential(ZERO, path).diff(dim=0)
    assert (falls <= 1e-13).all()
    assert (falls.sum(0) < -0.01).all()


def test_potentials_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"potential: .*SPD.*'log-trace'.*'convex'"):
        ManifoldGradientFlow(SPD3, potential="convex")
    with pytest.raises(ValueError, match=r"potential: Circle.*'default', got 'busemann'"):
        ManifoldGradientFlow(Circle(), potential="busemann")
    with pytest.raises(ValueError, match=r"potential: .*'log-euclidean'"):
        ManifoldGradientFlow(SPD("bures-wasserstein", n=3), potential="log-euclidean")
    for activation in ("tanh", "leaky-relu", "strong", "identity"):
        with pytest.raises(ValueError, match=rf"activation: .*'busemann'.*'{activation}'"):
            ManifoldGradientFlow(SPD3, activation=activation, potential="busemann")
    with pytest.raises(ValueError, match=r"knots: "):
        ManifoldGradientFlow(SPD3, time="piecewise-linear")
    with pytest.raises(ValueError, match=r"nu: .*SO3.*not geodesically convex"):
        field_on(SO3()).nu()
    with pytest.raises(ValueError, match=r"potential: .*no flat chart"):
        field_on(SPD3, activation="sigmoid", potential="log-trace").cocoercivity()
    with pytest.raises(ValueError, match=r"space: .*no size yet"):
        ManifoldGradientFlow(SPD("log-euclidean")).nu()
