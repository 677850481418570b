import copy

import geoopt
import pytest
import torch
from descent_cases import (
    F64,
    closure_of,
    every_space,
    every_space_few_quickly,
    never_rises,
    random_parameter,
    rng,
    waves,
)
from scipy.integrate import solve_ivp
from scipy.linalg import eigh, orthogonal_procrustes
from scipy.optimize import brentq
from torch import nn

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPACES, SPD, Sphere, Stiefel
from manifoldnet.training.discrete_gradient_descent import DiscreteGradientDescent
from manifoldnet.training.newton_krylov import gmres

KINDS = ("gonzalez", "mean-value")
both_kinds = pytest.mark.parametrize("kind", KINDS)
both_kinds_one_quickly = pytest.mark.parametrize(
    "kind", ["gonzalez", pytest.param("mean-value", marks=pytest.mark.slow)]
)
# not all of both products, for the sake of time
kinds_and_precisions = pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param("gonzalez", F64, id="gonzalez-f64"),
        pytest.param("mean-value", torch.float32, id="mean-value-f32", marks=pytest.mark.slow),
    ],
)
STEPS = (1e-3, 1.0, 1e3)
every_step = pytest.mark.parametrize("tau", STEPS)


def descend(parameters, function, kind, tau, steps):
    """The losses before, between and after the steps, and the optimiser."""
    optimiser = DiscreteGradientDescent(parameters, lr=tau, discrete_gradient=kind)
    closure = closure_of(optimiser, function)
    losses = [optimiser.step(closure).item() for _ in range(steps)]
    return [*losses, function().item()], optimiser


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def at_start(*values):
    return torch.tensor(values, dtype=F64, requires_grad=True)


@both_kinds
@pytest.mark.parametrize("tau", [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e3])
def test_convex_quadratics_in_closed_form(kind, tau):
    """(I + tau A/2) x+ = (I - tau A/2) x, the implicit midpoint rule."""
    m = torch.randn(6, 6, dtype=F64, generator=rng(0))
    A = m @ m.T
    x = torch.randn(6, dtype=F64, generator=rng(1)).requires_grad_()
    start = x.detach().clone()
    losses, optimiser = descend([x], lambda: 0.5 * x @ A @ x, kind, tau, 1)
    eye = torch.eye(6, dtype=F64)
    wanted = torch.linalg.solve(eye + 0.5 * tau * A, (eye - 0.5 * tau * A) @ start)
    torch.testing.assert_close(x.detach(), wanted, rtol=0, atol=1e-11)
    assert optimiser.solved
    assert losses[1] - losses[0] == pytest.approx(
        -(x.detach() - start).square().sum().item() / tau, abs=1e-12 * losses[0]
    )


@both_kinds_one_quickly
@pytest.mark.parametrize("tau", [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e3])
def test_rosenbrocks_function_falls_by_the_law_of_dissipation(kind, tau):
    x = at_start(-1.2, 1.0)
    optimiser = DiscreteGradientDescent([x], lr=tau, discrete_gradient=kind)
    closure = closure_of(optimiser, lambda: rosenbrock(x))
    for _ in range(6):
        before, at = x.detach().clone(), optimiser.step(closure).item()
        after = rosenbrock(x).item()
        assert after < at
        assert after - at == pytest.approx(-(x.detach() - before).square().sum().item() / tau, abs=1e-12)


@both_kinds
@pytest.mark.parametrize("tau", [0.1, 20.0])
def test_of_one_variable_every_discrete_gradient_is_the_difference_quotient(kind, tau):
    def function(x):
        return 0.25 * x**4 + 0.5 * x**2 - x

    x = at_start(2.0)
    descend([x], lambda: function(x[0]), kind, tau, 1)

    def equation(y):
        # (E(y) - E(x)) / (y - x) of a polynomial, with the factor divided out
        quotient = 0.25 * sum(y**k * 2.0 ** (3 - k) for k in range(4)) + 0.5 * (y + 2.0) - 1
        return y - 2.0 + tau * quotient

    assert x.item() == pytest.approx(brentq(equation, -5, 5, xtol=1e-14), abs=1e-11)


