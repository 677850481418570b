import copy
import math

import geoopt
import pytest
import torch
from descent_cases import F64, every_space, every_space_few_quickly, random_parameter, rng, run, waves
from scipy.integrate import solve_ivp
from torch.func import jacfwd, jacrev, jvp

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SPACES
from manifoldnet.training.conformal import ConformalDescent
from manifoldnet.training.kick_drift import drifted, kicked

both_schemes = pytest.mark.parametrize("leapfrog", [False, True], ids=["euler", "leapfrog"])


def loss(q):
    """Not quadratic, bounded below."""
    return 0.25 * q.pow(4).sum() + (q[:-1] * q[1:]).sum().cos() + 0.5 * (q - 0.3).square().sum()


def canonical(d):
    eye, zero = torch.eye(d, dtype=F64), torch.zeros(d, d, dtype=F64)
    return torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])


@pytest.mark.parametrize(("h", "gamma"), [(0.05, 0.0), (0.1, 1.0), (0.3, 2.5)])
def test_heavy_ball_is_sgd_with_momentum_step_for_step(h, gamma):
    start = torch.randn(7, dtype=F64, generator=rng(0))
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    a = run(ours, ConformalDescent([ours], lr=h, friction=gamma), loss, 60)
    b = run(theirs, torch.optim.SGD([theirs], lr=h**2, momentum=math.exp(-gamma * h)), loss, 60)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_the_leapfrog_is_a_heavy_ball_up_to_its_first_step():
    h, gamma = 0.2, 0.7
    mu = math.exp(-gamma * h)
    x = torch.randn(4, dtype=F64, generator=rng(0), requires_grad=True)
    a = run(x, ConformalDescent([x], lr=h, friction=gamma, leapfrog=True), loss, 50)
    # q_k+1 = q_k + mu (q_k - q_k-1) - h^2 (1 + mu)/2 grad E(q_k)
    slope = torch.func.vmap(torch.func.grad(loss))(a[1:-1])
    wanted = a[1:-1] + mu * (a[1:-1] - a[:-2]) - 0.5 * h**2 * (1 + mu) * slope
    torch.testing.assert_close(a[2:], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("leapfrog", "order"), [(False, 1), (True, 2)])
def test_the_order_is_that_of_the_scheme(leapfrog, order):
    gamma, start = 0.5, torch.tensor([1.0, -0.5, 0.2], dtype=F64)

    def right(t, y):
        q = torch.from_numpy(y[:3])
        return [*y[3:], *(-torch.func.grad(loss)(q).numpy() - gamma * y[3:])]

    exact = solve_ivp(right, (0, 1), [*start.tolist(), 0, 0, 0], rtol=1e-12, atol=1e-12).y[:3, -1]
    errors = []
    for n in (40, 80):
        x = start.clone().requires_grad_()
        end = run(x, ConformalDescent([x], lr=1 / n, friction=gamma, leapfrog=leapfrog), loss, n)[-1]
        errors.append((end - torch.from_numpy(exact)).norm())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def whole_step(space, h, gamma, function, leapfrog):
    """(x, p) -> (x, p) by the pure functions of the optimiser, a whole leapfrog with both of its halves."""
    decay = math.exp(-gamma * h)

    def slope(x):
        return torch.func.grad(lambda z: function(z).sum())(x)

    def euler(x, p):
        return drifted(space, x, kicked(space, x, p, slope(x), decay, h), h)

    def symmetric(x, p):
        half = math.sqrt(decay)
        x, p = drifted(space, x, kicked(space, x, p, slope(x), half, 0.5 * h), h)
        return x, half * kicked(space, x, p, slope(x), 1.0, 0.5 * h)

    return symmetric if leapfrog else euler


@both_schemes
@pytest.mark.parametrize("gamma", [0.0, 0.8])
def test_the_jacobian_is_conformal_on_plain_parameters(leapfrog, gamma):
    h, d = 0.3, 4
    step = whole_step(None, h, gamma, loss, leapfrog)
    y = torch.randn(2 * d, dtype=F64, generator=rng(1))
    M = jacfwd(lambda y: torch.cat(step(y[:d], y[d:])))(y)
    J, factor = canonical(d), math.exp(-gamma * h)
    torch.testing.assert_close(M.T @ J @ M, factor * J, rtol=0, atol=1e-12)
    assert torch.linalg.det(M).item() == pytest.approx(factor**d, rel=1e-12)
    assert (M - math.sqrt(factor) * torch.eye(2 * d, dtype=F64)).norm() > 0.1


