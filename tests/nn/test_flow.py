import math

import pytest
import torch
from torch import nn

from manifoldnet import SO3, Circle, Euclidean, odeint
from manifoldnet.fields import ManifoldGradientFlow
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
