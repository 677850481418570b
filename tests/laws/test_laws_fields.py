"""Laws of the fields on manifolds, on every registered space and for every potential that it has."""

import pytest
import torch
from law_cases import F64, SPACES, both_precisions, close, coordinates, every_space, points, rng, singular_points

from manifoldnet.fields import ACTIVATIONS, ManifoldGradientFlow
from manifoldnet.fields.manifold_hamiltonian import ManifoldHamiltonian
from manifoldnet.fields.potentials import potentials_of
from manifoldnet.integrators import METHODS
from manifoldnet.nn import Flow

NONNEGATIVE = ("sigmoid", "softplus", "relu")
CASES = [(name, potential) for name, space in SPACES.items() for potential in potentials_of(space)]
# "log-euclidean" is the default wherever it is offered
CASES = [case for case in CASES if case[1] != "log-euclidean"]
IDS = ["-".join(case) for case in CASES]
every_case = pytest.mark.parametrize(("space", "potential"), [(SPACES[n], p) for n, p in CASES], ids=IDS)


def every_activation(slow=()):
    """Every case with every activation that it takes, some of them with -m slow."""
    return pytest.mark.parametrize(
        ("space", "potential", "activation"),
        [
            pytest.param(
                SPACES[name], potential, activation, id=f"{name}-{potential}-{activation}",
                marks=pytest.mark.slow if activation in slow else (),
            )
            for name, potential in CASES
            for activation in (ACTIVATIONS if potential == "default" else NONNEGATIVE)
        ],
    )  # fmt: skip


ZERO = torch.zeros((), dtype=F64)


def gradient_flow(space, potential="default", activation=None, seed=60):
    activation = activation or ("tanh" if potential == "default" else "sigmoid")
    return ManifoldGradientFlow(space, 5, activation, potential, generator=rng(seed)).double()


def hamiltonian(space):
    return ManifoldHamiltonian(space, features=5, generator=rng(64)).double()


def moving(field, *batch):
    """Random points of the tangent bundle."""
    x = points(field.base, *batch)
    return field.start(x, 0.5 * field.base.random_tangent(x, generator=rng(65)))


@every_activation()
def test_generator_is_minus_the_riemannian_gradient(space, potential, activation):
    """d/de V(exp(e w).y) = -<tangent of f(y), tangent of w> for every generator w."""
    field, y = gradient_flow(space, potential, activation), points(space, 8)
    f = field(ZERO, y)
    assert f.shape == (8, space.action.group.dim)
    for seed in (61, 62, 63):
        w, e = coordinates(space.action.group, 8, seed=seed), 1e-5
        difference = field.potential(ZERO, space.action.act_exp(e * w, y)) - field.potential(
            ZERO, space.action.act_exp(-e * w, y)
        )
        inner = space.inner(y, space.action.tangent(f, y), space.action.tangent(w, y))
        close(difference / (2 * e), -inner, 1e-7)


@every_case
def test_potential_falls_as_fast_as_the_gradient_is_long(space, potential):
    """dV/dt = -|grad V|^2 along the flow, by autograd through one step of length 0."""
    field, y = gradient_flow(space, potential), points(space, 8)
    f = field(ZERO, y).detach()
    h = torch.zeros(8, 1, dtype=F64, requires_grad=True)
    field.potential(ZERO, space.action.act_exp(h * f, y)).sum().backward()
    close(h.grad.squeeze(-1), -space.inner(y, space.action.tangent(f, y)).detach(), 1e-10)


@every_activation(slow=[name for name in ACTIVATIONS if name not in ("tanh", "sigmoid")])
def test_potential_falls_along_the_steps_of_a_flow(space, potential, activation):
    field, y = gradient_flow(space, potential, activation), points(space, 8)
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


@pytest.mark.slow
@every_case
def test_a_thousand_steps_stay_on_the_space(space, potential):
    with torch.no_grad():
        y = Flow(gradient_flow(space, potential), method="lie-euler", steps=1000, t1=20.0)(points(space, 2))
    assert space.check_point_on_manifold(y, explain=True) == (True, None)
    close(space.projx(y), y, 1e-12)


@every_case
@both_precisions
def test_gradients_are_finite_at_singular_points(space, potential, dtype):
    field = gradient_flow(space, potential).to(dtype)
    y = singular_points(space, dtype).requires_grad_()
    value = Flow(field, method="rkmk4", steps=2)(y)
    assert value.dtype is dtype
    value.square().sum().backward()
    for leaf in (y, *field.parameters()):
        assert leaf.grad.isfinite().all()


@every_case
def test_flow_matches_differences_in_parameters_and_start(space, potential):
    field = gradient_flow(space, potential)
    v = coordinates(space.action.group, scale=0.3).requires_grad_()
    y = points(space)
    flow = Flow(field, method="rkmk4", steps=2)

    def moved(v, a, b):
        return torch.func.functional_call(flow, {"field.A": a, "field.b": b}, (space.action.act_exp(v, y),))

    assert torch.autograd.gradcheck(moved, (v, field.A, field.b), fast_mode=True)