@both_schemes
def test_the_optimisers_own_steps_have_that_jacobian(leapfrog):
    """By central differences of (q, p) -> (q, p) over one step of the object itself."""
    h, gamma, d, e = 0.3, 0.8, 3, 1e-5

    def step(y):
        x = y[:d].clone().requires_grad_()
        optimiser = ConformalDescent([x], lr=h, friction=gamma, leapfrog=leapfrog)
        optimiser.state[x]["momentum"] = y[d:].clone()
        optimiser.param_groups[0]["last_lr"] = h
        run(x, optimiser, loss, 1)
        return torch.cat([x.detach(), optimiser.state[x]["momentum"]])

    y = torch.randn(2 * d, dtype=F64, generator=rng(1))
    M = torch.stack([(step(y + e * v) - step(y - e * v)) / (2 * e) for v in torch.eye(2 * d, dtype=F64)], 1)
    J = canonical(d)
    torch.testing.assert_close(M.T @ J @ M, math.exp(-gamma * h) * J, rtol=0, atol=1e-8)


def in_canonical_coordinates(space, x0, step):
    """The step as a map of (q, p) with p_i = <v, d/dq_i> in normal coordinates q at x0 and at its image."""
    d = space.dim
    frame = space.orthonormal_basis(x0)
    flat = (...,) + (None,) * space.ndim

    def chart(x, frame):
        return lambda q: space.expmap(x, (q[flat] * frame).sum(0))

    def columns(f, q):
        return torch.stack([jvp(f, (q,), (e,))[1] for e in torch.eye(d, dtype=F64)])

    def products(x, a, b):
        return torch.stack([space.inner(x, u, b) for u in a])

    def forward(y, x1, frame1):
        q, p = y[:d], y[d:]
        f = chart(x0, frame)
        x, moved = f(q), columns(f, q)
        gram = torch.stack([products(x, moved, u) for u in moved])
        x, v = step(x, (torch.linalg.solve(gram, p)[flat] * moved).sum(0))
        q1 = products(x1, frame1, space.logmap(x1, x))
        return torch.cat([q1, products(x, columns(chart(x1, frame1), q1), v)])

    return forward


@both_schemes
@every_space_few_quickly
def test_the_jacobian_is_conformal_on_the_cotangent_bundle(space, leapfrog):
    h, gamma = 0.3, 0.8
    x0 = space.random(*space.point_shape, dtype=F64, generator=rng(2))
    step = whole_step(space, h, gamma, waves(space), leapfrog)
    p0 = torch.randn(space.dim, dtype=F64, generator=rng(3)) / math.sqrt(space.dim)
    frame = space.orthonormal_basis(x0)
    x1 = step(x0, (p0[(...,) + (None,) * space.ndim] * frame).sum(0))[0].detach()
    forward = in_canonical_coordinates(space, x0, step)
    frame1 = space.orthonormal_basis(x1)
    M = jacrev(lambda y: forward(y, x1, frame1))(torch.cat([torch.zeros_like(p0), p0]))
    J, factor = canonical(space.dim), math.exp(-gamma * h)
    torch.testing.assert_close(M.T @ J @ M, factor * J, rtol=0, atol=1e-12 * max(1.0, M.abs().max().item() ** 2))
    assert torch.linalg.det(M).item() == pytest.approx(factor**space.dim, rel=1e-11)


@every_space
@pytest.mark.parametrize(("dtype", "leapfrog"), [(torch.float32, True), (F64, False)], ids=["f32", "f64"])
def test_parameters_stay_on_the_space_and_momenta_tangent(space, dtype, leapfrog):
    x = random_parameter(space, 2, dtype=dtype)
    function = waves(space, dtype)
    before = function(x).sum().item()
    optimiser = ConformalDescent([x], lr=0.2, friction=1.0, leapfrog=leapfrog)
    run(x, optimiser, function, 25)
    tight = 1e-5 if dtype == torch.float32 else 1e-12
    assert space.check_point_on_manifold(x.detach(), explain=True, atol=tight, rtol=tight) == (True, None)
    p = optimiser.state[x]["momentum"]
    assert space.check_vector_on_tangent(x.detach(), p, explain=True, atol=tight, rtol=tight) == (True, None)
    assert p.dtype == dtype
    assert function(x).sum().item() < before


@pytest.mark.slow
@every_space
def test_ten_thousand_float32_steps_do_not_leave_the_space(space):
    """Distances from the space, relative to the point, in float64, while the point is drawn to one of seven.

    All are within 1/2 of the origin: explicit steps on matrices are stable only where their entries are of order one.
    """
    start = space.origin(*space.point_shape, dtype=torch.float32).expand(7, *space.point_shape)
    u = space.proju(start, torch.randn(start.shape, generator=rng(8)))
    targets = space.expmap(start, 0.5 * u / space.norm(start, u, keepdim=True))
    x = geoopt.ManifoldParameter(start[0].clone(), manifold=space)
    optimiser = ConformalDescent([x], lr=0.03, friction=0.3)
    worst = 0.0
    for k in range(100):
        run(x, optimiser, lambda x, k=k: 0.5 * (x - targets[k % 7]).square().sum(), 100)
        y = x.detach().double()
        assert y.isfinite().all()
        worst = max(worst, ((space.projx(y) - y).abs().max() / y.abs().max().clamp_min(1.0)).item())
    assert worst < 1e-6


