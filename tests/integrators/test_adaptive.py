"""Adaptive steps: tolerances are met, costs are counted, failures speak, samples do not wait for each other."""

import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Euclidean, LiePoisson, Power, Product, Sphere, odeint
from manifoldnet.integrators import METHODS, Controller, IntegrationError, Status, solve

F64 = torch.float64
PAIRS = [n for n, m in METHODS.items() if m.embedded_order]
# a pair of low order takes many steps: those are run with -m slow
every_pair_low_ones_slowly = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if METHODS[n].order < 4 else ()) for n in PAIRS]
)


def times(*values):
    return torch.tensor(values, dtype=F64)


def swing(t, y):
    return torch.stack([y[..., 1] + 0.1 * t, -torch.sin(y[..., 0])], -1)


def spin(t, r):
    """Generators on SO(3); t is a number or one of every sample."""
    a = 1 + 0.5 * torch.sin(2 * t) * r[..., 0, 1]
    return torch.stack([a - 0.3 * r[..., 2, 2], 0.8 * torch.cos(t) + r[..., 1, 0] * r[..., 2, 1], r[..., 0, 2] - t], -1)


Y0 = torch.tensor([[1.0, 0.3], [-0.5, 2.0], [0.0, 0.0]], dtype=F64)
R0 = SO3().random(4, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
T = torch.linspace(0, 3, 7, dtype=F64)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
@every_pair_low_ones_slowly
def test_the_error_follows_the_tolerance(name, per_sample):
    space, field, y0 = (SO3(), spin, R0) if METHODS[name].is_lie else (Euclidean(1), swing, Y0)
    wanted = odeint(field, y0, T, space=space, method="rkmk-dopri5", rtol=1e-12, atol=1e-13)
    errors = []
    # an estimate of order 1 asks for as many steps as 1 / sqrt(tolerance)
    for tolerance in (1e-3, 1e-4) if METHODS[name].embedded_order == 1 else (1e-4, 1e-6):
        found = solve(field, y0, T, space=space, method=name, rtol=tolerance, atol=tolerance, per_sample=per_sample)
        assert found.status is Status.SUCCESS
        assert found.y.shape == (len(T), *y0.shape)
        assert torch.equal(found.y[0], y0)
        assert space.check_point_on_manifold(found.y)
        errors.append((found.y - wanted).abs().max().item())
        assert errors[-1] < 50 * tolerance
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("name", ["rkmk-dopri5", "cf4"])
def test_backwards_in_time(name):
    for per_sample in (False, True):
        end = odeint(spin, R0, times(0, 2), space=SO3(), method=name, rtol=1e-9, per_sample=per_sample)[-1]
        back = odeint(spin, end, times(2, 1, 0), space=SO3(), method=name, rtol=1e-9, per_sample=per_sample)
        assert (back[-1] - R0).abs().max() < 1e-6
        assert back.shape == (3, *R0.shape)


@pytest.mark.parametrize("name", ["dopri5", "rkmk-tsit5", "cf3"])
def test_evaluations_and_steps_are_those_that_were_made(name):
    calls = []

    def field(t, y):
        calls.append(y.shape[0])
        return swing(t, y)

    found = solve(field, Y0, times(0, 3), method=name)
    steps, rejections, evaluations = (int(n) for n in found.statistics)
    assert evaluations == len(calls)
    method = METHODS[name]
    a_step = method.stages - 1  # the first stage is known: handed on, or evaluated once for all attempts
    # one for the first slope, one for the first step's length
    handed = 0 if method.is_fsal else steps - 1
    assert evaluations == 2 + (steps + rejections) * a_step + handed
    calls.clear()
    found = solve(field, Y0, times(0, 3), method=name, per_sample=True)
    assert sum(calls) == int(found.statistics.evaluations.sum())
    assert found.statistics.steps.shape == (3,)


def test_a_stiff_sample_does_not_slow_the_others():
    """At most a third of the evaluations of shared steps."""
    rate = torch.full((64,), 2.0, dtype=F64)
    rate[7] = 1000.0
    y0 = torch.stack([torch.zeros(64, dtype=F64), rate], -1)

    def field(t, y):
        return torch.stack([-y[..., 1] * (y[..., 0] - torch.cos(t)), torch.zeros_like(y[..., 1])], -1)

    arguments = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7}
    shared = solve(field, y0, times(0, 3), **arguments)
    own = solve(field, y0, times(0, 3), per_sample=True, **arguments)
    assert int(own.statistics.evaluations.sum()) <= 64 * int(shared.statistics.evaluations) / 3
    assert (own.y - shared.y).abs().max() < 1e-4
    alone = solve(field, y0[:1], times(0, 3), **arguments)
    assert int(own.statistics.evaluations[0]) == int(alone.statistics.evaluations)
    assert (own.y[:, 0] - alone.y[:, 0]).abs().max() < 1e-12