@every_case
def test_checkpoint_gives_the_same_gradient(space, potential):
    results = []
    for mode in ("autograd", "checkpoint"):
        field = gradient_flow(space, potential)
        y = points(space, 3).requires_grad_()
        value = Flow(field, method="rkmk4", steps=3, gradient=mode)(y)
        value.square().sum().backward()
        results.append((value.detach(), y.grad, field.A.grad, field.b.grad))
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


@every_case
def test_vmap_gives_the_batched_field(space, potential):
    field, y = gradient_flow(space, potential), points(space, 4)
    close(torch.vmap(lambda p: field(ZERO, p))(y), field(ZERO, y), 1e-13)
    close(torch.vmap(lambda p: field.potential(ZERO, p))(y), field.potential(ZERO, y), 1e-13)


@every_case
def test_a_generator_decides_the_initial_parameters(space, potential):
    before = torch.get_rng_state()
    one, two, other = (
        gradient_flow(space, potential),
        gradient_flow(space, potential),
        gradient_flow(space, potential, seed=1),
    )
    assert torch.equal(one.A, two.A)
    assert torch.equal(one.b, two.b)
    assert not torch.equal(one.A, other.A)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_case
def test_flow_runs_on_cuda(space, potential):
    field, y = gradient_flow(space, potential), points(space, 4)
    flow = Flow(field, method="rkmk4", steps=2)
    wanted = flow(y).detach()
    close(flow.cuda()(y.cuda()).detach().cpu(), wanted, 1e-11)


# on tangent bundles --------------------------------------------------------------------------------------------------
@every_space
def test_hamiltonian_generators_are_the_derivatives_of_the_flows_of_their_parts(space):
    field = hamiltonian(space)
    y, action, h = moving(field, 4), field.space.action, torch.tensor(1e-4, dtype=F64)
    for part in field.parts:
        difference = part.flow(ZERO, h, y, action) - part.flow(ZERO, -h, y, action)
        difference = field.space.join([_unwound(space, z) for z in field.space.split(difference)])
        close(difference / (2 * h), action.tangent(part(ZERO, y), y), 2e-7)
    close(field(ZERO, y), sum(part(ZERO, y) for part in field.parts), 1e-14)


def _unwound(space, difference):
    """Differences of angles without turns; those of everything else are small."""
    turns = torch.round(difference / (2 * torch.pi))
    return difference - 2 * torch.pi * turns


@every_space
def test_energy_is_constant_along_hamiltonian_fields(space):
    field = hamiltonian(space)
    y, e = moving(field, 8), 1e-5
    f = field(ZERO, y)
    ends = [field.hamiltonian(ZERO, field.space.action.act_exp(s * e * f, y)) for s in (1, -1)]
    change = (ends[0] - ends[1]) / (2 * e)
    kick = field.hamiltonian(ZERO, field.space.action.act_exp(e * field.parts[0](ZERO, y), y)) - ends[1]
    assert change.abs().max() < 1e-8 * max(1.0, field.hamiltonian(ZERO, y).abs().max().item())
    assert (kick / e).abs().max() > 1e-3  # kick and motion alone do change it


@every_space
def test_kick_geodesic_kick_is_reversible(space):
    field = hamiltonian(space)
    y, h = moving(field, 4), torch.tensor(0.1, dtype=F64)
    step, action = METHODS["strang"].step, field.space.action
    close(step(field, action, h, -h, step(field, action, ZERO, h, y)), y, 1e-11)


@every_space
@both_precisions
def test_hamiltonian_flows_have_finite_gradients_at_singular_points(space, dtype):
    field = hamiltonian(space).to(dtype)
    x = singular_points(space, dtype)
    v = 0.1 * space.random_tangent(x, generator=rng(66))
    y = field.start(x, v * (torch.arange(len(x)) > 0).to(dtype)[(...,) + (None,) * space.ndim]).requires_grad_()
    value = Flow(field, method="strang", steps=2, t1=0.2)(y)
    assert value.dtype is dtype
    value.square().sum().backward()
    for leaf in (y, *field.parameters()):
        assert leaf.grad.isfinite().all()


@every_space
def test_vmap_gives_the_batched_hamiltonian_field(space):
    field = hamiltonian(space)
    y = moving(field, 3)
    close(torch.vmap(lambda p: field(ZERO, p))(y), field(ZERO, y), 1e-12)
    step, action, h = METHODS["strang"].step, field.space.action, torch.tensor(0.1, dtype=F64)
    close(torch.vmap(lambda p: step(field, action, ZERO, h, p))(y), step(field, action, ZERO, h, y), 1e-11)