def test_the_equation_of_a_solved_step_holds():
    """x+ = x - tau g(x, x+) with the discrete gradients of the integrators, an independent implementation."""
    from manifoldnet.integrators.discrete_gradients import gonzalez, mean_value

    def function(x):
        return (0.3 * x**4 - x**2).sum(-1) + (x[..., 0] * x[..., 1]).sin() + x[..., 2] ** 2 * x[..., 0] ** 2

    for kind, g in (("gonzalez", gonzalez), ("mean-value", mean_value)):
        for tau in (0.1, 1.0):
            x = at_start(1.0, 0.5, -0.7)
            start = x.detach().clone()
            _, optimiser = descend([x], lambda x=x: function(x), kind, tau, 1)
            assert optimiser.solved
            # the quadrature with 4 nodes is not exact for the sine
            tolerance = 1e-11 if kind == "gonzalez" else 1e-5
            residual = x.detach() - start + tau * g(function, start, x.detach())
            assert residual.abs().max().item() < tolerance


@both_kinds_one_quickly
def test_the_step_is_of_second_order_to_the_gradient_flow(kind):
    def function(x):
        return (0.25 * x.pow(4) + x).sum() + x[0] * x[1]

    slope = torch.func.grad(function)
    flow = solve_ivp(lambda t, x: -slope(torch.from_numpy(x)).numpy(), (0, 1), [1.0, 0.5], rtol=1e-10, atol=1e-10)
    errors = []
    for n in (8, 16):
        x = at_start(1.0, 0.5)
        descend([x], lambda x=x: function(x), kind, 1 / n, n)
        errors.append((x.detach() - torch.from_numpy(flow.y[:, -1])).norm().item())
    assert 3.2 < errors[0] / errors[1] < 4.8


class Net(nn.Module):
    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 8), activation, nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)


@kinds_and_precisions
@every_step
@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()], ids=["tanh", "relu"])
def test_the_loss_of_a_network_never_rises(activation, tau, kind, dtype):
    """With ReLU the loss has kinks, where Newton's method may fail."""
    net = Net(activation).to(dtype)
    data = torch.randn(40, 2, generator=rng(2)).to(dtype)
    target = (data[:, :1] * data[:, 1:]).sign()
    losses, optimiser = descend(net.parameters(), lambda: (net(data) - target).square().mean(), kind, tau, 2)
    assert never_rises(losses)
    assert losses[-1] < losses[0]
    counts = optimiser.state[next(net.parameters())]
    assert counts["steps"] == 2
    assert 0 <= counts["fallbacks"] <= 2


@kinds_and_precisions
@every_step
@every_space_few_quickly
def test_the_loss_never_rises_on_any_space(space, tau, kind, dtype):
    x, function = random_parameter(space, dtype=dtype), waves(space, dtype)
    losses, _ = descend([x], lambda: function(x), kind, tau, 2)
    assert never_rises(losses)
    assert losses[-1] < losses[0]
    tight = 1e-4 if dtype == torch.float32 else 1e-10
    assert space.check_point_on_manifold(x.detach(), explain=True, atol=tight, rtol=tight) == (True, None)
    assert x.dtype == dtype


@both_kinds_one_quickly
@every_space_few_quickly
def test_dissipation_is_the_squared_length_of_the_step(space, kind):
    """E(x+) - E(x) = -|v|^2 / tau with x+ = R_x(v), found from x+ by Newton's method on the basis of the space."""
    tau, function = 0.3, waves(space)
    x = random_parameter(space)
    start = x.detach().clone()
    losses, optimiser = descend([x], lambda: function(x), kind, tau, 1)
    assert optimiser.solved
    basis, flat = space.orthonormal_basis(start), (...,) + (None,) * space.ndim

    def point(c):
        return space.retr(start, (c[flat] * basis).sum(0)).flatten()

    c = torch.zeros(space.dim, dtype=F64)
    for _ in range(30):
        c = c - torch.linalg.pinv(torch.func.jacrev(point)(c)) @ (point(c) - x.detach().flatten())
    assert (point(c) - x.detach().flatten()).norm() < 1e-12
    assert losses[1] - losses[0] == pytest.approx(-c.square().sum().item() / tau, abs=1e-11)


