import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from manifoldnet.errors import InputError
from manifoldnet.training.discrete_weights import BINARY, TERNARY, DiscreteMSA, discrete_argmin


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("levels", [BINARY, TERNARY, (-2.0, 0.5, 1.0, 3.0)])
@pytest.mark.parametrize(("lr", "sparsity"), [(0.1, 0.0), (1.0, 0.3), (10.0, 2.0)])
def test_the_argmin_by_trying_all_values(levels, lr, sparsity):
    """Over all weights of a matrix at once: the Hamiltonian is a sum over entries."""
    slope, w = normal(2, 3), torch.tensor(levels).double()[torch.arange(6).reshape(2, 3) % len(levels)]
    found = discrete_argmin(slope, w, lr, levels, sparsity)
    costs = {
        v: sum(
            s * a + (a - b) ** 2 / (2 * lr) + sparsity * a**2 / 2
            for s, a, b in zip(slope.flatten().tolist(), v, w.flatten().tolist(), strict=True)
        )
        for v in itertools.product(levels, repeat=6)
    }
    assert tuple(found.flatten().tolist()) == min(costs, key=costs.get)


def test_limits_of_the_proximal_term():
    slope, w = normal(50, 4), normal(50, 4, seed=1).sign()
    assert torch.equal(discrete_argmin(slope, w, 1e9), -slope.sign())  # the argmin of H alone
    assert torch.equal(discrete_argmin(slope, w, 1e-9), w)  # no change at all
    flips = (slope * w > 0) & (slope.abs() > 1 / 0.7)
    assert torch.equal(discrete_argmin(slope, w, 0.7), torch.where(flips, -w, w))
    assert not discrete_argmin(slope, w, 1e9, TERNARY, 1e3).any()  # sparsity wins


def test_a_step_is_the_argmin_for_the_moving_average():
    layer, x = nn.Linear(5, 4, bias=False).double(), normal(9, 5)
    optimiser = DiscreteMSA(layer.parameters(), lr=0.8, levels=TERNARY, average=0.6, sparsity=0.1)
    w, G = layer.weight.detach().clone(), torch.zeros(4, 5, dtype=torch.float64)
    for seed in range(4):
        y = normal(9, 4, seed=seed + 2)
        optimiser.zero_grad()
        functional.mse_loss(layer(x), y).backward()
        optimiser.step()
        p = 2 * (x @ w.mT - y) / y.numel()  # costates of the outputs
        G = 0.6 * G + 0.4 * p.mT @ x
        w = discrete_argmin(G / G.square().mean().sqrt(), w, 0.8, TERNARY, 0.1)
        assert torch.equal(layer.weight, w)


@pytest.mark.parametrize("levels", [BINARY, TERNARY])
def test_weights_start_and_stay_on_the_levels(levels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 3, bias=False))
    optimiser = DiscreteMSA(model.parameters(), levels=levels)
    for seed in range(5):
        assert {v for p in model.parameters() for v in p.flatten().tolist()} == set(levels)
        again = [p.detach().clone() for p in model.parameters()]
        DiscreteMSA(model.parameters(), levels=levels)
        assert all(map(torch.equal, again, model.parameters()))
        optimiser.zero_grad()
        model(normal(8, 1, 6, 6, seed=seed, dtype=torch.float32)).square().mean().backward()
        optimiser.step()
    assert {v for p in model.parameters() for v in p.flatten().tolist()} == set(levels)


def test_a_binary_teacher_is_found():
    """A student of one layer gets all weights of the teacher, from batches."""
    teacher = normal(3, 16, dtype=torch.float32).sign()
    torch.manual_seed(1)
    student = nn.Linear(16, 3, bias=False)
    optimiser = DiscreteMSA(student.parameters(), average=0.9)
    for seed in range(60):
        x = normal(32, 16, seed=seed, dtype=torch.float32)
        optimiser.zero_grad()
        functional.mse_loss(student(x), x @ teacher.mT).backward()
        optimiser.step()
    assert torch.equal(student.weight, teacher)


def test_the_scale_of_the_loss_does_not_matter():
    ends = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        layer = nn.Linear(6, 4, bias=False)
        optimiser = DiscreteMSA(layer.parameters(), average=0.5)
        for seed in range(5):
            optimiser.zero_grad()
            x, y = normal(8, 6, seed=seed, dtype=torch.float32), normal(8, 4, seed=9, dtype=torch.float32)
            (scale * (layer(x) - y).square().mean()).backward()
            optimiser.step()
        ends.append(layer.weight.detach().clone())
    assert torch.equal(*ends)


def test_what_optimisers_of_torch_do():
    """State that is saved and loaded, closures, schedules, groups, parameters without gradients."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6, bias=False) for _ in range(2)]
    groups = [{"params": layers[0].weight}, {"params": layers[1].weight, "levels": TERNARY}]
    optimiser = DiscreteMSA(groups, average=0.5)
    assert set(layers[1].weight.flatten().tolist()) == set(TERNARY)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)

    def closure():
        optimiser.zero_grad()
        value = layers[0](normal(4, 6, dtype=torch.float32)).sin().sum()
        value.backward()
        return value

    before = layers[1].weight.detach().clone()
    wanted = layers[0](normal(4, 6, dtype=torch.float32)).sin().sum()
    assert optimiser.step(closure) == wanted
    assert torch.equal(layers[1].weight, before)
    schedule.step()
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.5]
    twin = nn.Linear(6, 6, bias=False)
    twin.load_state_dict(layers[0].state_dict())
    other = DiscreteMSA([{"params": twin.weight}, {"params": layers[1].weight, "levels": TERNARY}])
    other.load_state_dict(optimiser.state_dict())
    optimiser.step(closure)
    twin.weight.grad = layers[0].weight.grad.clone()
    other.step()
    assert torch.equal(twin.weight, layers[0].weight)


def test_zero_gradients_change_nothing():
    layer = nn.Linear(6, 6, bias=False)
    optimiser = DiscreteMSA(layer.parameters())
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimiser.step()
    assert torch.equal(layer.weight, before)
    assert np.isfinite(before.numpy()).all()


BAD = {
    "lr: wanted a positive number, got 0.0": {"lr": 0.0},
    "average: wanted a number in": {"average": 1.0},
    "sparsity: wanted at least 0, got -1.0": {"sparsity": -1.0},
    "levels: wanted at least two values": {"levels": (1.0, 1.0)},
}


@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message):
    with pytest.raises(InputError, match=message):
        DiscreteMSA(nn.Linear(2, 2).parameters(), **BAD[message])
