import math

import numpy as np
import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Euclidean, Power, Product, odeint
from manifoldnet.fields import ACTIVATIONS, ManifoldGradientFlow, from_tangent
from manifoldnet.fields.features import features_of
from manifoldnet.linalg import sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.nn import Flow

F64 = torch.float64
ZERO = torch.zeros((), dtype=F64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def field_on(space, features=7, activation="tanh", seed=0):
    return ManifoldGradientFlow(space, features, activation, generator=rng(seed)).double()


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
