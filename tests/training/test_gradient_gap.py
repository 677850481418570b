import pytest
import torch

from manifoldnet import SO3
from manifoldnet.errors import InputError
from manifoldnet.fields import HamiltonianField, ManifoldGradientFlow, ResNetField
from manifoldnet.nn import Flow
from manifoldnet.training.gradient_gap import gradient_gap

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(field, x, count):
    """The naive gradient of half the squared end of Euler's method, and the one of Theorem 3.2, written out."""
    h = 1 / count
    points = [x]
    for k in range(count):
        points.append((points[-1] + h * field(torch.tensor(k * h, dtype=F64), points[-1])).detach())
    found = []
    for shift in (1, 0):
        p, total = points[-1], 0.0
        for k in reversed(range(count)):
            y = points[k + shift].clone().requires_grad_()
            f = field(torch.tensor(k * h, dtype=F64), y)
            pulled, *gradients = torch.autograd.grad(f, (y, *field.parameters()), h * p)
            total = total + torch.cat([g.flatten() for g in gradients])
            p = p + pulled
        found.append(total)
    return found


@pytest.mark.parametrize("time", ["constant", "piecewise-constant"])
def test_the_naive_adjoint_of_eulers_method_is_off_by_the_step(time):
    knots = None if time == "constant" else 5
    field = ResNetField(3, time=time, knots=knots, generator=rng()).double()
    x = torch.randn(4, 3, dtype=F64, generator=rng(1))
    table = gradient_gap(Flow(field, "euler"), x, steps=(5, 10, 20))
    assert [row.steps for row in table.rows] == [5, 10, 20]
    for row in table.rows:
        naive, matched = by_hand(field, x, row.steps)
        assert row.naive == pytest.approx(float((naive - matched).norm() / matched.norm()), rel=1e-10)
        assert row.matched < 1e-15
    assert table.slope("naive") == pytest.approx(1.0, abs=0.2)


def test_the_adjoint_equation_is_off_by_the_order_and_printing_gives_the_table():
    field = ResNetField(3, generator=rng()).double()
    table = gradient_gap(Flow(field, "rk4"), torch.randn(4, 3, dtype=F64, generator=rng(1)), steps=(5, 10, 20))
    assert table.slope("continuous") == pytest.approx(4.0, abs=0.3)
    assert table.slope("naive") == pytest.approx(1.0, abs=0.2)
    text = str(table).splitlines()
    assert "ResNetField, 'rk4'" in text[0]
    assert all(name in str(table) for name in ("steps", "naive", "continuous", "matched"))
    assert f"{table.rows[0].naive:.3g}" in str(table)


def test_on_rotations():
    field = ManifoldGradientFlow(SO3(), features=3, generator=rng()).double()
    y0 = SO3().random(2, 3, 3, dtype=F64, generator=rng(1))
    table = gradient_gap(Flow(field, "rkmk2"), y0, lambda y: (y[..., 0, 1] + y[..., 2, 0]).sum(), steps=(5, 10))
    assert table.slope("naive") == pytest.approx(1.0, abs=0.25)
    assert table.slope("continuous") > 1.7
    assert max(row.matched for row in table.rows) < 1e-15


def test_methods_without_an_equation_of_costates_have_no_number_there():
    table = gradient_gap(Flow(HamiltonianField(1).double(), "stormer-verlet"), torch.ones(2, dtype=F64), steps=(4,))
    assert table.rows[0].continuous != table.rows[0].continuous
    assert table.rows[0].matched < 1e-15


@pytest.mark.parametrize("steps", [(), (0, 1), (4, 2)])
def test_steps_must_increase(steps):
    with pytest.raises(InputError, match="steps: "):
        gradient_gap(Flow(ResNetField(3)), torch.ones(3), steps=steps)


def test_a_field_without_parameters_is_refused():
    field = ResNetField(3)
    for parameter in field.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(InputError, match="flow: wanted a field with parameters, got ResNetField"):
        gradient_gap(Flow(field), torch.ones(3))
