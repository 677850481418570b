import copy
import itertools
import math

import geoopt
import pytest
import torch
from torch import nn
from torch.nn import functional

from manifoldnet import SO3
from manifoldnet.errors import InputError
from manifoldnet.fields import GradientField, ManifoldGradientFlow, ResNetField, ResNetFieldConv2d
from manifoldnet.nn import Flow
from manifoldnet.training.layers import FlowLayers, ModuleLayer, layers_of
from manifoldnet.training.msa import Sweep, affine_argmin, augmented_hamiltonian, gradient_step, msa

F64 = torch.float64


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def flow_of(kind=ResNetField, dim=3, method="euler", steps=4, knots=4, t1=2.0, **options):
    time = {} if knots is None else {"time": "piecewise-constant", "knots": knots, "t1": t1}
    field = kind(dim, **time, **options, generator=torch.Generator().manual_seed(1)).double()
    return Flow(field, method, steps, t1=t1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 3), nn.Tanh(), nn.Sequential(flow_of(), nn.BatchNorm1d(3)), nn.Linear(3, 2, bias=False)
    ).double()


def rotations():
    field = ManifoldGradientFlow(SO3(), generator=torch.Generator().manual_seed(1)).double()
    return Flow(field, "rkmk4", 2)


NETWORKS = {
    "euler": (lambda: flow_of(), (7, 3)),
    "midpoint, two steps a layer": (lambda: flow_of(GradientField, method="midpoint", steps=8), (7, 3)),
    "rk4, one layer": (lambda: flow_of(GradientField, method="rk4"), (7, 3)),
    "one layer": (lambda: flow_of(method="heun2", knots=None), (7, 3)),
    "images": (lambda: flow_of(ResNetFieldConv2d, 2), (4, 2, 5, 5)),
    "backwards": (lambda: flow_of(knots=None, t1=-1.0), (7, 3)),
    "piecewise linear": (lambda: Flow(ResNetField(3, time="piecewise-linear", knots=3).double(), "ssprk33", 5), (7, 3)),
    "curved": (rotations, (4, 3, 3)),
    "sequential": (network, (7, 5)),
}


def problem(name):
    """Network, and a batch with targets of the outputs' shape."""
    make, shape = NETWORKS[name]
    net, x = make(), normal(*shape)
    return net, (SO3().projx(x) if name == "curved" else x, normal(*net(x).shape, seed=5))


# one gradient step is SGD --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rho", [0.0, 3.0])
def test_one_gradient_step_on_the_hamiltonian_is_sgd(name, rho):
    net, batch = problem(name)
    twin = copy.deepcopy(net)
    optimiser, wanted = torch.optim.SGD(twin.parameters(), lr=0.1), []
    for _ in range(2):
        optimiser.zero_grad()
        value = functional.mse_loss(twin(batch[0]), batch[1])
        value.backward()
        optimiser.step()
        wanted.append(value.item())
    found = msa(net, functional.mse_loss, batch, rho=rho, iterations=2, argmin=gradient_step(0.1))
    assert found == pytest.approx(wanted, rel=1e-14)
    for own, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert (own - other).abs().max() < 1e-14


def test_batches_come_in_turn():
    net, (x, y) = problem("euler")
    twin, data = copy.deepcopy(net), [(x[:3], y[:3]), [x[3:], y[3:]]]
    wanted = []
    for batch in itertools.islice(itertools.cycle(data), 5):
        wanted += msa(twin, functional.mse_loss, batch, iterations=1, argmin=gradient_step(0.1))
    assert msa(net, functional.mse_loss, data, iterations=5, argmin=gradient_step(0.1)) == wanted
    assert len(msa(net, functional.mse_loss, iter(data), iterations=2)) == 2
    with pytest.raises(InputError, match="data: wanted batches that can be gone through again"):
        msa(net, functional.mse_loss, iter(data), iterations=3)


# the augmented Hamiltonian -------------------------------------------------------------------------------------------
def swept(net, batch):
    """The layers of a flow and their sweep, by the flow's own steps and the gradients of their points."""
    (part,) = layers_of(net, batch[0])
    points = [batch[0].requires_grad_()]
    for t, h in net.intervals(batch[0]):
        points.append(net.method.step(net.field, net.space.action, t, h, points[-1]))
    p = torch.stack(torch.autograd.grad(functional.mse_loss(points[-1], batch[1]), points))
    x = torch.stack(points).detach()
    shape = part.lengths.shape
    return part, Sweep(*(each.unflatten(0, shape) for each in (x[:-1], x[1:], p[:-1], p[1:])))


