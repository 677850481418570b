"""geoopt's optimisers and samplers on a parameter of every registered space."""

import geoopt
import pytest
import torch
from geoopt_cases import every_space, near_the_origin

from manifoldnet.manifolds import SPACES

QUICK_SPACES = ("euclidean", "circle", "so3", "sphere", "hyperbolic", "spd-affine-invariant", "product-groups")
every_space_at_length = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_SPACES else pytest.mark.slow) for n in SPACES]
)


def reached(name, make, steps):
    """Distances to a target, at the start and after the steps."""
    space = SPACES[name]
    target = near_the_origin(space, 0.3, 5)
    start = near_the_origin(space, 0.3, 6)
    parameter = geoopt.ManifoldParameter(start.clone(), manifold=space)
    optimizer = make([parameter])

    def closure():
        optimizer.zero_grad()
        loss = space.dist2(parameter, target).sum()
        loss.backward()
        return loss.item()

    for _ in range(steps):
        optimizer.step(closure)
    assert parameter.is_contiguous()
    space.assert_check_point_on_manifold(parameter.detach())
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step(closure)
    return space.dist(start, target).max().item(), space.dist(parameter.detach(), target).max().item()


@every_space_at_length
@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}, {"momentum": 0.5, "dampening": 0.1}]
)
def test_gradient_descent(name, settings):
    start, end = reached(name, lambda p: geoopt.optim.RiemannianSGD(p, lr=0.1, stabilize=10, **settings), 60)
    assert end < 0.05 * start


@every_space_at_length
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam(name, amsgrad):
    start, end = reached(name, lambda p: geoopt.optim.RiemannianAdam(p, lr=0.02, amsgrad=amsgrad, stabilize=10), 120)
    assert end < 0.3 * start


@every_space
@pytest.mark.parametrize(("search", "steps"), [("armijo", 2), ("wolfe", 8)])
@pytest.mark.filterwarnings("ignore:No suitable step size")
def test_line_search(name, search, steps):
    """Armijo's divides by zero once it has converged."""
    start, end = reached(name, lambda p: geoopt.optim.RiemannianLineSearch(p, line_search_method=search), steps)
    assert end < 0.5 * start


@every_space
def test_sampler(name):
    """Of a normal density on spaces whose steps can be reversed; the others are refused."""
    space = SPACES[name]
    target = near_the_origin(space, 0.3, 5)
    parameter = geoopt.ManifoldParameter(target.clone(), manifold=space)
    if not space.reversible:
        with pytest.raises(ValueError, match="reversible"):
            geoopt.samplers.RHMC([parameter])
        return

    def log_density():
        return -2 * space.dist2(parameter, target).sum()

    torch.manual_seed(0)
    for make in (
        lambda p: geoopt.samplers.RHMC(p, epsilon=1e-4, n_steps=2),
        lambda p: geoopt.samplers.RSGLD(p, epsilon=1e-3),
        lambda p: geoopt.samplers.SGRHMC(p, epsilon=1e-3, n_steps=1, alpha=0.5),
    ):
        sampler = make([parameter])
        for _ in range(10):
            sampler.step(log_density)
    space.assert_check_point_on_manifold(parameter.detach())
    distance = space.dist(parameter.detach(), target)
    assert (distance > 0).all()
    assert (distance < 2).all()