def test_batches_of_any_shape_and_samples_alone():
    y0 = R0.reshape(2, 2, 3, 3)
    found = solve(spin, y0, T, space=SO3(), method="rkmk-bs32", per_sample=True)
    assert found.y.shape == (len(T), 2, 2, 3, 3)
    assert found.statistics.steps.shape == (2, 2)
    alone = odeint(spin, R0[2], T, space=SO3(), method="rkmk-bs32", per_sample=True)
    assert (found.y[:, 1, 0] - alone).abs().max() < 1e-13
    empty = odeint(spin, R0[:0], T, space=SO3(), method="rkmk-bs32", per_sample=True)
    assert empty.shape == (len(T), 0, 3, 3)
    assert odeint(spin, R0, times(1.0), space=SO3(), method="cf4").shape == (1, *R0.shape)


SPACES = {
    "circle": Circle(),
    "sphere": Sphere(3),
    "spd": SPD("affine-invariant", n=3),
    "torus": Power(Circle(), 2),
    "rotations": Power(SO3(), 2),
    "mixed": Product([SO3(), Euclidean(1, shape=(3,)), Circle()]),
    "momenta": LiePoisson(SO3()),
}


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("method", ["rkmk-dopri5", pytest.param("cf3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SPACES)
def test_every_kind_of_space(name, method, per_sample):
    space = SPACES[name]
    y0 = space.random(3, *space.point_shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    mix = 0.3 * torch.randn(
        y0[0].numel(), space.action.group.dim, dtype=F64, generator=torch.Generator().manual_seed(2)
    )

    def field(t, y):
        flat = torch.cos(y.reshape(len(y), -1))
        return flat @ mix + torch.sin(t).expand(len(y))[:, None]

    # not longer: positive definite matrices grow exponentially, and the cosines of their entries turn ever faster
    t = 0.2 * T
    found = odeint(field, y0, t, space=space, method=method, rtol=1e-7, atol=1e-8, per_sample=per_sample)
    fine = odeint(field, y0, t, space=space, method="rkmk4", steps=20)
    assert space.dist(found, fine).max() < 2e-5
    assert space.check_point_on_manifold(found)


@pytest.mark.parametrize("gradient", ["autograd", "checkpoint"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize(
    "name", ["dopri5", "cf4", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rkmk-bs32", "cf3"))]
)
def test_gradients_are_those_of_tiny_steps(name, per_sample, gradient):
    w = torch.tensor([[0.3, -0.2], [0.5, 0.1]], dtype=F64)

    def gradients(**arguments):
        weight, start = w.clone().requires_grad_(), Y0.clone().requires_grad_()
        y = odeint(lambda t, y: torch.tanh(y @ weight) * torch.cos(t)[..., None], start, T, **arguments)
        y.square().sum().backward()
        return weight.grad, start.grad

    found = gradients(method=name, rtol=1e-8, atol=1e-9, per_sample=per_sample, gradient=gradient)
    wanted = gradients(method="rk4", steps=100)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


def test_float32_keeps_its_type():
    for per_sample in (False, True):
        y = odeint(spin, R0.float(), T.float(), space=SO3(), method="rkmk-dopri5", rtol=1e-4, per_sample=per_sample)
        assert y.dtype is torch.float32
        assert (y.mT @ y - torch.eye(3)).abs().max() < 1e-6


# failures ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
def test_a_blow_up_names_its_time(per_sample):
    """y' = y^2 from 1 ends at t = 1."""
    with pytest.raises(IntegrationError, match=r"t = 0\.99999|t = 1") as caught:
        odeint(lambda t, y: y * y, times(1.0)[None], times(0, 2), method="dopri5", per_sample=per_sample)
    assert caught.value.status in (Status.UNDERFLOW, Status.NOT_FINITE)
    assert caught.value.time == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
def test_a_field_that_is_nan_names_its_time(per_sample):
    def field(t, y):
        return torch.where(t > 0.5, torch.nan, 1.0)[..., None] * torch.ones_like(y)

    with pytest.raises(IntegrationError, match=r"t = 0\.(49|5).*not finite") as caught:
        odeint(field, torch.zeros(2, 1, dtype=F64), times(0, 2), method="bosh3", per_sample=per_sample)
    assert caught.value.status is Status.NOT_FINITE


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "own"])
def test_too_many_steps_name_their_time(per_sample):
    with pytest.raises(IntegrationError, match=r"t = .*20 steps") as caught:
        odeint(swing, Y0, times(0, 100), method="dopri5", max_steps=20, per_sample=per_sample)
    assert caught.value.status is Status.STEP_LIMIT
    assert 0 < caught.value.time < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "rk4", "per_sample": True}, "per_sample: .*'rk4'"),
        ({"method": "dopri5", "steps": 3, "per_sample": True}, "per_sample: "),
        ({"method": "dopri5", "rtol": -1.0}, "rtol, atol: .*-1"),
        ({"method": "dopri5", "rtol": 0.0, "atol": 0.0}, "rtol, atol: "),
        ({"method": "dopri5", "options": {"dtype": F64}}, "options: .*dtype"),
        ({"method": "dopri5", "compiled": True}, "compiled: "),
        ({"method": "dopri5", "gradient": "reversible"}, "gradient: 'reversible' wants"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        odeint(swing, Y0, times(0, 1), **arguments)


# the choice of steps -------------------------------------------------------------------------------------------------
def test_options_are_those_of_torchdiffeq():
    one = solve(swing, Y0, times(0, 1), method="dopri5", options={"first_step": 1e-3})
    two = solve(swing, Y0, times(0, 1), method="dopri5", first_step=1e-3)
    assert torch.equal(one.y, two.y)
    one = odeint(swing, Y0, times(0, 1), method="rk4", options={"step_size": 0.1})
    assert torch.equal(one, odeint(swing, Y0, times(0, 1), method="rk4", step_size=0.1))


def test_fixed_steps_of_a_pair_do_not_adapt():
    found = solve(swing, Y0, times(0, 1), method="dopri5", steps=5)
    assert [int(n) for n in found.statistics] == [5, 0, 30]


def test_controllers_shrink_and_grow_within_their_limits():
    one = torch.ones(())
    errors = torch.tensor([1e-30, 1.0, 1e6, torch.inf])
    ones = torch.ones(4)
    factor = Controller().factor(4, (errors, ones, ones), torch.ones(4, dtype=torch.bool))
    assert factor.tolist() == pytest.approx([10.0, 0.9, 0.2, 0.2])
    assert Controller().factor(4, (errors[0], one, one), torch.tensor(False)) == 1.0
    classical = Controller(proportional=0.0, integral=1.0)
    assert classical.factor(4, (torch.tensor(2.0), one, one), torch.tensor(True)) == pytest.approx(0.9 * 2**-0.2)
    pid = Controller(proportional=0.3, integral=0.5, derivative=0.1)
    last = tuple(torch.tensor(e) for e in (0.5, 0.8, 0.3))
    wanted = 0.9 * 0.5 ** (-0.9 / 5) * 0.8 ** (0.5 / 5) * 0.3 ** (-0.1 / 5)
    assert pid.factor(4, last, torch.tensor(True)) == pytest.approx(wanted)


def test_a_better_controller_may_be_chosen():
    plain = solve(swing, Y0, T, method="dopri5", controller=Controller(proportional=0.0, integral=1.0))
    careful = solve(swing, Y0, T, method="dopri5", controller=Controller(safety=0.5))
    assert int(careful.statistics.steps) > int(plain.statistics.steps)