@both_kinds_one_quickly
@every_space_few_quickly
def test_a_small_step_is_one_of_riemannian_gradient_descent(space, kind):
    tau, function = 1e-5, waves(space)
    x = random_parameter(space)
    start = x.detach().clone()
    descend([x], lambda: function(x), kind, tau, 1)
    gradient = space.egrad2rgrad(start, torch.func.grad(function)(start))
    length = space.norm(start, gradient)
    found = space.logmap(start, x.detach()) / tau
    assert (space.norm(start, found + gradient) / length).item() < 1e-3


def rayleigh():
    m = torch.randn(5, 5, dtype=F64, generator=rng(3))
    A, space = m + m.T, Sphere(5)
    x = geoopt.ManifoldParameter(space.random(5, dtype=F64, generator=rng(4)), manifold=space)
    return x, lambda: x @ A @ x, A


def mean_of_matrices():
    space = SPD(n=3)
    data = space.random(5, 3, 3, dtype=F64, generator=rng(5))
    x = geoopt.ManifoldParameter(torch.eye(3, dtype=F64), manifold=space)
    return x, lambda: 0.5 * space.dist2(x, data).mean(), data


def procrustes(space):
    A = torch.randn(8, space.point_shape[0], dtype=F64, generator=rng(6))
    truth = space.random(*space.point_shape, dtype=F64, generator=rng(7))
    near = space.expmap(truth, 0.8 * space.random_tangent(truth, generator=rng(8)))
    x = geoopt.ManifoldParameter(near, manifold=space)
    return x, lambda: (A @ (x - truth)).square().mean(), (A, A @ truth)


PROBLEMS = {
    "rayleigh": rayleigh,
    "mean": mean_of_matrices,
    "procrustes-so3": lambda: procrustes(SO3()),
    "procrustes-o3": lambda: procrustes(Stiefel(3, 3)),
    "procrustes-stiefel": lambda: procrustes(Stiefel(5, 2)),
}


@both_kinds_one_quickly
@pytest.mark.parametrize("tau", [1e-3, 1e3])
@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_problems_on_manifolds_never_rise(make, tau, kind):
    x, function, _ = make()
    losses, _ = descend([x], function, kind, tau, 2)
    assert never_rises(losses)
    assert losses[-1] < losses[0]


def test_rayleighs_quotient_leads_to_the_least_eigenvalue():
    x, function, A = rayleigh()
    losses, _ = descend([x], function, "gonzalez", 0.5, 25)
    values, vectors = eigh(A.numpy())
    assert never_rises(losses)
    assert losses[-1] == pytest.approx(values[0], abs=1e-9)
    assert abs(vectors[:, 0] @ x.detach().numpy()) == pytest.approx(1, abs=1e-9)


def test_the_mean_of_matrices_is_found():
    x, function, data = mean_of_matrices()
    descend([x], function, "gonzalez", 1.5, 5)
    assert SPD(n=3).dist(x.detach(), SPD(n=3).frechet_mean(data)).item() < 1e-3


@pytest.mark.parametrize(
    "space", [pytest.param(SO3(), id="so3", marks=pytest.mark.slow), pytest.param(Stiefel(3, 3), id="o3")]
)
def test_procrustes_problem_has_the_solution_of_scipy(space):
    x, function, (A, B) = procrustes(space)
    losses, _ = descend([x], function, "gonzalez", 2.0, 12)
    assert never_rises(losses)
    wanted = torch.from_numpy(orthogonal_procrustes(A.numpy(), B.numpy())[0])
    torch.testing.assert_close(x.detach(), wanted, rtol=0, atol=1e-3)


@both_kinds_one_quickly
@every_space
def test_at_a_minimum_with_repeated_eigenvalues_nothing_moves(space, kind):
    plain = space.origin(*space.point_shape, dtype=F64)
    x = geoopt.ManifoldParameter(plain.clone(), manifold=space)
    losses, _ = descend([x], lambda: space.dist2(x, plain), kind, 1.0, 2)
    assert losses == [0.0, 0.0, 0.0]
    torch.testing.assert_close(x.detach(), plain, rtol=0, atol=1e-14)


