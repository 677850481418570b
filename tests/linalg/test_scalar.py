import math

import pytest
import torch

from manifoldnet.linalg import safe_norm, safe_sqrt, wrap_angle


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_angles_lie_in_the_half_open_interval(dtype):
    x = torch.linspace(-1000, 1000, 20001, dtype=dtype)
    y = wrap_angle(x)
    pi = torch.tensor(math.pi, dtype=dtype)
    assert (y > -pi).all()
    assert (y <= pi).all()
    tolerance = 1e-3 if dtype is torch.float32 else 1e-12
    assert (torch.polar(torch.ones_like(x), x) - torch.polar(torch.ones_like(x), y)).abs().max() < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ends_go_to_plus_pi(dtype):
    pi = torch.tensor(math.pi, dtype=dtype)
    ends = torch.stack([pi, -pi, 3 * pi, torch.nextafter(-pi, torch.tensor(-4.0, dtype=dtype))])
    assert (wrap_angle(ends)[:3] - pi).abs().max() < 1e-6
    assert wrap_angle(ends)[0] == pi
    assert wrap_angle(ends)[1] == pi
    assert wrap_angle(ends)[3] > 3


def test_angles_in_range_keep_every_digit():
    x = torch.tensor([0.0, 1e-300, -1e-12, 1e-7, 3.0, -3.0], dtype=torch.float64)
    assert torch.equal(wrap_angle(x), x)


def test_wrapping_has_slope_one():
    x = torch.tensor([-7.0, -math.pi, 0.0, 2.0, math.pi, 9.0], dtype=torch.float64, requires_grad=True)
    wrap_angle(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(6, dtype=torch.float64))


def test_nan_stays_nan():
    assert wrap_angle(torch.tensor([math.nan, math.inf])).isnan().all()
    assert safe_sqrt(torch.tensor(math.nan)).isnan()


def test_square_root_and_norm_have_gradient_zero_at_zero():
    x = torch.tensor([0.0, 4.0], dtype=torch.float64, requires_grad=True)
    y = safe_sqrt(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 2.0]
    assert x.grad.tolist() == [0.0, 0.25]
    v = torch.tensor([[0.0, 0.0], [3.0, -4.0]], dtype=torch.float64, requires_grad=True)
    n = safe_norm(v)
    n.sum().backward()
    assert n.tolist() == [0.0, 5.0]
    assert torch.allclose(v.grad, torch.tensor([[0.0, 0.0], [0.6, -0.8]], dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert safe_norm(v, keepdim=True).shape == (2, 1)
