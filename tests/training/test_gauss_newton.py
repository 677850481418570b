import numpy as np
import pytest
import scipy
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from manifoldnet.errors import InputError
from manifoldnet.fields import ResNetField, ResNetFieldConv2d
from manifoldnet.nn import Flow
from manifoldnet.training.gauss_newton import GaussNewton, conjugate_gradients

F64 = torch.float64


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def network(outputs=2, dtype=F64):
    torch.manual_seed(0)
    field = ResNetField(3, time="piecewise-constant", knots=2)
    return nn.Sequential(Flow(field, "heun2", 2), nn.Linear(3, outputs)).to(dtype)


def jacobian(model, x):
    """(outputs, parameters), row by row by reverse differentiation."""
    z, parameters = model(x).flatten(), list(model.parameters())
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(v, parameters, retain_graph=True)]) for v in z]
    return torch.stack(rows)


def squared(z, y):
    return 0.5 * (z - y).square().sum()


def problem(kind):
    """Loss, target, and the Hessian of the loss in the outputs (12, 2) as a matrix."""
    x, model = normal(12, 3), network()
    if kind == "squared":
        return model, squared, x, normal(12, 2, seed=1), torch.eye(24, dtype=F64)
    if kind == "mse":
        return model, functional.mse_loss, x, normal(12, 2, seed=1), torch.eye(24, dtype=F64) / 12
    s = model(x).detach().softmax(1)
    blocks = torch.diag_embed(s) - s[:, :, None] * s[:, None]
    target = torch.randint(0, 2, (12,), generator=torch.Generator().manual_seed(1))
    return model, functional.cross_entropy, x, target, torch.block_diag(*blocks) / 12


@pytest.mark.parametrize("kind", ["squared", "mse", "cross entropy"])
@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_the_step_is_that_of_the_explicit_jacobian(kind, damping):
    model, loss, x, target, H = problem(kind)
    J = jacobian(model, x)
    gradient = torch.autograd.grad(loss(model(x), target), list(model.parameters()))
    g = torch.cat([part.flatten() for part in gradient])
    wanted = -torch.linalg.solve(J.mT @ H @ J + damping * torch.eye(len(g), dtype=F64), g)
    found = GaussNewton(model, loss, damping, iterations=500, tolerance=1e-13).direction(x, target)
    assert (found - wanted).norm() < 1e-8 * wanted.norm()


def test_images_too():
    field = ResNetFieldConv2d(2, generator=torch.Generator().manual_seed(0)).double()
    model, x, y = Flow(field, "euler", 2), normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    J, r = jacobian(model, x), (model(x) - y).flatten().detach()
    wanted = -torch.linalg.solve(J.mT @ J + 0.1 * torch.eye(J.shape[1], dtype=F64), J.mT @ r)
    found = GaussNewton(model, squared, 0.1, iterations=500, tolerance=1e-13).direction(x, y)
    assert (found - wanted).norm() < 1e-8 * wanted.norm()


def test_it_finds_the_minimum_of_scipys_levenberg_marquardt():
    """Rosenbrock's residuals, and those of a sum of two exponentials, from their usual starts."""
    t = torch.linspace(0, 4, 20, dtype=F64)

    class Exponentials(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor([1.0, 1.0], dtype=F64))
            self.k = nn.Parameter(torch.tensor([0.3, 2.0], dtype=F64))

        def forward(self, t):
            return (self.a * torch.exp(-self.k * t[:, None])).sum(1)

    class Rosenbrock(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))

        def forward(self, _):
            return torch.stack([10 * (self.x[1] - self.x[0] ** 2), 1 - self.x[0]])

    decay = 2.0 * torch.exp(-0.5 * t) - 0.7 * torch.exp(-1.8 * t) + 0.05 * normal(20)
    for model, y in ((Exponentials(), decay), (Rosenbrock(), torch.zeros(2, dtype=F64))):
        optimiser = GaussNewton(model, squared, tolerance=1e-14)
        start = parameters_to_vector(model.parameters()).detach().numpy().copy()
        values = [optimiser.step(t, y) for _ in range(40)]
        assert values == sorted(values, reverse=True)
        found = parameters_to_vector(model.parameters()).detach().clone()

        def residuals(flat, model=model, y=y):
            vector_to_parameters(torch.from_numpy(flat), model.parameters())
            return (model(t) - y).detach().numpy()

        best = scipy.optimize.least_squares(residuals, start, method="lm", xtol=1e-12, ftol=1e-12, max_nfev=500)
        assert values[-1] == pytest.approx(best.cost, rel=1e-9, abs=1e-18)
        assert np.abs(found.numpy() - best.x).max() < 1e-5