@both_kinds
def test_groups_have_their_own_steps(kind):
    """E(x+) - E(x) is minus the sum of |x+ - x|^2 / tau over the groups, plain and on manifolds."""
    sphere = SPACES["sphere"]
    r, q = random_parameter(sphere), at_start(1.0, -2.0)
    optimiser = DiscreteGradientDescent([{"params": [r], "lr": 0.2}, {"params": [q]}], lr=0.05, discrete_gradient=kind)
    before = r.detach().clone(), q.detach().clone()

    def function():
        return (q[0] * r[0] + q[1] * r[1] - 3.0) ** 2 + q.square().sum()

    loss = optimiser.step(closure_of(optimiser, function))
    assert optimiser.solved
    # R_x(v) = (x + v) / |x + v| on the sphere
    cosine = before[0] @ r.detach()
    v = r.detach() / cosine - before[0]
    dissipated = v.square().sum() / 0.2 + (q.detach() - before[1]).square().sum() / 0.05
    assert function().item() - loss.item() == pytest.approx(-dissipated.item(), abs=1e-12)


def test_where_newton_fails_the_step_still_dissipates_and_the_state_says_so():
    """|x| has no solution of the equation but the one that lands beyond the kink, or none that is smooth."""
    x = at_start(0.3, -1.0, 2.0)
    tau, failures = 10.0, 0
    optimiser = DiscreteGradientDescent([x], lr=tau)
    closure = closure_of(optimiser, lambda: (x.abs() * torch.tensor([1.0, 3.0, 0.2], dtype=F64)).sum())
    for _ in range(10):
        before, at = x.detach().clone(), optimiser.step(closure).item()
        after = closure().item()
        assert after <= at
        assert after - at == pytest.approx(-(x.detach() - before).square().sum().item() / tau, abs=1e-12)
        failures += not optimiser.solved
    assert failures > 0
    assert optimiser.state[x] == {"solved": optimiser.solved, "steps": 10, "fallbacks": failures}


@both_kinds
def test_values_that_are_not_finite_are_avoided(kind):
    """Beyond x = 1 there is no loss, and the first Newton step goes there."""
    x = at_start(0.0)
    losses, _ = descend([x], lambda: ((1 - x) * (1 - x).log()).sum(), kind, 1e3, 5)
    assert never_rises(losses)
    assert losses[-1] < 0
    assert 0 < x.item() < 1


def test_parameters_without_influence_stay():
    x, y = at_start(1.0), at_start(2.0)
    losses, _ = descend([x, y], lambda: x.square().sum(), "gonzalez", 1.0, 1)
    assert y.item() == 2.0
    assert losses[1] < losses[0]


def test_a_saved_state_counts_on():
    x = at_start(-1.2, 1.0)
    _, first = descend([x], lambda: rosenbrock(x), "gonzalez", 1.0, 5)
    y = x.detach().clone().requires_grad_()
    second = DiscreteGradientDescent([y], lr=7.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]["lr"] == 1.0
    assert second.state[y] == first.state[x]
    second.step(closure_of(second, lambda: rosenbrock(y)))
    assert second.state[y]["steps"] == 6


def test_gmres_solves_linear_equations_without_a_matrix():
    A = torch.randn(30, 30, dtype=F64, generator=rng(9)) + 3 * torch.eye(30, dtype=F64)
    b = torch.randn(30, dtype=F64, generator=rng(10))
    x = gmres(lambda v: A @ v, b, tolerance=1e-13)
    torch.testing.assert_close(x, torch.linalg.solve(A, b), rtol=0, atol=1e-11)
    assert torch.equal(gmres(lambda v: A @ v, torch.zeros(30, dtype=F64)), torch.zeros(30, dtype=F64))


def test_bad_options_are_named():
    x = at_start(1.0)
    with pytest.raises(InputError, match=r"lr: .*0"):
        DiscreteGradientDescent([x], lr=0.0)
    with pytest.raises(InputError, match=r"discrete_gradient: .*'itoh'"):
        DiscreteGradientDescent([x], discrete_gradient="itoh")
    mixed = DiscreteGradientDescent([x, torch.ones(2, requires_grad=True)])
    with pytest.raises(InputError, match=r"params: .*dtype"):
        mixed.step(closure_of(mixed, lambda: x.square().sum()))
    optimiser = DiscreteGradientDescent([x])
    with pytest.raises(InputError, match=r"closure: .*float"):
        optimiser.step(lambda: 1.0)
