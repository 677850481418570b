"""Every registered space is a manifold for our optimisers and geoopt's.

With momentum they start at a plain point (identity, eigenvalues 1): geoopt 0.5.1 fills the momentum buffer with the
Euclidean gradient, which on SPD matrices with a small eigenvalue is longer than the Riemannian one without bound.
"""

import itertools

import geoopt
import pytest
import torch
from law_cases import F64, coordinates, every_space, near, points, reach, singular_points
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from manifoldnet.manifolds import SPACES
from manifoldnet.training.line_search import RiemannianLineSearch
from manifoldnet.training.riemannian_adam import RiemannianAdam
from manifoldnet.training.riemannian_sgd import RiemannianSGD

OURS = {
    "sgd": lambda parameters, **options: RiemannianSGD(parameters, lr=0.05, **options),
    "momentum": lambda parameters, **options: RiemannianSGD(parameters, lr=0.02, momentum=0.9, **options),
    "nesterov": lambda parameters, **options: RiemannianSGD(
        parameters, lr=0.02, momentum=0.9, nesterov=True, **options
    ),
    "adam": lambda parameters, **options: RiemannianAdam(parameters, lr=0.05, amsgrad=True, **options),
}
GEOOPTS = {
    "geoopt-sgd": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.05),
    "geoopt-momentum": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.02, momentum=0.9),
    "geoopt-nesterov": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "geoopt-adam": lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=0.05, amsgrad=True),
}
OPTIMISERS = OURS | GEOOPTS
every_optimiser_of_ours = pytest.mark.parametrize("make", OURS.values(), ids=OURS.keys())
both_retractions = pytest.mark.parametrize("retraction", ["retr", "expmap"])
# one of each kind of transport; the others with -m slow
QUICK = ("euclidean", "so3", "stiefel", "grassmann", "spd-affine-invariant", "sphere", "hyperbolic", "product-mixed")
every_space_at_length = pytest.mark.parametrize(
    "space", [pytest.param(s, marks=() if n in QUICK else pytest.mark.slow, id=n) for n, s in SPACES.items()]
)


@every_space
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "momentum" else pytest.mark.slow) for n in OPTIMISERS]
)
def test_optimisers_find_a_point(space, name):
    plain = singular_points(space, F64)[:1].repeat(6, *[1] * space.ndim)
    target, length = near(space, plain, 1.0), reach(space, plain, 1.0)
    parameter = geoopt.ManifoldParameter(plain, manifold=space)
    optimiser = OPTIMISERS[name]([parameter])
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = space.dist2(parameter, target).sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(length.square().sum().item())
    assert losses[-1] < 0.3 * losses[0]
    assert space.check_point_on_manifold(parameter.detach(), explain=True) == (True, None)


@every_space
def test_gradient_descent_with_a_half_step_reaches_the_point(space):
    """grad dist^2 = -2 log, so one step of length 1/2 lands on the target as far as the retraction is exact."""
    target = points(space, 4)
    parameter = geoopt.ManifoldParameter(near(space, target, 0.05), manifold=space)
    optimiser = geoopt.optim.RiemannianSGD([parameter], lr=0.5)
    space.dist2(parameter, target).sum().backward()
    optimiser.step()
    assert space.dist(parameter.detach(), target).max() < 1e-4


@every_space
def test_optimisers_start_at_the_identity(space):
    """A parameter at its own target, with repeated eigenvalues or an angle of 0, keeps finite values."""
    start = singular_points(space, F64)
    for make in OPTIMISERS.values():
        parameter = geoopt.ManifoldParameter(start.clone(), manifold=space)
        optimiser = make([parameter])
        for _ in range(3):
            optimiser.zero_grad()
            space.dist(parameter, start).sum().backward()
            optimiser.step()
        assert parameter.isfinite().all()


def worst_drift(space, steps, make):
    """Largest distance to the space, relative to the point, on the way towards targets that jump, in float64.

    The gradient is that of the squared distance of the entries, which takes no logarithm.
    """
    plain = singular_points(space, torch.float32)[0]
    targets = near(space, plain.expand(200, *space.point_shape), 1.0)
    parameter = geoopt.ManifoldParameter(plain, manifold=space)
    optimiser = make([parameter])
    worst = 0.0
    for step in range(steps):
        parameter.grad = parameter.detach() - targets[step % len(targets)]
        optimiser.step()
        if (step + 1) % 100 == 0:
            x = parameter.detach().double()
            assert x.isfinite().all()
            worst = max(worst, ((space.projx(x) - x).abs().max() / x.abs().max().clamp_min(1.0)).item())
    return worst


LONG = {
    "momentum": lambda parameters: RiemannianSGD(parameters, lr=1e-2, momentum=0.9),
    "adam": lambda parameters: RiemannianAdam(parameters, lr=1e-2),
    "geoopt-momentum": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=1e-2, momentum=0.9),
}


@every_space_at_length
def test_float32_steps_do_not_leave_the_space(space):
    assert worst_drift(space, 300, LONG["momentum"]) < 1e-6


