import itertools
import math
import subprocess
import sys

import pytest
import torch
from scipy.integrate import quad
from torch import nn

from manifoldnet import SO3, SPD
from manifoldnet.errors import InputError
from manifoldnet.fields import GradientField, HamiltonianField, ManifoldGradientFlow, ManifoldHamiltonian, ResNetField
from manifoldnet.nn import Flow
from manifoldnet.training.multilevel import prolong
from manifoldnet.training.regularisers import parameters_in_time, time_smoothness

F64 = torch.float64
KINDS = ["piecewise-constant", "piecewise-linear"]
ORDERS = ["l2", "h1", "tv"]
T1 = 1.7


class Curve(nn.Module):
    """A field whose parameters are samples of a smooth curve in R^2, and a constant one."""

    def __init__(self, kind, knots):
        super().__init__()
        self.inner = GradientField(1, 2, time=kind, knots=knots, t1=T1).double()
        self.other = ResNetField(2).double()
        place = torch.arange(knots, dtype=F64)
        t = T1 * (place / (knots - 1) if kind == "piecewise-linear" else (place + 0.5) / knots)
        with torch.no_grad():
            self.inner.A.zero_()
            self.inner.b.copy_(torch.stack([t.sin(), (2 * t).cos()], 1))


INTEGRALS = {  # of sin(t), cos(2 t) from 0 to T1
    "l2": 0.5 * quad(lambda t: math.sin(t) ** 2 + math.cos(2 * t) ** 2, 0, T1)[0],
    "h1": 0.5 * quad(lambda t: math.cos(t) ** 2 + 4 * math.sin(2 * t) ** 2, 0, T1)[0],
    "tv": quad(lambda t: math.hypot(math.cos(t), 2 * math.sin(2 * t)), 0, T1)[0],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_values_converge_to_the_integral_as_knots_double(kind, order):
    errors = [
        abs(time_smoothness(Curve(kind, knots), order, smoothing=1e-9).item() - INTEGRALS[order])
        for knots in (16, 32, 64, 128, 256)
    ]
    assert errors[-1] < 3e-3 * INTEGRALS[order]
    assert errors[-1] < errors[0] / 15
    assert all(late < 0.75 * early for early, late in itertools.pairwise(errors))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knots", [2, 5])
def test_values_are_those_of_the_formulas(kind, knots):
    field = ResNetField(3, time=kind, knots=knots, t1=T1, generator=torch.Generator().manual_seed(0)).double()
    h = T1 / (knots if kind == "piecewise-constant" else knots - 1)
    rough = variation = 0.0
    for theta in (field.A.detach(), field.b.detach()):
        for k in range(knots - 1):
            size = math.sqrt(sum(float(x) ** 2 for x in (theta[k + 1] - theta[k]).flatten()))
            rough += 0.5 * h * (size / h) ** 2
            variation += math.hypot(size, 0.01 * h) - 0.01 * h

    def size_at(t):
        t = torch.tensor(t, dtype=F64)
        return sum(field.in_time.at(theta.detach(), t).square().sum().item() for theta in (field.A, field.b))

    square = sum(quad(size_at, k * h, (k + 1) * h)[0] for k in range(round(T1 / h)))
    assert time_smoothness(field, "h1", 3.0).item() == pytest.approx(3 * rough, rel=1e-12)
    assert time_smoothness(field, "tv", 3.0, 0.01).item() == pytest.approx(3 * variation, rel=1e-12)
    assert time_smoothness(field, "l2", 3.0).item() == pytest.approx(1.5 * square, rel=1e-7)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_more_knots_of_the_same_function_leave_the_value(kind, order, factor):
    flow = Flow(ResNetField(2, time=kind, knots=4, t1=T1), steps=4, t1=T1).double()
    before, after = (time_smoothness(f, order, smoothing=1e-3) for f in (flow, prolong(flow, factor)))
    if kind == "piecewise-constant" and order == "h1":  # jumps have no h1 norm: it grows as the knots
        assert after.item() == pytest.approx(factor * before.item(), rel=1e-12)
    elif kind == "piecewise-constant" and order == "tv":
        assert abs(after - before) <= 2 * 1e-3 * T1
    else:
        assert after.item() == pytest.approx(before.item(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_smoothed_variation_is_below_the_variation_by_its_bound(kind):
    field = ResNetField(2, time=kind, knots=9, t1=T1).double()
    exact = sum(p.diff(dim=0).flatten(1).norm(dim=1).sum() for p in field.parameters())
    for smoothing in (1e-6, 1e-2, 1.0):
        gap = exact - time_smoothness(field, "tv", smoothing=smoothing)
        assert 0 <= gap <= 2 * smoothing * T1 + 1e-14  # two parameters


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["h1", "tv"])
def test_parameters_that_do_not_change_cost_nothing_and_have_no_gradient(order, kind, dtype):
    field = ResNetField(2, time=kind, knots=5).to(dtype)
    with torch.no_grad():
        for p in field.parameters():
            p.copy_(p[:1].expand_as(p))
    value = time_smoothness(field, order)
    value.backward()
    assert value == 0
    assert all((p.grad == 0).all() for p in field.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_are_those_of_differences(order, kind):
    field = GradientField(2, 2, time=kind, knots=3, t1=T1).double()

    def value(A, b):
        return torch.func.functional_call(Wrapped(field, order), {"field.A": A, "field.b": b}, ())

    assert torch.autograd.gradcheck(value, (field.A, field.b))


class Wrapped(nn.Module):
    def __init__(self, field, order):
        super().__init__()
        self.field, self.order = field, order

    def forward(self):
        return time_smoothness(self.field, self.order, 2.0)


@pytest.mark.slow
def test_it_compiles():
    """In a process of its own: the shape checks which the tests switch on cannot be traced."""
    program = """
import torch
from manifoldnet.fields import ResNetField
from manifoldnet.training.regularisers import time_smoothness
field = ResNetField(2, time="piecewise-linear", knots=4)
for order in ("l2", "h1", "tv"):
    compiled = torch.compile(lambda: time_smoothness(field, order), fullgraph=True, backend="eager")
    assert torch.allclose(compiled(), time_smoothness(field, order))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_every_field_within_is_found_once():
    options = {"time": "piecewise-linear", "knots": 3}
    shared = HamiltonianField(2, **options)
    net = nn.Sequential(Flow(shared, "stormer-verlet"), Flow(shared, "stormer-verlet"), Flow(ResNetField(4)))
    assert len(parameters_in_time(net)) == 4
    assert torch.equal(time_smoothness(net), 0.5 * shared.roughness())
    on_group = ManifoldHamiltonian(SO3(), **options)
    assert time_smoothness(on_group) > 0
    assert len(parameters_in_time(on_group)) == 2


BAD = {
    "order: wanted one of l2, h1, tv, got 'h2'": {"order": "h2"},
    "alpha, smoothing: .*got -1.0": {"alpha": -1.0},
    "alpha, smoothing: .*and 0.0": {"smoothing": 0.0},
    "alpha, smoothing: .*got nan": {"alpha": math.nan},
    "module: wanted a field with time=.*got none": {"module": ResNetField(2)},
    "module: wanted parameters with values": {
        "module": ManifoldGradientFlow(SPD(), time="piecewise-constant", knots=2)
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    arguments = {"module": ResNetField(2, time="piecewise-linear", knots=3), **BAD[message]}
    with pytest.raises(InputError, match=message):
        time_smoothness(**arguments)