@every_space_few_quickly
def test_without_friction_the_energy_only_oscillates(space):
    function = waves(space)
    drift = []
    for h in (0.1, 0.05):
        x = random_parameter(space)
        optimiser = ConformalDescent([x], lr=h, friction=0.0, leapfrog=True)
        energies = []
        for _ in range(round(3 / h)):
            optimiser.zero_grad()
            function(x).sum().backward()
            old = optimiser.state[x].get("momentum")
            slope = space.egrad2rgrad(x.detach(), x.grad)
            # the stored momentum is that of the middle of the step; half a kick leads to its end
            whole = torch.zeros_like(slope) if old is None else old - 0.5 * h * slope
            energies.append(function(x).item() + 0.5 * space.inner(x.detach(), whole).item())
            optimiser.step()
        drift.append(max(abs(e - energies[0]) for e in energies))
    assert drift[0] < 0.2
    assert drift[1] < 0.4 * drift[0] + 1e-12


def test_momentum_moves_along_great_circles_by_parallel_transport():
    """Without forces the point runs around the sphere at constant speed."""
    space = SPACES["sphere"]
    x = geoopt.ManifoldParameter(torch.tensor([1.0, 0.0, 0.0], dtype=F64), manifold=space)
    optimiser = ConformalDescent([x], lr=0.25, friction=0.4)
    optimiser.state[x]["momentum"] = torch.tensor([0.0, 0.6, 0.8], dtype=F64) * 2.0
    path = run(x, optimiser, lambda x: 0.0 * x.sum(), 30)
    mu = math.exp(-0.1)
    angle = 0.25 * 2.0 * mu * (1 - mu**30) / (1 - mu)
    wanted = torch.tensor([math.cos(angle), 0.6 * math.sin(angle), 0.8 * math.sin(angle)], dtype=F64)
    torch.testing.assert_close(path[-1], wanted, rtol=0, atol=1e-13)
    assert optimiser.state[x]["momentum"].norm().item() == pytest.approx(2.0 * mu**30, rel=1e-13)


@both_schemes
def test_a_saved_state_goes_on_as_if_nothing_had_happened(leapfrog):
    space = SPACES["so3"]
    r = geoopt.ManifoldParameter(space.random(3, 3, dtype=F64, generator=rng(8)), manifold=space)
    q = torch.randn(3, dtype=F64, generator=rng(9), requires_grad=True)
    function = waves(space)

    def made(r, q):
        groups = [{"params": [r], "lr": 0.1}, {"params": [q], "friction": 0.2}]
        return ConformalDescent(groups, lr=0.3, friction=1.5, leapfrog=leapfrog)

    def advance(r, q, optimiser):
        for _ in range(5):
            optimiser.zero_grad()
            (function(r) + loss(q - r[:, 0])).backward()
            optimiser.step()

    first = made(r, q)
    advance(r, q, first)
    r2, q2 = copy.deepcopy(r), copy.deepcopy(q)
    second = made(r2, q2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    advance(r, q, first)
    advance(r2, q2, second)
    assert torch.equal(r, r2)
    assert torch.equal(q, q2)


def test_a_schedule_of_the_step_changes_half_kicks_in_time():
    """Two steps of lengths 0.1 and 0.3 against their composition by hand."""
    gamma = 0.6
    x = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    q, p = x.detach().clone(), torch.zeros(2, dtype=F64)
    optimiser = ConformalDescent([x], friction=gamma, leapfrog=True)
    for h in (0.1, 0.3):
        optimiser.param_groups[0]["lr"] = h
        run(x, optimiser, loss, 1)
        p = math.exp(-0.5 * gamma * h) * p - 0.5 * h * torch.func.grad(loss)(q)
        q = q + h * p
        p = math.exp(-0.5 * gamma * h) * (p - 0.5 * h * torch.func.grad(loss)(q))
    torch.testing.assert_close(x.detach(), q, rtol=0, atol=1e-15)


def test_a_closure_makes_the_gradients_and_its_loss_is_returned():
    x = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    optimiser = ConformalDescent([x])

    def closure():
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        return value

    before = loss(x).item()
    assert optimiser.step(closure).item() == before
    assert loss(x).item() < before


def test_parameters_without_gradient_stay():
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = ConformalDescent([x, y])
    x.square().sum().backward()
    optimiser.step()
    assert torch.equal(y, torch.ones(2))
    assert not torch.equal(x, torch.ones(2))


def test_bad_options_are_named():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(InputError, match=r"lr: .*0"):
        ConformalDescent([x], lr=0.0)
    with pytest.raises(InputError, match=r"friction: .*-1"):
        ConformalDescent([x], friction=-1.0)
    ball = geoopt.ManifoldParameter(torch.zeros(2), manifold=geoopt.PoincareBall())
    with pytest.raises(InputError, match=r"params: .*Poincare"):
        ConformalDescent([ball])


def test_geoopts_euclidean_parameters_are_plain():
    x, y = geoopt.ManifoldParameter(torch.ones(2, 2)), torch.ones(2, 2, requires_grad=True)
    for z in (x, y):
        run(z, ConformalDescent([z]), lambda z: z.square(), 5)
    assert torch.equal(x, y)
