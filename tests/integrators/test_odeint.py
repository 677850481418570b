import math

import pytest
import torch

import manifoldnet as mn
from manifoldnet import SO3, SPD, Circle, Euclidean, odeint
from manifoldnet.fields import from_tangent
from manifoldnet.integrators import METHODS, method_named, odeint_event, shears, solve
from manifoldnet.integrators.odeint import check

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Swing:
    """A nonlinear, time dependent field on R^2, with all that any method of a vector space asks for."""

    damping = 0.0

    def __call__(self, t, y):
        return torch.stack([y[..., 1] + 0.1 * t, -torch.sin(y[..., 0])], -1)

    def hamiltonian(self, t, y):
        return 0.5 * y[..., 1] ** 2 + 0.1 * t * y[..., 1] - torch.cos(y[..., 0])

    @property
    def parts(self):
        return shears(self, 2).parts


swing = Swing()


class Learned:
    """H = (1 + t) sum log cosh(y w), and its field."""

    damping = 0.0

    def __init__(self, w):
        self.w = w

    def __call__(self, t, y):
        q, p = (torch.tanh(y @ self.w) @ self.w.T * (1 + t)).chunk(2, -1)
        return torch.cat([p, -q], -1)

    def hamiltonian(self, t, y):
        return torch.log(torch.cosh(y @ self.w)).sum(-1) * (1 + t)

    @property
    def parts(self):
        return shears(self, 2).parts


QUICK = ("rk4", "dopri5", "gauss4", "rkmk4", "cf4", "cg3", "yoshida4", "strang", "discrete-gradient-gonzalez")
VECTOR = [n for n, m in METHODS.items() if m.domain not in ("lie-poisson", "cotangent")]


def times(*values):
    return torch.tensor(values, dtype=F64)


Y0 = torch.tensor([[1.0, 0.3], [-0.5, 2.0], [0.0, 0.0]], dtype=F64)


# one step of each classical method written out by hand ------------------------------------------------------------
def euler(f, t, h, y):
    return y + h * f(t, y)


def midpoint(f, t, h, y):
    return y + h * f(t + h / 2, y + h / 2 * f(t, y))


def rk4(f, t, h, y):
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@pytest.mark.parametrize(("name", "step"), [("lie-euler", euler), ("cg2", midpoint), ("rkmk4", rk4), ("rk4", rk4)])
def test_on_vectors_a_method_is_its_classical_namesake_to_rounding(name, step):
    y, h = Y0, 0.125
    for k in range(8):
        y = step(swing, torch.tensor(k * h, dtype=F64), h, y)
    found = odeint(swing, Y0, times(0, 1), method=name, steps=8)[-1]
    assert (found - y).abs().max() < 4e-16 * 8


def test_cg2_is_written_out_on_rotations():
    def field(t, y):
        return torch.stack([y[0, 1] + t, y[1, 2], y[2, 0]])

    y0 = SO3().random(3, 3, dtype=F64, generator=rng())
    h = times(0.2)[0]
    middle = torch.linalg.matrix_exp(SO3().hat(h / 2 * field(times(0)[0], y0))) @ y0
    wanted = torch.linalg.matrix_exp(SO3().hat(h * field(h / 2, middle))) @ y0
    found = odeint(field, y0, times(0, 0.2), space=SO3(), method="cg2")[-1]
    assert (found - wanted).abs().max() < 1e-15


def test_result_has_a_leading_time_dimension_and_starts_at_y0():
    t = times(0.0, 0.1, 0.5, 2.0)
    assert odeint(swing, Y0, t).shape == (4, 3, 2)
    assert torch.equal(odeint(swing, Y0, t)[0], Y0)
    y0 = SO3().random(5, 2, 3, 3, dtype=F64, generator=rng())
    found = odeint(lambda t, y: torch.ones(5, 2, 3, dtype=F64), y0, t, space=SO3())
    assert found.shape == (4, 5, 2, 3, 3)
    angle = odeint(lambda t, y: torch.ones(1, dtype=F64), torch.tensor(0.5, dtype=F64), t, space=Circle())
    assert angle.tolist() == pytest.approx([0.5, 0.6, 1.0, 2.5])
    assert odeint(swing, Y0, times(1.0)).shape == (1, 3, 2)