@pytest.mark.parametrize("name", ["euler", "midpoint, two steps a layer", "images", "one layer", "rk4, one layer"])
def test_the_augmented_hamiltonian_sample_by_sample(name):
    """sum_k h_k mean_i [<p, F> + rho/2 |v - F|^2 + rho/2 |q + d_x <p, F>|^2] with p of the sample's own loss."""
    net, batch = problem(name)
    part, sweep = swept(net, batch)
    theta = {key: value + 0.1 * normal(*value.shape, seed=3) for key, value in part.theta.items()}
    count, rho = len(batch[0]), 0.7
    found = augmented_hamiltonian(part, theta, sweep, rho) - augmented_hamiltonian(part, part.theta, sweep, rho)
    moved = copy.deepcopy(net)
    for key, parameter in moved.field.named_parameters():
        parameter.data = theta[key] if part.theta[key].shape == parameter.shape else theta[key][0]
    layers, steps = part.lengths.shape
    times = [t for t, _ in net.intervals(batch[0])]
    for j in range(layers):
        total = 0.0
        for k, i in itertools.product(range(steps), range(count)):
            h, t = part.lengths[j, k], times[j * steps + k]
            x, following, p, p_following = (each[j, k, i : i + 1] for each in sweep)
            p, p_following = count * p, count * p_following

            def F(flow, x, t=t, h=h):
                return (flow.method.step(flow.field, flow.space.action, t, h, x) - x) / h

            value, pulled = torch.func.vjp(lambda x, F=F: F(moved, x), x)
            v, q = (following - x) / h, (p_following - p) / h
            squares = (v - value).square().sum() + (q + pulled(p_following)[0]).square().sum()
            total += h / count * ((p_following * (value - F(net, x))).sum() + rho / 2 * squares)
        assert found[j].item() == pytest.approx(total.item(), abs=1e-13)