def test_one_step_solves_linear_least_squares():
    model, x, y = nn.Linear(4, 2).double(), normal(20, 4), normal(20, 2, seed=1)
    value = GaussNewton(model, squared, 1e-12, tolerance=1e-14).step(x, y)
    ones = np.concatenate([x.numpy(), np.ones((20, 1))], 1)
    solution, residual, _, _ = np.linalg.lstsq(ones, y.numpy())
    assert value == pytest.approx(0.5 * residual.sum(), rel=1e-12)
    assert np.abs(model.weight.detach().numpy() - solution[:4].T).max() < 1e-8


def test_a_step_that_would_raise_the_loss_is_not_taken():
    """Far out on arctan's tail the undamped step overshoots."""

    class Tail(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0], dtype=F64))

        def forward(self, x):
            return torch.arctan(self.w * x)

    model, x, y = Tail(), torch.ones(1, dtype=F64), torch.zeros(1, dtype=F64)
    optimiser = GaussNewton(model, squared, 1e-6)
    before = squared(model(x), y).item()
    assert optimiser.step(x, y) == before
    assert model.w.item() == 3.0
    assert optimiser.damping > 1e-6
    values = [optimiser.step(x, y) for _ in range(25)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-12


def test_frozen_parameters_stay():
    model, x, y = network(), normal(12, 3), normal(12, 2, seed=1)
    model[1].weight.requires_grad_(False)
    before = model[1].weight.clone()
    optimiser = GaussNewton(model, squared)
    assert optimiser.step(x, y) < squared(network()(x), y).item()
    assert torch.equal(model[1].weight, before)


def test_single_precision_classifies():
    model, x = network(2, torch.float32), normal(40, 3, dtype=torch.float32)
    target = (x[:, 0] * x[:, 1] > 0).long()
    optimiser = GaussNewton(model, functional.cross_entropy, iterations=20)
    values = [optimiser.step(x, target) for _ in range(8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.75 * functional.cross_entropy(network(2, torch.float32)(x), target).item()


def test_conjugate_gradients_end_after_as_many_steps_as_eigenvalues():
    basis, _ = torch.linalg.qr(normal(8, 8))
    matrix = basis @ torch.diag(torch.tensor([1.0, 1, 1, 3, 3, 9, 9, 9], dtype=F64)) @ basis.mT
    right, calls = normal(8, seed=1), []

    def product(v):
        calls.append(v)
        return matrix @ v

    x = conjugate_gradients(product, right, 50, 1e-12)
    assert len(calls) == 3
    assert (matrix @ x - right).abs().max() < 1e-12
    assert not conjugate_gradients(product, torch.zeros(8, dtype=F64), 50, 1e-12).any()


def test_errors_name_the_argument():
    with pytest.raises(InputError, match="damping: wanted a positive number, got 0"):
        GaussNewton(network(), squared, 0.0)
    with pytest.raises(InputError, match="iterations: wanted at least 1, got 0"):
        GaussNewton(network(), squared, iterations=0)
    with pytest.raises(InputError, match="loss: wanted a finite number"):
        GaussNewton(network(), squared).step(normal(2, 3), torch.full((2, 2), torch.inf, dtype=F64))
