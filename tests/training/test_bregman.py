import copy
import math

import geoopt
import pytest
import torch
from descent_cases import F64, every_space, random_parameter, rng, run, waves
from scipy.special import jv
from torch.func import grad, jacfwd

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SPACES, SPD, Hyperbolic
from manifoldnet.training.bregman import BregmanDescent


def quartic(q):
    return 0.25 * q.pow(4).sum() + 0.5 * q.square().sum()


def weights(t, order, strength, zeta=1.0):
    """w and W of H = w |r|^2 / 2 + W E."""
    return order * t ** -(zeta * order + 1), strength * order * t ** ((zeta + 1) * order - 1)


def extended_step(function, y, d, h, order, strength):
    """(q, r, t, u) after one step, by the exact flows of the parts of K = w |r|^2 / 2 + W E + u, by hand."""
    q, r, t, u = y[:d], y[d : 2 * d], y[-2], y[-1]

    def kick(q, r, t, u, h):
        slope = grad(lambda t: weights(t, order, strength)[1])(t)
        return r - h * weights(t, order, strength)[1] * grad(function)(q), u - h * slope * function(q)

    t = t + 0.5 * h
    r, u = kick(q, r, t, u, 0.5 * h)
    u = u - h * grad(lambda t: weights(t, order, strength)[0])(t) * 0.5 * (r @ r)
    q = q + h * weights(t, order, strength)[0] * r
    r, u = kick(q, r, t, u, 0.5 * h)
    return torch.cat([q, r, (t + 0.5 * h)[None], u[None]])


def extended_energy(function, y, d, order, strength):
    w, W = weights(y[-2], order, strength)
    return 0.5 * w * (y[d : 2 * d] @ y[d : 2 * d]) + W * function(y[:d]) + y[-1]


@pytest.mark.parametrize("order", [1.5, 2.0, 3.0])
def test_the_optimiser_is_the_extended_step(order):
    d, h, C = 3, 0.05, 0.2
    x = torch.tensor([1.0, -0.5, 0.3], dtype=F64, requires_grad=True)
    optimiser = BregmanDescent([x], lr=h, order=order, strength=C)
    y = torch.cat([x.detach(), torch.zeros(d + 2, dtype=F64)])
    for k in range(40):
        run(x, optimiser, quartic, 1)
        y = extended_step(quartic, y, d, h, order, C)
        torch.testing.assert_close(x.detach(), y[:d], rtol=0, atol=1e-13)
        assert optimiser.param_groups[0]["t"] == pytest.approx((k + 1) * h, rel=1e-14)


@pytest.mark.parametrize("order", [2.0, 4.0])
def test_the_extended_step_is_symplectic(order):
    """In (q, r, t, u), and on slices t = const in (q, r)."""
    d, h = 3, 0.1
    y = torch.cat([torch.randn(2 * d, dtype=F64, generator=rng(0)), torch.tensor([1.3, 0.2], dtype=F64)])
    M = jacfwd(lambda y: extended_step(quartic, y, d, h, order, 0.25))(y)
    J = torch.zeros(2 * d + 2, 2 * d + 2, dtype=F64)
    J[:d, d : 2 * d] = torch.eye(d)
    J[-2, -1] = 1.0
    J = J - J.T
    scale = M.abs().max().item() ** 2
    torch.testing.assert_close(M.T @ J @ M, J, rtol=0, atol=1e-14 * scale)
    inner, K = M[: 2 * d, : 2 * d], J[: 2 * d, : 2 * d]
    torch.testing.assert_close(inner.T @ K @ inner, K, rtol=0, atol=1e-14 * scale)


