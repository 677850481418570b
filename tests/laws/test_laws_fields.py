"""Laws of the structured fields, on every registered space."""

import pytest
import torch
from law_cases import F64, both_precisions, close, coordinates, every_space, points, rng, singular_points

from manifoldnet.fields import ACTIVATIONS, ManifoldGradientFlow
from manifoldnet.nn import Flow

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
ZERO = torch.zeros((), dtype=F64)


def gradient_flow(space, activation="tanh", seed=60):
    return ManifoldGradientFlow(space, features=5, activation=activation, generator=rng(seed)).double()


@every_space
@every_activation
def test_generator_is_minus_the_riemannian_gradient(space, activation):
    """d/de V(exp(e w).y) = -<tangent of f(y), tangent of w> for every generator w."""
    field, y = gradient_flow(space, activation), points(space, 8)
    f = field(ZERO, y)
    assert f.shape == (8, space.action.group.dim)
    for seed in (61, 62, 63):
        w, e = coordinates(space.action.group, 8, seed=seed), 1e-5
        difference = field.potential(ZERO, space.action.act_exp(e * w, y)) - field.potential(
            ZERO, space.action.act_exp(-e * w, y)
        )
        inner = space.inner(y, space.action.tangent(f, y), space.action.tangent(w, y))
        close(difference / (2 * e), -inner, 1e-7)


@every_space
def test_potential_falls_as_fast_as_the_gradient_is_long(space):
    """dV/dt = -|grad V|^2 along the flow, by autograd through one step of length 0."""
    field, y = gradient_flow(space), points(space, 8)
    f = field(ZERO, y).detach()
    h = torch.zeros(8, 1, dtype=F64, requires_grad=True)
    field.potential(ZERO, space.action.act_exp(h * f, y)).sum().backward()
    close(h.grad.squeeze(-1), -space.inner(y, space.action.tangent(f, y)).detach(), 1e-10)


@every_space
@every_activation
def test_potential_falls_along_the_steps_of_a_flow(space, activation):
    field, y = gradient_flow(space, activation), points(space, 8)
    flow = Flow(field, method="rkmk4", steps=1, t1=0.02)
    values = [field.potential(ZERO, y)]
    for _ in range(20):
        y = flow(y)
        values.append(field.potential(ZERO, y))
    falls = torch.stack(values).diff(dim=0)
    assert (falls <= 1e-14).all()
    moving = space.norm(y, space.action.tangent(field(ZERO, y), y)) > 1e-3  # relus may all be off
    assert moving.any()
    assert (values[-1] < values[0])[moving].all()


@every_space
def test_a_thousand_steps_stay_on_the_space(space):
    with torch.no_grad():
        y = Flow(gradient_flow(space), method="lie-euler", steps=1000, t1=20.0)(points(space, 2))
    assert space.check_point_on_manifold(y, explain=True) == (True, None)
    close(space.projx(y), y, 1e-12)


@every_space
@both_precisions
def test_gradients_are_finite_at_singular_points(space, dtype):
    field = gradient_flow(space).to(dtype)
    y = singular_points(space, dtype).requires_grad_()
    value = Flow(field, method="rkmk4", steps=2)(y)
    assert value.dtype is dtype
    value.square().sum().backward()
    for leaf in (y, *field.parameters()):
        assert leaf.grad.isfinite().all()


@every_space
def test_flow_matches_differences_in_parameters_and_start(space):
    field = gradient_flow(space)
    v = coordinates(space.action.group, scale=0.3).requires_grad_()
    y = points(space)
    flow = Flow(field, method="rkmk4", steps=2)

    def moved(v, a, b):
        return torch.func.functional_call(flow, {"field.A": a, "field.b": b}, (space.action.act_exp(v, y),))

    assert torch.autograd.gradcheck(moved, (v, field.A, field.b), fast_mode=True)


@every_space
def test_checkpoint_gives_the_same_gradient(space):
    results = []
    for mode in ("autograd", "checkpoint"):
        field = gradient_flow(space)
        y = points(space, 3).requires_grad_()
        value = Flow(field, method="rkmk4", steps=3, gradient=mode)(y)
        value.square().sum().backward()
        results.append((value.detach(), y.grad, field.A.grad, field.b.grad))
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


@every_space
def test_vmap_gives_the_batched_field(space):
    field, y = gradient_flow(space), points(space, 4)
    close(torch.vmap(lambda p: field(ZERO, p))(y), field(ZERO, y), 1e-13)
    close(torch.vmap(lambda p: field.potential(ZERO, p))(y), field.potential(ZERO, y), 1e-13)


@every_space
def test_a_generator_decides_the_initial_parameters(space):
    before = torch.get_rng_state()
    one, two, other = gradient_flow(space), gradient_flow(space), gradient_flow(space, seed=1)
    assert torch.equal(one.A, two.A)
    assert torch.equal(one.b, two.b)
    assert not torch.equal(one.A, other.A)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_space
def test_flow_runs_on_cuda(space):
    field, y = gradient_flow(space), points(space, 4)
    flow = Flow(field, method="rkmk4", steps=2)
    wanted = flow(y).detach()
    close(flow.cuda()(y.cuda()).detach().cpu(), wanted, 1e-11)