def test_images_may_be_points():
    y0 = torch.randn(4, 3, 5, dtype=F64, generator=rng())
    found = odeint(lambda t, y: -y, y0, times(0, 1), space=Euclidean(2), method="rk4", steps=50)[-1]
    assert torch.allclose(found, math.exp(-1) * y0, atol=1e-8, rtol=1e-8)


def test_the_step_length_has_the_higher_precision_of_times_and_points():
    """The default torch.linspace is float32, and times of sensors are large numbers in float64."""
    exact = odeint(swing, Y0, times(0.0, 1.0, 2.0), steps=10)
    found = odeint(swing, Y0, torch.linspace(0, 2, 3), steps=10)
    assert found.dtype is F64
    assert (found - exact).abs().max() < 1e-14
    late = odeint(lambda t, y: swing(t - 1e9, y), Y0.float(), 1e9 + times(0.0, 1.0, 2.0), steps=10)
    assert late.dtype is torch.float32
    assert (late.double() - exact).abs().max() < 1e-5


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in VECTOR])
def test_backward_time_retraces_the_solution(name):
    method = method_named(name)
    steps = 400 if method.is_explicit else 50
    there = odeint(swing, Y0, times(0, 1), method=name, steps=steps)[-1]
    back = odeint(swing, there, times(1, 0), method=name, steps=steps)[-1]
    assert (back - Y0).abs().max() < 3 * float(steps) ** -method.order + 1e-13  # above order 5, rounding


def test_steps_and_step_size_say_how_an_interval_is_cut():
    seen = []

    def field(t, y):
        seen.append(t.item())
        return y

    odeint(field, Y0, times(0, 1, 3), method="lie-euler", steps=2)
    assert seen == pytest.approx([0.0, 0.5, 1.0, 2.0])
    seen.clear()
    odeint(field, Y0, times(0, 1, 2.5), method="lie-euler", step_size=0.5)
    assert seen == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    seen.clear()
    odeint(field, Y0, times(0, 1), method="lie-euler", step_size=0.4)
    assert seen == pytest.approx([0.0, 1 / 3, 2 / 3])
    seen.clear()
    odeint(field, Y0, times(1, 0), method="lie-euler", step_size=10.0)
    assert seen == [1.0]
    seen.clear()
    odeint(field, Y0, times(0, 1, 2), method="lie-euler")
    assert seen == [0.0, 1.0]


def test_a_step_size_that_divides_the_interval_up_to_rounding_does_not_add_a_step():
    count = 0

    def field(t, y):
        nonlocal count
        count += 1
        return y

    odeint(field, Y0, times(0.0, 0.3), method="lie-euler", step_size=0.1)
    assert count == 3


@pytest.mark.parametrize("name", VECTOR)
def test_checkpoint_gives_the_gradient_of_autograd(name):
    w = torch.randn(2, 2, dtype=F64, generator=rng(1))

    def gradients(mode):
        weight, start = w.clone().requires_grad_(), Y0.clone().requires_grad_()
        found = odeint(Learned(weight), start, times(0, 0.5, 1), method=name, steps=3, gradient=mode)
        found.square().sum().backward()
        return found.detach(), weight.grad, start.grad

    for a, b in zip(gradients("autograd"), gradients("checkpoint"), strict=True):
        assert torch.equal(a, b)


def test_checkpoint_keeps_no_stages():
    """The saved tensors of a step are its ends: fewer bytes than the stages of rk4 take."""

    def saved(mode):
        size = 0

        def pack(x):
            nonlocal size
            size += x.numel()
            return x

        start = torch.randn(1000, 2, dtype=F64, generator=rng(2)).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            odeint(lambda t, y: torch.tanh(3 * torch.tanh(2 * y)), start, times(0, 1), method="rk4", gradient=mode)
        return size

    assert saved("checkpoint") < 0.5 * saved("autograd")


def test_times_may_carry_a_gradient():
    t = times(0.0, 0.7).requires_grad_()
    odeint(lambda t, y: y, torch.ones(1, dtype=F64), t, steps=20)[-1].sum().backward()
    assert t.grad.tolist() == pytest.approx([-math.exp(0.7), math.exp(0.7)], rel=1e-6)


