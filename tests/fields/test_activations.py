import numpy as np
import pytest
import torch
from scipy.integrate import quad

from manifoldnet.fields import ACTIVATIONS, ManifoldGradientFlow
from manifoldnet.manifolds import Circle

F64 = torch.float64


def scalar(f, s):
    return f(torch.tensor(s, dtype=F64)).item()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gamma_is_an_antiderivative_of_sigma(name):
    activation = ACTIVATIONS[name]
    for s in (-30.0, -2.0, -0.1, 0.7, 3.0, 20.0):
        integral = quad(lambda x: scalar(activation.sigma, x), 0, s, epsabs=1e-13, epsrel=1e-13)[0]
        rise = scalar(activation.gamma, s) - scalar(activation.gamma, 0.0)
        assert rise == pytest.approx(integral, rel=1e-12, abs=1e-12)
    x = torch.linspace(-5, 5, 101, dtype=F64, requires_grad=True)
    activation.gamma(x).sum().backward()
    assert torch.allclose(x.grad, activation.sigma(x.detach()), atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_lie_in_their_bounds_and_come_close_to_them(name):
    activation = ACTIVATIONS[name]
    x = torch.linspace(-40, 40, 80001, dtype=F64)
    slopes = activation.sigma(x).diff() / x.diff()
    assert slopes.min() >= activation.least_slope - 1e-12
    assert slopes.max() <= activation.greatest_slope + 1e-12
    assert slopes.min() <= activation.least_slope + 1e-6
    assert slopes.max() >= activation.greatest_slope - 1e-6


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gamma_neither_overflows_nor_loses_its_tail(name, dtype):
    far = ACTIVATIONS[name].gamma(torch.tensor([-1e4, 1e4], dtype=dtype))
    assert far.isfinite().all()
    if name == "tanh":
        assert np.allclose(far, 1e4 - np.log(2), rtol=1e-6, atol=1e-6)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation: .*tanh.*'swish'"):
        ManifoldGradientFlow(Circle(), activation="swish")