def test_the_extended_energy_stays_bounded_and_its_error_is_of_second_order():
    d, order, C = 3, 2.0, 0.25
    worst = []
    for h in (0.1, 0.05):
        y = torch.cat([torch.tensor([1.0, -0.5, 0.3], dtype=F64), torch.zeros(d, dtype=F64)])
        y = torch.cat([y, torch.tensor([1.0, 0.0], dtype=F64)])
        start = extended_energy(quartic, y, d, order, C)
        errors = []
        for _ in range(round(12 / h)):
            y = extended_step(quartic, y, d, h, order, C)
            errors.append((extended_energy(quartic, y, d, order, C) - start).abs().item())
        half = len(errors) // 2
        # it does not grow with time, although H itself falls from 1 to 0.1 of its start and more
        assert max(errors[half:]) < 3 * max(errors[:half])
        worst.append(max(errors))
    assert worst[0] < 0.05
    assert math.log2(worst[0] / worst[1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("order", [2.0, 3.0, 4.0])
def test_quadratics_follow_bessel_functions(order):
    """q'' + (p + 1)/t q' + C p^2 t^(p-2) a q = 0 has the solution 2 J_1(z) / z, z = 2 sqrt(C a) t^(p/2)."""
    a, C = torch.tensor([0.5, 2.0, 5.0], dtype=F64), 0.25
    errors = []
    for n in (200, 400):
        x = torch.ones(3, dtype=F64, requires_grad=True)
        optimiser = BregmanDescent([x], lr=3 / n, order=order, strength=C)
        end = run(x, optimiser, lambda q: 0.5 * (a * q.square()).sum(), n)[-1]
        z = 2 * (C * a).sqrt() * 3 ** (order / 2)
        errors.append((end - 2 * torch.from_numpy(jv(1, z.numpy())) / z).abs().max().item())
    assert errors[1] < 2e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)


def log_sum_exp(x):
    """Convex, not strongly, with the minimum log(6) - ... at a point that is found by Newton's method."""
    rows = torch.randn(12, 4, dtype=F64, generator=rng(1))
    return torch.logsumexp(torch.cat([rows, -rows]) @ x, 0)


def ill_conditioned(x):
    return 0.5 * (torch.logspace(-7, 0, x.shape[0], dtype=F64) * x.square()).sum()


def flat_quartic(x):
    return 0.25 * x.pow(4).sum()


def slope_of(losses, first):
    """Of the regression of log loss on log k from step ``first`` on."""
    k = torch.arange(first, len(losses), dtype=F64).log()
    v = torch.tensor(losses[first:], dtype=F64).log()
    k, v = k - k.mean(), v - v.mean()
    return ((k * v).sum() / (k * k).sum()).item()


@pytest.mark.parametrize(("order", "steps", "h"), [(2.0, 800, 0.5), (3.0, 300, 0.12), (4.0, 100, 0.06)])
@pytest.mark.parametrize("function", [log_sum_exp, ill_conditioned, flat_quartic])
def test_convex_losses_fall_as_fast_as_promised(order, steps, h, function):
    """E(q_k) - min E <= |q_0 - q*|^2 / (2 C t^p), the bound of the differential equation, and the slope is -p."""
    x = torch.ones(32 if function is ill_conditioned else 4, dtype=F64, requires_grad=True)
    C, start = 0.25, x.detach().clone()
    least = math.log(24) if function is log_sum_exp else 0.0
    path = run(x, BregmanDescent([x], lr=h, order=order, strength=C), function, steps)
    losses = [function(q).item() - least for q in path]
    for k, value in enumerate(losses, 1):
        assert value <= 1.05 * start.square().sum().item() / (2 * C * (k * h) ** order)
    # the quartic starts faster and then oscillates at a millionth of the bound
    if function is not flat_quartic:
        assert slope_of(losses, steps // 4) < -0.9 * order


def test_gradient_descent_of_the_same_step_is_slower():
    x = torch.ones(32, dtype=F64, requires_grad=True)
    plain = torch.ones(32, dtype=F64, requires_grad=True)
    run(x, BregmanDescent([x], lr=1.0), ill_conditioned, 400)
    run(plain, torch.optim.SGD([plain], lr=1.0), ill_conditioned, 400)
    assert ill_conditioned(x.detach()) < 0.05 * ill_conditioned(plain.detach())


def test_the_step_is_stable_up_to_the_bound():
    """h^2 C p^2 t^(p-2) L = 4: below 4 for ever with p = 2, and above it not."""
    for L, bounded in ((15.9, True), (16.5, False)):
        x = torch.ones(1, dtype=F64, requires_grad=True)
        end = run(x, BregmanDescent([x], lr=0.5), lambda q, L=L: 0.5 * L * q.square(), 500)[-1].abs().item()
        assert (end < 1) == bounded


@pytest.mark.parametrize("space", [SPD(n=3), Hyperbolic(3)], ids=["spd", "hyperbolic"])
def test_geodesically_convex_losses_fall_as_promised(space):
    """Half the mean of squared distances, with the zeta of its curvature over the distance to the mean."""
    data = space.random(5, *space.point_shape, dtype=F64, generator=rng(2))
    mean = space.frechet_mean(data)
    x = geoopt.ManifoldParameter(data[0].clone(), manifold=space)
    distance = space.dist(data[0], mean).item()
    k = math.sqrt(-space.curvature_bounds()[0])
    # the region holds the path too: it stays within 1.5 of the first distance
    reach = 1.5 * k * distance
    zeta, C, h = reach / math.tanh(reach), 0.25, 0.5

    def function(x):
        return 0.5 * space.dist2(x, data).mean()

    path = run(x, BregmanDescent([x], lr=h, curvature=zeta), function, 60)
    assert space.dist(path, mean).max().item() * k < reach
    losses = [(function(q) - function(mean)).item() for q in path]
    for i, value in enumerate(losses, 1):
        assert value <= 1.05 * zeta * distance**2 / (2 * C * (i * h) ** 2)
    assert losses[-1] < 1e-3 * losses[0]


@every_space
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])
def test_parameters_stay_on_the_space_and_the_loss_falls(space, dtype):
    x, function = random_parameter(space, 2, dtype=dtype), waves(space, dtype)
    before = function(x).sum().item()
    optimiser = BregmanDescent([x], lr=0.2, curvature=1.5)
    run(x, optimiser, function, 12)
    tight = 1e-5 if dtype == torch.float32 else 1e-12
    assert space.check_point_on_manifold(x.detach(), explain=True, atol=tight, rtol=tight) == (True, None)
    v = optimiser.state[x]["momentum"]
    assert space.check_vector_on_tangent(x.detach(), v, explain=True, atol=tight, rtol=tight) == (True, None)
    assert function(x).sum().item() < before


