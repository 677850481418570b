"""Coupled phases: minus the gradient of a potential, with its symmetries, and descent by certified steps."""

import math

import torch

from manifoldnet import Circle, odeint
from manifoldnet.fields import CoupledPhases

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=rng(seed))


def coupled(turn=0.0, sign=1.0):
    """A field on 2 images of 5 x 7 angles, its data turned by an angle or negated with the wanted differences."""
    weights = [torch.rand(2, *shape, dtype=F64, generator=rng(9)) for shape in ((5, 6), (4, 7), (5, 7))]
    wanted = [sign * normal(2, *shape, seed=k) for k, shape in enumerate(((5, 6), (4, 7), (5, 7)))]
    wanted[2] = wanted[2] + turn
    return CoupledPhases(*zip(wanted, weights, strict=True))


def test_it_is_minus_the_gradient_of_its_potential():
    field, y = coupled(), normal(2, 5, 7, seed=5).requires_grad_()
    (gradient,) = torch.autograd.grad(field.potential(0.0, y).sum(), y)
    torch.testing.assert_close(field(0.0, y)[..., 0], -gradient, rtol=1e-13, atol=1e-13)
    assert field.potential(0.0, y).shape == (2,)


def test_a_single_edge_by_hand():
    edge = torch.tensor([[0.5]], dtype=F64), torch.tensor([[2.0]], dtype=F64)
    nothing = torch.zeros(0, 2, dtype=F64), torch.zeros(0, 2, dtype=F64)
    data = torch.tensor([[0.1, 3.0]], dtype=F64), torch.tensor([[1.0, 0.0]], dtype=F64)
    y = torch.tensor([[0.3, 1.7]], dtype=F64)
    pull = 2 * math.sin(1.7 - 0.3 - 0.5)
    wanted = torch.tensor([[pull - math.sin(0.2), -pull]], dtype=F64)
    torch.testing.assert_close(CoupledPhases(edge, nothing, data)(0.0, y)[..., 0], wanted)


def test_a_common_turn_and_a_negation_change_nothing():
    y = normal(2, 5, 7, seed=5)
    wanted = coupled()(0.0, y)
    torch.testing.assert_close(coupled(turn=0.7)(0.0, y + 0.7), wanted)
    torch.testing.assert_close(coupled(sign=-1.0)(0.0, -y), -wanted)
    torch.testing.assert_close(coupled()(0.0, y + 2 * math.pi), wanted)


def test_its_constant_bounds_every_slope():
    field = coupled()
    bound, slopes = field.lipschitz().item(), []
    for seed in range(20):
        y = normal(2, 5, 7, seed=seed)
        jacobian = torch.autograd.functional.jacobian(lambda x: field(0.0, x)[0, ..., 0], y)[:, :, 0].reshape(35, 35)
        slopes.append(torch.linalg.matrix_norm(jacobian, 2).item())
    assert 0.3 * bound < max(slopes) <= bound


def test_steps_below_the_bound_descend():
    field, y = coupled(), 3 * normal(2, 5, 7, seed=8)
    steps = math.ceil(3 * field.lipschitz().item() / 1.9)
    t = torch.linspace(0, 3, steps + 1, dtype=F64)
    points = odeint(field, y, t, space=Circle(), method="lie-euler", steps=1)
    values = torch.stack([field.potential(0.0, x) for x in points])
    assert (values.diff(dim=0) <= 1e-13).all()
    assert (values[-1] < values[0]).all()
