import math

import geoopt
import pytest
import torch
from descent_cases import F64, every_space, every_space_few_quickly, random_parameter, rng, run, waves
from scipy.integrate import solve_ivp
from torch.func import jacfwd

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SPACES, SPD
from manifoldnet.training.conformal import ConformalDescent
from manifoldnet.training.hamiltonian_descent import HamiltonianDescent, relativistic_time
from manifoldnet.training.kick_drift import drifted, kicked

both_schemes = pytest.mark.parametrize("leapfrog", [False, True], ids=["euler", "leapfrog"])


def steep(q):
    return q.pow(4).sum() + (3 * q).cos().sum()


@both_schemes
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])
def test_no_step_is_longer_than_h_c(c, leapfrog, dtype):
    h = 0.1
    x = (1e3 * torch.randn(6, generator=rng(0))).to(dtype).requires_grad_()
    start = x.detach().clone()
    optimiser = HamiltonianDescent([x], lr=h, friction=0.5, speed=c, leapfrog=leapfrog)
    path = run(x, optimiser, steep, 100)
    steps = torch.cat([start[None], path]).diff(dim=0).norm(dim=-1)
    rounding = 10 * torch.finfo(dtype).eps * path.abs().max().item()
    assert steps.max().item() <= h * c + rounding
    # a gradient of 4e9 makes the first ones as long as they can be
    assert steps[0].item() == pytest.approx(h * c, abs=1e-6 * h * c + rounding)


def test_the_bound_is_for_all_parameters_of_a_group_together():
    space = SPACES["sphere"]
    r = random_parameter(space)
    q = torch.tensor([5.0, -3.0], dtype=F64, requires_grad=True)
    optimiser = HamiltonianDescent([r, q], lr=0.1, speed=2.0)
    before = r.detach().clone(), q.detach().clone()
    (1e4 * (r.sum() + q.square().sum())).backward()
    optimiser.step()
    length = (space.dist2(before[0], r.detach()) + (q.detach() - before[1]).square().sum()).sqrt()
    assert length.item() == pytest.approx(0.2, rel=1e-6)


@every_space
def test_no_step_is_longer_than_h_c_on_any_space(space):
    function = waves(space)
    x = random_parameter(space)
    h, c = 0.2, 0.5
    optimiser = HamiltonianDescent([x], lr=h, speed=c)
    for _ in range(5):
        before = x.detach().clone()
        run(x, optimiser, lambda x: 1e3 * function(x), 1)
        # a great force makes the step as long as it can be
        assert space.dist(before, x.detach()).item() == pytest.approx(h * c, rel=1e-2)
        assert space.dist(before, x.detach()).item() <= h * c * (1 + 1e-9)
    assert space.check_point_on_manifold(x.detach(), explain=True, atol=1e-12) == (True, None)
    p = optimiser.state[x]["momentum"]
    assert space.check_vector_on_tangent(x.detach(), p / p.norm(), explain=True, atol=1e-12) == (True, None)


@both_schemes
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_without_a_limit_of_speed_it_is_the_heavy_ball(leapfrog, mass):
    """T = |p|^2 / (2 m) makes kicks of h and drifts of h/m: kicks and drifts of h / sqrt(m), frictions alike."""
    start = 0.3 * torch.randn(5, dtype=F64, generator=rng(1))
    h, gamma = 0.1, 0.8
    ball = start.clone().requires_grad_()
    slow = ConformalDescent([ball], lr=h / mass**0.5, friction=gamma * mass**0.5, leapfrog=leapfrog)
    wanted = run(ball, slow, steep, 50)
    for c in (math.inf, 1e10, 1e3):
        x = start.clone().requires_grad_()
        ours = HamiltonianDescent([x], lr=h, friction=gamma, speed=c, mass=mass, leapfrog=leapfrog)
        found = run(x, ours, steep, 50)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-13 if c > 1e9 else 20 / c**2)


def relativistic_step(space, h, gamma, c, m, function):
    """(x, p) -> (x, p) by the pure functions of the optimiser."""

    def step(x, p):
        p = kicked(space, x, p, torch.func.grad(function)(x), math.exp(-gamma * h), h)
        return drifted(space, x, p, relativistic_time(h, c, m, [(space, x, p)]))

    return step


def test_the_jacobian_is_conformal():
    h, gamma, d = 0.3, 0.8, 4
    step = relativistic_step(None, h, gamma, 0.7, 1.3, steep)
    y = torch.randn(2 * d, dtype=F64, generator=rng(2))
    M = jacfwd(lambda y: torch.cat(step(y[:d], y[d:])))(y)
    eye, zero = torch.eye(d, dtype=F64), torch.zeros(d, d, dtype=F64)
    J = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])
    scale = max(1.0, M.abs().max().item() ** 2)
    torch.testing.assert_close(M.T @ J @ M, math.exp(-gamma * h) * J, rtol=0, atol=1e-14 * scale)


