"""exp(hat(v)) y against the matrix exponential in float64 and its derivatives against autograd's."""

import pytest
import torch

from manifoldnet.linalg import hat, rotation_expm
from manifoldnet.linalg.turn import rotation_turn

F64 = torch.float64


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-12, 1e-8, 1e-4, 0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("columns", [1, 3, 5])
def test_value_is_that_of_the_matrix_exponential(scale, columns):
    v, y = normal(20, 3, scale=scale), normal(20, 3, columns, seed=1)
    assert (rotation_turn(v, y) - torch.linalg.matrix_exp(hat(v)) @ y).abs().max() < 3e-15 * (3 + scale)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-8, 1e-4, 1e-2, 0.3, 1.0, 3.0])
def test_gradient_is_that_of_the_closed_form(scale):
    g = normal(20, 3, 3, seed=2)
    found = []
    for function in (rotation_turn, lambda v, y: rotation_expm(v) @ y):
        v, y = normal(20, 3, scale=scale).requires_grad_(), normal(20, 3, 3, seed=1).requires_grad_()
        found.append(torch.autograd.grad((function(v, y) * g).sum(), (v, y)))
    for one, two in zip(*found, strict=True):
        assert (one - two).abs().max() < 2e-14


@pytest.mark.parametrize("scale", [0.0, 1e-8, 0.3, 2.0])
def test_derivatives_of_higher_order_and_forward_mode(scale):
    v, y = normal(2, 3, scale=scale).requires_grad_(), normal(2, 3, 2, seed=1).requires_grad_()
    # at 0 central differences see the function on both sides of its series
    assert torch.autograd.gradcheck(rotation_turn, (v, y), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(rotation_turn, (v, y))


def test_transforms_take_it():
    v, y = normal(4, 3), normal(4, 3, 3, seed=1)
    wanted = rotation_expm(v) @ y
    assert (torch.func.vmap(rotation_turn)(v, y) - wanted).abs().max() < 1e-15
    jacobian = torch.func.jacrev(rotation_turn)(v[0], y[0])
    reference = torch.func.jacrev(lambda v, y: rotation_expm(v) @ y)(v[0], y[0])
    assert (jacobian - reference).abs().max() < 1e-14


def test_batches_broadcast_and_gradients_are_summed():
    v, y = normal(5, 1, 3).requires_grad_(), normal(4, 3, 3, seed=1).requires_grad_()
    found = rotation_turn(v, y)
    assert found.shape == (5, 4, 3, 3)
    assert (found - rotation_expm(v) @ y).abs().max() < 1e-15
    one = torch.autograd.grad(found.square().sum() + found[..., 0, 1].sum(), (v, y))
    again = rotation_expm(v) @ y
    two = torch.autograd.grad(again.square().sum() + again[..., 0, 1].sum(), (v, y))
    for a, b in zip(one, two, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 1e-13


def test_nothing_is_made_finite():
    v = torch.tensor([[torch.nan, 0.0, 0.0], [0.0, torch.inf, 0.0]], dtype=F64)
    assert not torch.isfinite(rotation_turn(v, torch.eye(3, dtype=F64).expand(2, 3, 3))).all(-1).all(-1).any()