def test_time_and_velocity_are_saved():
    x = torch.ones(3, dtype=F64, requires_grad=True)
    first = BregmanDescent([x], lr=0.1, order=3.0)
    run(x, first, quartic, 7)
    y = x.detach().clone().requires_grad_()
    second = BregmanDescent([y], lr=0.7)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(x, first, quartic, 5)
    run(y, second, quartic, 5)
    assert torch.equal(x, y)


def test_float32_keeps_going_at_great_times_and_orders():
    """r is of size t^7 here; the velocity is stored instead."""
    x = torch.ones(3, requires_grad=True)
    optimiser = BregmanDescent([x], lr=1e-3, order=4.0)
    optimiser.param_groups[0]["t"] = 1e6
    optimiser.param_groups[0]["lr"] = 1e-7
    run(x, optimiser, quartic, 10)
    assert x.isfinite().all()
    assert not torch.equal(x.detach(), torch.ones(3))


def test_bad_options_are_named():
    x = torch.ones(2, requires_grad=True)
    for options, message in (
        ({"lr": 0.0}, r"lr: .*0"),
        ({"order": -2.0}, r"order: .*-2"),
        ({"strength": math.nan}, r"strength: .*nan"),
        ({"curvature": 0.5}, r"curvature: .*0.5"),
    ):
        with pytest.raises(InputError, match=message):
            BregmanDescent([x], **options)


def test_on_the_sphere_it_finds_the_mean():
    space = SPACES["sphere"]
    data = space.projx(torch.tensor([0.0, 0.0, 2.0], dtype=F64) + torch.randn(6, 3, dtype=F64, generator=rng(3)).abs())
    x = geoopt.ManifoldParameter(data[0].clone(), manifold=space)
    run(x, BregmanDescent([x], lr=0.5), lambda x: 0.5 * space.dist2(x, data).mean(), 150)
    assert space.dist(x.detach(), space.frechet_mean(data)).item() < 1e-2