def test_the_jacobian_is_conformal_on_rotations():
    """In the body's frame, x = x0 exp(q): d theta for theta = <p, x^-1 dx> is multiplied by e^(-gamma h)."""
    space, h, gamma = SPACES["so3"], 0.3, 0.8
    step = relativistic_step(space, h, gamma, 0.7, 1.3, waves(space))
    x0 = space.random(3, 3, dtype=F64, generator=rng(3))
    p0 = torch.randn(3, dtype=F64, generator=rng(4))

    def flat(x, v):
        return torch.cat([x.flatten(), space.vee(x.mT @ v)])

    def forward(y):
        x = x0 @ space.exp(y[:3])
        return flat(*step(x, x @ space.hat(p0 + y[3:])))

    y = torch.zeros(6, dtype=F64)
    x1, p1 = forward(y).split([9, 3])
    D = jacfwd(forward)(y)
    turned = torch.stack([space.vee(x1.view(3, 3).mT @ column.view(3, 3)) for column in D[:9].T], 1)
    M = torch.cat([turned, D[9:]])

    def form(p):
        """-d theta ((xi, a), (eta, b)) = <xi, b> - <eta, a> + <p, [xi, eta]> in the frame of left translations."""
        eye = torch.eye(3, dtype=F64)
        omega = torch.zeros(6, 6, dtype=F64)
        omega[:3, 3:], omega[3:, :3] = eye, -eye
        omega[:3, :3] = torch.stack([torch.stack([p @ torch.linalg.cross(a, b) for b in eye]) for a in eye])
        return omega

    torch.testing.assert_close(M.T @ form(p1) @ M, math.exp(-gamma * h) * form(p0), rtol=0, atol=1e-12)


def test_the_path_is_that_of_the_relativistic_equations():
    c, m, gamma, start = 0.8, 1.5, 0.3, torch.tensor([1.0, -0.4], dtype=F64)

    def right(t, y):
        slope = torch.func.grad(steep)(torch.from_numpy(y[:2])).numpy()
        p = y[2:]
        return [*(c * p / math.sqrt(p @ p + (m * c) ** 2)), *(-slope - gamma * p)]

    exact = torch.from_numpy(solve_ivp(right, (0, 1), [*start.tolist(), 0, 0], rtol=1e-12, atol=1e-12).y[:2, -1])
    errors = []
    for n in (40, 80):
        x = start.clone().requires_grad_()
        optimiser = HamiltonianDescent([x], lr=1 / n, friction=gamma, speed=c, mass=m, leapfrog=True)
        errors.append((run(x, optimiser, steep, n)[-1] - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)
    assert errors[1] < 1e-3


def test_it_goes_down_where_the_heavy_ball_diverges():
    """The slope of q^4 at 10 throws a heavy ball of this step out."""
    ends = []
    for make in (lambda x: ConformalDescent([x], lr=0.1), lambda x: HamiltonianDescent([x], lr=0.1, speed=2.0)):
        x = torch.full((3,), 10.0, dtype=F64, requires_grad=True)
        ends.append(run(x, make(x), lambda q: q.pow(4).sum(), 600)[-1].pow(4).sum().item())
    assert not ends[0] < 1e4
    assert ends[1] < 1e-2


@every_space_few_quickly
def test_repeated_eigenvalues_and_no_motion_give_finite_steps(space):
    plain = space.origin(*space.point_shape, dtype=F64)
    x = geoopt.ManifoldParameter(plain.clone(), manifold=space)
    optimiser = HamiltonianDescent([x], lr=0.2)
    run(x, optimiser, lambda x: space.dist2(x, plain), 3)
    torch.testing.assert_close(x.detach(), plain, rtol=0, atol=1e-12)


def test_it_finds_the_mean_of_matrices():
    space = SPD(n=3)
    data = space.random(6, 3, 3, dtype=F64, generator=rng(5))
    x = geoopt.ManifoldParameter(torch.eye(3, dtype=F64), manifold=space)
    optimiser = HamiltonianDescent([x], lr=0.4, friction=1.2, speed=1.0)
    run(x, optimiser, lambda x: 0.5 * space.dist2(x, data).mean(), 80)
    assert space.dist(x.detach(), space.frechet_mean(data)).item() < 1e-6


def test_bad_options_are_named():
    x = torch.ones(2, requires_grad=True)
    for options, message in (
        ({"lr": -1.0}, r"lr: .*-1"),
        ({"friction": math.inf}, r"friction: .*inf"),
        ({"speed": 0.0}, r"speed: .*0"),
        ({"mass": math.nan}, r"mass: .*nan"),
    ):
        with pytest.raises(InputError, match=message):
            HamiltonianDescent([x], **options)