@pytest.mark.slow
@every_space
@pytest.mark.parametrize("make", LONG.values(), ids=LONG.keys())
def test_ten_thousand_float32_steps_do_not_leave_the_space(space, make):
    assert worst_drift(space, 10_000, make) < 1e-6


def held(space, values):
    """A parameter for each value."""
    return [geoopt.ManifoldParameter(x.clone(), manifold=space) for x in values]


def gradients(parameters, step):
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = 0.1 * torch.randn(p.shape, dtype=p.dtype, generator=generator)


class HostNumbers(TorchDispatchMode):
    """Counts tensors made of numbers on the host, and numbers read back to it: CUDA graphs can hold neither."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += str(func).startswith(("aten.lift_fresh", "aten._local_scalar_dense"))
        return func(*args, **(kwargs or {}))


# parallel transport under the Bures-Wasserstein metric is a quadrature, whose nodes come from the host at every call
@pytest.mark.parametrize(
    "space", [pytest.param(s, id=n) for n, s in SPACES.items() if n not in ("euclidean", "spd-bures-wasserstein")]
)
def test_steps_of_curved_parameters_can_be_captured(space):
    for make in (
        lambda parameters: RiemannianSGD(parameters, lr=0.05, momentum=0.9),
        lambda parameters: RiemannianAdam(parameters, lr=torch.tensor(0.05, dtype=F64), capturable=True),
    ):
        parameters = held(space, points(space, 3))
        optimiser = make(parameters)
        gradients(parameters, 0)
        optimiser.step()
        with HostNumbers() as seen:
            optimiser.step()
        assert seen.count == 0


@every_space
def test_without_momentum_steps_are_geoopts(space):
    ones, others = held(space, points(space, 3)), held(space, points(space, 3))
    pair = RiemannianSGD(ones, lr=0.05), geoopt.optim.RiemannianSGD(others, lr=0.05)
    for step in range(3):
        gradients(ones, step)
        gradients(others, step)
        for optimiser in pair:
            optimiser.step()
    for a, b in zip(ones, others, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)


@every_space_at_length
@both_retractions
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_stacked_parameters_move_like_lone_ones(space, retraction, name):
    results = []
    for foreach in (None, False):
        parameters = held(space, points(space, 4))
        optimiser = OURS[name](parameters, retraction=retraction, foreach=foreach)
        for step in range(3):
            gradients(parameters, step)
            optimiser.step()
        results.append(torch.stack([p.detach() for p in parameters]))
    assert torch.allclose(*results, rtol=1e-12, atol=1e-12)


ISOMETRIC = {name: space for name, space in SPACES.items() if space.action.is_isometric}


@pytest.mark.parametrize(
    "space", [pytest.param(s, marks=() if n in QUICK else pytest.mark.slow, id=n) for n, s in ISOMETRIC.items()]
)
@both_retractions
@pytest.mark.parametrize("name", ["nesterov", "adam"])
def test_steps_commute_with_isometries(space, retraction, name):
    """Of start and target moved by the action, rotations on spheres or congruence, all the way is moved by it."""
    start = points(space, 3)
    target = near(space, start, 0.5)
    mover = space.action.group.exp(coordinates(space.action.group, scale=0.4))
    results = []
    for moved in (False, True):
        ends = [space.action.act(mover, y) if moved else y for y in (start, target)]
        parameter = geoopt.ManifoldParameter(ends[0].clone(), manifold=space)
        optimiser = OURS[name]([parameter], retraction=retraction)
        for _ in range(4):
            optimiser.zero_grad()
            space.dist2(parameter, ends[1]).sum().backward()
            optimiser.step()
        results.append(parameter.detach())
    assert space.dist(space.action.act(mover, results[0]), results[1]).max() < 1e-8
    assert space.dist(start, results[0]).min() > 1e-3


@every_space_at_length
def test_line_searches_descend(space):
    target = points(space, 3)
    parameter = geoopt.ManifoldParameter(near(space, target, 0.8), manifold=space)
    optimiser = RiemannianLineSearch([parameter], "wolfe", {"c2": 0.1}, cg_method="pr")
    weights = torch.arange(1.0, 4.0, dtype=F64)

    def closure():
        optimiser.zero_grad()
        loss = (weights * space.dist2(parameter, target)).sum()
        loss.backward()
        return loss.detach()

    losses = [closure(), *(optimiser.step(closure) for _ in range(5))]
    assert all(late <= early for early, late in itertools.pairwise(losses))
    assert losses[-1] < 0.05 * losses[0]


class Held(nn.Module):
    def __init__(self, space):
        super().__init__()
        self.point = geoopt.ManifoldParameter(points(space), manifold=space)


@every_space
def test_parameters_survive_a_state_dict(space):
    first, second = Held(space), Held(space)
    with torch.no_grad():
        first.point.copy_(points(space, seed=1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.point, second.point)
    assert second.point.manifold is space
