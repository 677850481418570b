import math

import pytest
import torch
from torch import nn

from manifoldnet import SO3, Circle, Euclidean, odeint
from manifoldnet.fields import (
    DampedHamiltonianField,
    DivergenceFree,
    GradientField,
    HamiltonianField,
    ManifoldGradientFlow,
    ProjectedField,
)
from manifoldnet.integrators import METHODS
from manifoldnet.nn import Flow

F64 = torch.float64


class Linear(nn.Module):
    """y' = A y + t, a field without a space of its own."""

    def __init__(self, dtype=F64):
        super().__init__()
        self.A = nn.Parameter(torch.tensor([[0.0, 1.0], [-1.0, -0.1]], dtype=dtype))

    def forward(self, t, y):
        return y @ self.A.mT + t


class Autonomous(Linear):
    def forward(self, t, y):
        return y @ self.A.mT


def test_it_is_odeint_from_zero_to_t1():
    y0 = torch.randn(5, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    for t1, steps in ((1.0, 8), (2.5, 3), (-1.0, 4)):
        t = torch.tensor([0.0, t1], dtype=F64)
        wanted = odeint(Linear(), y0, t, method="rk4", steps=steps)[-1]
        assert (Flow(Linear(), method="rk4", steps=steps, t1=t1)(y0) - wanted).abs().max() < 1e-14


def test_the_negative_time_runs_backwards():
    y0 = torch.randn(5, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    there = Flow(Autonomous(), steps=50, t1=1.0)(y0)
    assert (Flow(Autonomous(), steps=50, t1=-1.0)(there) - y0).abs().max() < 1e-7
    assert torch.allclose(there, y0 @ torch.linalg.matrix_exp(Autonomous().A).mT, rtol=1e-7, atol=1e-7)


def test_the_space_is_the_fields_unless_another_is_given():
    field = ManifoldGradientFlow(SO3())
    assert Flow(field, method="rkmk4").space is field.space
    other = SO3()
    assert Flow(field, method="rkmk4", space=other).space is other
    assert isinstance(Flow(Linear()).space, Euclidean)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_points_keep_their_type(dtype):
    y0 = torch.ones(3, 2, dtype=dtype)
    assert Flow(Linear(dtype))(y0).dtype is dtype
    assert Flow(ManifoldGradientFlow(Circle()).to(dtype), method="cg2")(y0).dtype is dtype


def test_it_trains():
    """The flow of a matrix learns the rotation by a right angle."""
    flow = Flow(Autonomous(), steps=4)
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.05)
    y0 = torch.randn(32, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    target = y0 @ torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=F64)
    for _ in range(100):
        optimiser.zero_grad()
        loss = (flow(y0) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-3
    assert flow.field.A[0, 1].item() == pytest.approx(math.pi / 2, abs=0.05)


def test_flows_are_modules_that_compose_save_and_say_what_they_are():
    stack = nn.Sequential(Flow(Linear(), steps=2), Flow(Linear(), method="cg2", steps=3, t1=0.5))
    assert {"0.field.A", "1.field.A"} == set(stack.state_dict())
    assert "method='cg2', steps=3, t1=0.5, space=Euclidean" in repr(stack)
    assert stack(torch.ones(4, 2, dtype=F64)).shape == (4, 2)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"method: .*'rk5'"):
        Flow(Linear(), method="rk5")
    with pytest.raises(ValueError, match=r"method: 'rk4' .*SO3"):
        Flow(ManifoldGradientFlow(SO3()))
    with pytest.raises(ValueError, match=r"steps: .*got 0"):
        Flow(Linear(), steps=0)


def test_a_rotation_at_unit_speed_ends_at_t1():
    class Spin(nn.Module):
        space = Circle()

        def forward(self, t, y):
            return torch.ones(*y.shape, 1, dtype=y.dtype)

    start = torch.tensor([0.0, 3.0], dtype=F64)
    assert Flow(Spin(), method="rkmk4", t1=1.0)(start).tolist() == pytest.approx([1.0, 4.0 - 2 * math.pi])


# steps ---------------------------------------------------------------------------------------------------------------
def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_certified_steps_follow_the_norm_and_the_radius():
    """ceil(T L |A|^2 / (2 r)), anew when A changes."""
    field = GradientField(3, 5, generator=torch.Generator().manual_seed(0)).double()
    for scale in (1.0, 3.0):
        with torch.no_grad():
            field.A.mul_(scale)
        square = torch.linalg.matrix_norm(field.A.detach(), 2).item() ** 2
        for method, radius in (("euler", 1.0), ("rk4", 1.0), ("ssprk33", METHODS["ssprk33"].circle_radius)):
            flow = Flow(field, method, steps="certified", t1=7.0)
            assert flow.certified_steps() == math.ceil(7.0 * square / (2 * radius))
            assert len(flow.intervals()) == flow.certified_steps()
    assert Flow(field, "implicit-midpoint", steps="certified", t1=7.0).certified_steps() == 1
    with pytest.raises(ValueError, match="no circle radius"):
        Flow(field, "midpoint", steps="certified")(normal(2, 3))
    with pytest.raises(ValueError, match="declares no cocoercivity"):
        Flow(Linear(), "euler", steps="certified")(normal(2, 2))


def test_adaptive_steps_meet_the_tolerance():
    y0 = normal(5, 2)
    want = Flow(Linear(), "rk4", steps=2000, t1=2.0)(y0)
    for rtol in (1e-4, 1e-8):
        found = Flow(Linear(), "dopri5", steps="adaptive", t1=2.0, rtol=rtol, atol=rtol)(y0)
        assert (found - want).abs().max() < 20 * rtol
    curved = ManifoldGradientFlow(SO3(), generator=torch.Generator().manual_seed(0)).double()
    r = SO3().random(4, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    found = Flow(curved, "rkmk-dopri5", steps="adaptive", rtol=1e-9)(r)
    assert (found - Flow(curved, "rkmk4", steps=200)(r)).abs().max() < 1e-7


@pytest.mark.parametrize("kind", ["free", "positive", "simplex"])
@pytest.mark.parametrize("t1", [2.0, -2.0])
def test_learned_steps_start_equal_and_keep_what_they_promise(kind, t1):
    field, y0 = GradientField(2, time="piecewise-linear", knots=3).double(), normal(6, 2)
    flow = Flow(field, steps=5, t1=t1, step_sizes=kind).double()
    assert (flow(y0) - Flow(field, steps=5, t1=t1)(y0)).abs().max() < 1e-6  # the parameters were made in float32
    optimiser = torch.optim.Adam(flow.step_sizes.parameters(), lr=0.02)
    before = flow.step_sizes().detach().clone()
    for _ in range(20):
        optimiser.zero_grad()
        flow(y0).square().mean().backward()
        optimiser.step()
    after = flow.step_sizes().detach()
    assert (after - before).abs().max() > 1e-3
    if kind != "free":
        assert (after * math.copysign(1, t1) > 0).all()
    if kind == "simplex":
        assert after.sum().item() == pytest.approx(t1)
    ends = torch.stack([t + h for t, h in flow.intervals(y0)])
    assert torch.allclose(ends, after.cumsum(0), atol=1e-14)


def test_the_gradient_of_the_step_sizes_is_that_of_differences():
    flow, y0 = Flow(Linear(), steps=3, step_sizes="free").double(), normal(2, 2)

    def end(raw):
        return torch.func.functional_call(flow, {"step_sizes.raw": raw}, (y0,))

    assert torch.autograd.gradcheck(end, (torch.tensor([0.3, 0.2, 0.4], dtype=F64, requires_grad=True),))


def test_a_trajectory_is_all_points():
    y0 = normal(6, 2)
    points = Flow(Linear(), steps=4, t1=2.0, trajectory=True)(y0)
    assert points.shape == (5, 6, 2)
    assert torch.equal(points[0], y0)
    assert torch.equal(points[-1], Flow(Linear(), steps=4, t1=2.0)(y0))
    assert (points[2] - Flow(Linear(), steps=2, t1=1.0)(y0)).abs().max() < 1e-15


@pytest.mark.parametrize(
    "method", ["symplectic-euler", "stormer-verlet", "yoshida4", "suzuki4", "conformal-euler", "conformal-verlet"]
)
@pytest.mark.parametrize("step_sizes", ["equal", "simplex"])
def test_drifts_and_kicks_are_undone(method, step_sizes):
    generator = torch.Generator().manual_seed(0)
    kind = DampedHamiltonianField if method.startswith("conformal") else HamiltonianField
    field = kind(2, 5, time="piecewise-linear", knots=3, generator=generator).double()
    flow, y = Flow(field, method, steps=7, step_sizes=step_sizes).double(), normal(20, 4)
    assert (flow.inverse(flow(y)) - y).abs().max() < 1e-13
    assert (flow(flow.inverse(y)) - y).abs().max() < 1e-13


@pytest.mark.parametrize("method", ["lie-trotter", "strang"])
@pytest.mark.parametrize("kind", ["shears", "pairs", "skew"])
def test_splittings_are_undone(method, kind):
    field = DivergenceFree(
        3, kind, time="piecewise-linear", knots=3, generator=torch.Generator().manual_seed(0)
    ).double()
    flow, y = Flow(field, method, steps=5), normal(20, 3)
    assert (flow.inverse(flow(y)) - y).abs().max() < 1e-12


def test_symmetric_methods_are_undone_on_curved_spaces_too():
    field = ManifoldGradientFlow(SO3(), generator=torch.Generator().manual_seed(0)).double()
    flow, r = Flow(field, "lie-midpoint", steps=5), SO3().random(4, 3, 3, dtype=F64)
    assert (flow.inverse(flow(r)) - r).abs().max() < 1e-12


def test_what_cannot_be_undone_is_refused():
    with pytest.raises(ValueError, match=r"inverse: wanted .*got 'rk4' with steps=8"):
        Flow(Linear()).inverse(normal(2, 2))
    with pytest.raises(ValueError, match=r"inverse: wanted .*'adaptive'"):
        Flow(Linear(), "dopri5", steps="adaptive").inverse(normal(2, 2))
    with pytest.raises(ValueError, match="without projection"):
        Flow(ProjectedField(2), "euler").inverse(normal(2, 2))
    with pytest.raises(ValueError, match="'stormer-verlet' leaves the damping to kicks that cannot be undone"):
        Flow(DampedHamiltonianField(2), "stormer-verlet").inverse(normal(2, 4))


BAD = {
    "steps: wanted at least 1, got 0": {"steps": 0},
    "steps: wanted a number, 'certified' or 'adaptive', got 'many'": {"steps": "many"},
    "steps: 'adaptive' wants a method with an embedded one": {"steps": "adaptive"},
    "steps: 'adaptive' wants .* no trajectory": {"steps": "adaptive", "method": "dopri5", "trajectory": True},
    "step_sizes: wanted 'equal', 'free', 'positive' or 'simplex', got 'even'": {"step_sizes": "even"},
    "step_sizes: 'free' wants a number of steps, got steps='certified'": {"step_sizes": "free", "steps": "certified"},
}


@pytest.mark.parametrize("message", BAD)
def test_options_that_make_no_sense_are_refused(message):
    with pytest.raises(ValueError, match=message):
        Flow(Linear(), **BAD[message])