def test_layers_are_batched_and_see_only_their_own_parameters():
    """The batched maps are those of the flow's steps; changing one layer's parameters moves that layer only."""
    net, batch = problem("midpoint, two steps a layer")
    part, sweep = swept(net, batch)
    assert isinstance(part, FlowLayers)
    assert (part.maps(part.theta, sweep.x) - sweep.following).abs().max() < 1e-14
    theta = {name: value.clone() for name, value in part.theta.items()}
    theta["A"][2] += 0.5
    change = (part.maps(theta, sweep.x) - sweep.following).abs().flatten(1).amax(1)
    assert (change > 1e-3).tolist() == [False, False, True, False]


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_closed_form_of_a_linear_layer(has_bias):
    """Stationary to rounding, and below 100 random changes."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=has_bias).double()
    x, p, rho = normal(9, 4) + 1.0, normal(9, 3, seed=1) / 9, 0.8
    part = ModuleLayer(layer, x)
    pulled = (p @ layer.weight).detach()
    sweep = Sweep(*(each.detach()[None, None] for each in (x, layer(x), pulled, p)))
    D, d = affine_argmin(x, p, rho, 9, has_bias)
    best = {name: value + c for (name, value), c in zip(part.theta.items(), (D, d), strict=False)}
    names = list(best)

    def energy(*values):
        return augmented_hamiltonian(part, dict(zip(names, values, strict=True)), sweep, rho).sum()

    values = [best[name].requires_grad_() for name in names]
    assert max(g.abs().max() for g in torch.autograd.grad(energy(*values), values)) < 1e-14
    least = energy(*values)
    for seed in range(100):
        assert least < energy(*(v + 1e-2 * normal(*v.shape, seed=seed) for v in values))


def test_the_closed_form_has_the_least_norm_where_it_is_not_unique():
    x, p = normal(5, 8), normal(5, 2, seed=1)
    x[:, 4:] = 0.0
    D, _ = affine_argmin(x, p, 1.0, 5, True)
    assert not D[:, 4:].any()
    assert torch.isfinite(D).all()
    flat = affine_argmin(torch.zeros(5, 8), torch.zeros(5, 2), 1.0, 5, True)
    assert not torch.cat([flat[0].flatten(), flat[1]]).any()


# convergence ---------------------------------------------------------------------------------------------------------
def sine(rho, seed, iterations=30):
    """The regression of sin on [-pi, pi]: 10 Euler layers of 5 features to T = 5, the output being their sum."""
    field = ResNetField(
        5, time="piecewise-constant", knots=10, t1=5.0, generator=torch.Generator().manual_seed(seed)
    ).double()
    x = torch.linspace(-math.pi, math.pi, 64, dtype=F64)[:, None]
    return msa(
        Flow(field, "euler", 10, t1=5.0),
        lambda z, y: 0.5 * (z.sum(-1, keepdim=True) - y).square().mean(),
        (x.expand(-1, 5).contiguous(), x.sin()),
        rho=rho,
        iterations=iterations,
    )


def falls(losses):
    return all(b < a for a, b in itertools.pairwise(losses))


def test_sine_regression_is_monotone_with_the_right_rho():
    assert not falls(sine(1.0, 0, 5))
    assert falls(sine(20.0, 0, 5))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_larger_rho_is_monotone_and_slower(seed):
    assert not any(falls(sine(rho, seed)) for rho in (0.0, 1.0, 5.0))
    losses = [sine(rho, seed) for rho in (20.0, 50.0, 200.0)]
    assert all(map(falls, losses))
    assert losses[0][-1] < losses[1][-1] < losses[2][-1]


@pytest.mark.parametrize("name", ["euler", "images", "sequential", "one layer", "piecewise linear"])
def test_every_kind_of_layer_falls_monotonically(name):
    net, batch = problem(name)
    losses = msa(net, functional.mse_loss, batch, rho=10.0, iterations=3)
    assert falls(losses)
    assert losses[-1] < 0.99 * losses[0]


def test_single_precision():
    net, (x, y) = problem("sequential")
    double = msa(copy.deepcopy(net), functional.mse_loss, (x, y), rho=10.0, iterations=2)
    single = msa(net.float(), functional.mse_loss, (x.float(), y.float()), rho=10.0, iterations=2)
    assert single == pytest.approx(double, rel=1e-3)
    assert all(p.dtype is torch.float32 for p in net.parameters())


def test_where_the_field_is_at_rest():
    """Zero parameters: f = 0 and d_x f = 0 everywhere."""
    net, batch = problem("euler")
    for p in net.parameters():
        p.data.zero_()
    losses = msa(net, functional.mse_loss, batch, rho=10.0, iterations=2)
    assert all(math.isfinite(v) for v in losses)
    assert losses[-1] < losses[0]


def test_the_losses_are_those_before_the_changes():
    net, (x, y) = problem("sequential")
    twin = copy.deepcopy(net)
    losses = msa(net, functional.mse_loss, (x, y), rho=10.0, iterations=2)
    assert losses[0] == functional.mse_loss(twin(x), y).item()
    msa(twin, functional.mse_loss, (x, y), rho=10.0, iterations=1)
    assert losses[1] == pytest.approx(functional.mse_loss(twin(x), y).item(), rel=1e-14)


# errors --------------------------------------------------------------------------------------------------------------
def on_a_manifold():
    layer = nn.Linear(3, 3).double()
    layer.weight = geoopt.ManifoldParameter(torch.eye(3, dtype=F64), manifold=SO3())
    return nn.Sequential(layer)


BAD = {
    "rho: wanted at least 0, got -1.0": (flow_of, {"rho": -1.0}),
    "iterations: wanted at least 1, got 0": (flow_of, {"iterations": 0}),
    "flow: wanted a Flow or an nn.Sequential of layers, got Linear": (lambda: nn.Linear(3, 3).double(), {}),
    "rho: wanted more than 0 for nn.Linear": (lambda: nn.Sequential(nn.Linear(3, 3).double()), {"rho": 0.0}),
    "flow: wanted one that returns its last point, got trajectory=True": (
        lambda: Flow(ResNetField(3).double(), trajectory=True),
        {},
    ),
    "wanted steps that are fixed, got learned ones": (lambda: Flow(ResNetField(3).double(), step_sizes="free"), {}),
    "wanted parameters of vector spaces, got 'weight' on SO3": (on_a_manifold, {}),
}


@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message):
    make, options = BAD[message]
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        msa(make(), functional.mse_loss, (normal(4, 3), normal(4, 3)), **options)


def test_a_loss_that_is_not_finite_stops():
    with pytest.raises(InputError, match="loss: is not finite at iteration 1"):
        msa(flow_of(), lambda z, y: z.sum() * math.nan, (normal(4, 3), normal(4, 3)))
