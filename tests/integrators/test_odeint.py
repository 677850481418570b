import math

import pytest
import torch

import manifoldnet as mn
from manifoldnet import SO3, SPD, Circle, Euclidean, odeint
from manifoldnet.fields import from_tangent
from manifoldnet.integrators import METHODS, method_named
from manifoldnet.integrators.odeint import check

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def swing(t, y):
    """A nonlinear, time dependent field on R^2."""
    return torch.stack([y[..., 1] + 0.1 * t, -torch.sin(y[..., 0])], -1)


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


@pytest.mark.parametrize("name", METHODS)
def test_backward_time_retraces_the_solution(name):
    method = method_named(name)
    there = odeint(swing, Y0, times(0, 1), method=name, steps=400)[-1]
    back = odeint(swing, there, times(1, 0), method=name, steps=400)[-1]
    assert (back - Y0).abs().max() < 3 * 400.0**-method.order


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


@pytest.mark.parametrize("name", METHODS)
def test_checkpoint_gives_the_gradient_of_autograd(name):
    w = torch.randn(2, 2, dtype=F64, generator=rng(1))

    def gradients(mode):
        weight, start = w.clone().requires_grad_(), Y0.clone().requires_grad_()
        found = odeint(lambda t, y: torch.tanh(y @ weight) * (1 + t), start, times(0, 0.5, 1), method=name, steps=3,
                       gradient=mode)  # fmt: skip
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


BAD = {
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
