"""Every registered space is a manifold for geoopt's optimisers.

With momentum they start at a plain point (identity, eigenvalues 1): geoopt 0.5.1 fills the momentum buffer with the
Euclidean gradient, which on SPD matrices with a small eigenvalue is longer than the Riemannian one without bound.
"""

import geoopt
import pytest
import torch
from law_cases import F64, every_space, near, points, reach, singular_points
from torch import nn

OPTIMISERS = {
    "sgd": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.05),
    "momentum": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.02, momentum=0.9),
    "nesterov": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=0.05, amsgrad=True),
}


@every_space
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("momentum", "nesterov") else ()) for n in OPTIMISERS]
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


def worst_drift(space, steps):
    """Largest distance to the space, relative to the point, on the way after momentum steps to targets that jump.

    With them rotation matrices drift most. Distances are measured in float64.
    """
    plain = singular_points(space, torch.float32)[0]
    targets = near(space, plain.expand(200, *space.point_shape), 2.0)
    parameter = geoopt.ManifoldParameter(plain, manifold=space)
    optimiser = geoopt.optim.RiemannianSGD([parameter], lr=1e-2, momentum=0.9)
    worst = 0.0
    for step in range(steps):
        optimiser.zero_grad()
        space.dist2(parameter, targets[step % len(targets)]).backward()
        optimiser.step()
        if (step + 1) % 100 == 0:
            x = parameter.detach().double()
            assert x.isfinite().all()
            worst = max(worst, ((space.projx(x) - x).abs().max() / x.abs().max().clamp_min(1.0)).item())
    return worst


@every_space
def test_float32_steps_do_not_leave_the_space(space):
    assert worst_drift(space, 200) < 1e-6


@pytest.mark.slow
@every_space
def test_ten_thousand_float32_steps_do_not_leave_the_space(space):
    assert worst_drift(space, 10_000) < 1e-6


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