def test_tangent_fields_are_lifted():
    """The geodesic's velocity, given as a tangent vector, leads to the geodesic's end."""
    space = SPD("affine-invariant", n=3)
    x, y = space.random(2, 3, 3, dtype=F64, generator=rng(3))

    def towards(t, p):
        return space.logmap(p, y) / (1 - t)

    found = odeint(from_tangent(space, towards), x, times(0, 0.9), space=space, method="rkmk4", steps=20)[-1]
    assert space.dist(found, space.geodesic(x, y, 0.9)) < 1e-6


# events --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["dopri5", "cf4", "rk4", "gauss4"])
def test_an_event_is_found_with_the_gradient_of_its_time(name):
    """A ball falls from height 10: it lands at sqrt(20 / g), with the speed sqrt(20 g)."""
    g = torch.tensor(9.81, dtype=F64, requires_grad=True)

    def fall(t, y):
        return torch.stack([y[..., 1], -g.expand(y.shape[:-1])], -1)

    start = times(10, 0)
    time, y = odeint(fall, start, times(0, 0.1), method=name, event_fn=lambda t, y: y[..., 0])
    assert time.item() == pytest.approx(math.sqrt(20 / 9.81), abs=1e-12)
    assert y.shape == (2, 2)
    assert torch.equal(y[0], start)
    assert y[1].tolist() == pytest.approx([0.0, -math.sqrt(20 * 9.81)], abs=1e-10)
    (slope,) = torch.autograd.grad(time, g, retain_graph=True)
    assert slope.item() == pytest.approx(-0.5 * math.sqrt(20) * 9.81**-1.5, rel=1e-6)
    (slope,) = torch.autograd.grad(y[1, 1], g)
    assert slope.item() == pytest.approx(-0.5 * math.sqrt(20 / 9.81), rel=1e-6)


def test_the_first_of_several_events_ends_the_integration_and_a_start_on_one_does_not():
    def event(t, y):
        return torch.stack([y[..., 0] - 0.9, y[..., 0] + 0.5, t - 7.0])

    def turn(t, y):
        return torch.stack([y[..., 1], -y[..., 0]], -1)

    time, _ = odeint(turn, times(1, 0), times(0, 1), method="dopri5", rtol=1e-10, atol=1e-12, event_fn=event)
    assert time.item() == pytest.approx(math.acos(0.9), abs=1e-8)
    time, _ = odeint(turn, times(0.9, 0.1), times(0, 1), method="dopri5", rtol=1e-10, atol=1e-12, event_fn=event)
    # back at 0.9 on the same circle
    assert time.item() == pytest.approx(2 * math.atan2(0.1, 0.9), abs=1e-8)
    time, _ = odeint_event(
        turn, times(1, 0), times(0)[0], event_fn=event, reverse_time=True, method="dopri5", rtol=1e-9
    )
    assert time.item() == pytest.approx(-math.acos(0.9), abs=1e-6)
    found = solve(turn, times(1, 0), times(0, 1), method="dopri5", event_fn=event)
    assert found.status.name == "EVENT"
    assert torch.equal(found.event_time, odeint(turn, times(1, 0), times(0, 1), method="dopri5", event_fn=event)[0])


def test_events_on_a_curved_space():
    """A turn at one radian a second about z: the first column meets the y axis after a quarter."""
    rate = times(0, 0, 1)
    time, y = odeint(lambda t, r: rate, torch.eye(3, dtype=F64), times(0, 1), space=SO3(), method="rkmk-dopri5",
                     event_fn=lambda t, r: r[..., 0, 0])  # fmt: skip
    assert time.item() == pytest.approx(math.pi / 2, abs=1e-12)
    assert (y[1].mT @ y[1] - torch.eye(3, dtype=F64)).abs().max() < 1e-14


@pytest.mark.parametrize("name", ["rk4", "dopri5"])
def test_an_event_that_never_comes_is_an_error(name):
    with pytest.raises(mn.integrators.IntegrationError, match=r"event_fn .*change its sign"):
        odeint(swing, Y0, times(0, 1), method=name, event_fn=lambda t, y: y[..., 0] - 100, max_steps=20)


# tuples --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["rk4", "dopri5", "gauss4"])
def test_tuples_of_any_shapes(method):
    def field(t, y):
        a, b = y
        return b.mean() * a, -b

    a, b = torch.randn(4, 3, dtype=F64, generator=rng(5)), torch.ones(2, dtype=F64)
    steps = None if method == "dopri5" else 20
    found = odeint(field, (a, b), times(0, 0.5, 1), method=method, steps=steps, rtol=1e-9)
    assert [tuple(part.shape) for part in found] == [(3, 4, 3), (3, 2)]
    assert torch.equal(found[0][0], a)
    assert (found[1][-1] - math.exp(-1)).abs().max() < 1e-6
    assert (found[0][-1] - a * math.exp(1 - math.exp(-1))).abs().max() < 1e-5


def test_tuples_on_a_product():
    """A rigid frame and its position; the field sees and returns the parts."""
    space = mn.Product([SO3(), Euclidean(1, shape=(3,))])

    def field(t, y):
        r, x = y
        return torch.stack([t + 0 * x[..., 0], r[..., 0, 1], x[..., 2]], -1), r[..., 0]

    r, x = SO3().random(5, 3, 3, dtype=F64, generator=rng(6)), torch.randn(5, 3, dtype=F64, generator=rng(7))
    rs, xs = odeint(field, (r, x), times(0, 1), space=space, method="rkmk4", steps=10)
    flat = odeint(lambda t, y: torch.cat(field(t, (y[..., :9].unflatten(-1, (3, 3)), y[..., 9:])), -1),
                  torch.cat([r.flatten(-2), x], -1), times(0, 1), space=space, method="rkmk4", steps=10)  # fmt: skip
    assert torch.equal(torch.cat([rs.flatten(-2), xs], -1), flat)
    time, (rs, xs) = odeint(field, (r[0], x[0]), times(0, 1), space=space, method="rkmk-bs32",
                            event_fn=lambda t, y: t - 0.1 * y[1].square().sum().sin() - 0.5)  # fmt: skip
    assert time.item() == pytest.approx(0.1 * xs[1].square().sum().sin().item() + 0.5, abs=1e-9)


BAD = {
    "tuple on rotations": ({"space": SO3(), "y0": (torch.eye(3), torch.zeros(3))}, "space: .*Product of 2"),
    "too many parts": (
        {"space": mn.Product([SO3(), Circle()]), "y0": (torch.eye(3), torch.zeros(()), torch.zeros(()))},
        "y0: wanted 2 parts",
    ),
    "no Lie-Poisson space": ({"method": "lie-poisson-discrete-gradient"}, "method: .*LiePoisson"),
    "no cotangent bundle": ({"method": "lie-verlet"}, "method: 'lie-verlet' wants Product"),
    "vectors of momenta": ({"space": mn.LiePoisson(SO3()), "y0": torch.zeros(3), "method": "rk4"}, "method: 'rk4'"),
    "method": ({"method": "rk5"}, "method: .*rk4.*'rk5'"),
    "classical on rotations": ({"space": SO3(), "y0": torch.eye(3), "method": "rk4"}, "method: 'rk4' .*SO3"),
    "equal times": ({"t": times(0, 0)}, "t: "),
    "turning times": ({"t": times(0, 1, 0.5)}, "t: "),
    "nan times": ({"t": times(0, math.nan)}, "t: "),
    "both": ({"steps": 2, "step_size": 0.1}, "step_size, steps: "),
    "no times": ({"t": times()}, "t: .*none"),
    "length that is no number": ({"step_size": math.nan}, "step_size: .*got nan"),
    "no steps": ({"steps": 0}, "steps: .*got 0"),
    "no length": ({"step_size": 0.0}, "step_size: .*got 0"),
    "backward length": ({"step_size": -0.1}, "step_size: .*-0.1"),
    "shape": ({"space": SO3(), "y0": torch.zeros(3)}, "y0"),
    "no vector": ({"y0": torch.tensor(1.0)}, "y0"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_argument(name):
    changes, message = BAD[name]
    arguments = {"y0": Y0, "t": times(0, 1)} | changes
    with pytest.raises(ValueError, match=message):
        odeint(swing, **arguments)


def test_an_unknown_gradient_mode_is_refused():
    with pytest.raises(ValueError, match=r"gradient: .*'adjoint'"):
        check(method_named("rk4"), Euclidean(1), "adjoint")


def test_the_public_name_is_the_same_function():
    assert mn.odeint is odeint
