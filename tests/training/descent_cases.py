"""What the tests of structure-preserving optimisers share: spaces, losses on them, closures."""

from itertools import pairwise

import geoopt
import pytest
import torch

from manifoldnet.manifolds import SPACES, Circle, Power, Product

F64 = torch.float64
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
QUICK_SPACES = ("circle", "so3", "stiefel", "spd-affine-invariant", "sphere")
every_space_few_quickly = pytest.mark.parametrize(
    "space", [pytest.param(s, id=n, marks=() if n in QUICK_SPACES else pytest.mark.slow) for n, s in SPACES.items()]
)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def waves(space, dtype=F64, seed=5):
    """A smooth function on any space, of the shape of the batch: sines of the entries, of period 2 pi in angles."""
    if isinstance(space, Product):
        parts = [waves(factor, dtype, seed + 2 * k) for k, factor in enumerate(space.spaces)]
        return lambda x: sum(part(y) for part, y in zip(parts, space.split(x), strict=True))
    if isinstance(space, Power):
        one = waves(space.space, dtype, seed)
        return lambda x: one(x).sum(-1)
    if isinstance(space, Circle):
        return lambda x: (x + 0.3 * seed).sin()
    shift, weight = (torch.randn(space.point_shape, dtype=F64, generator=rng(seed + k)).to(dtype) for k in (0, 1))
    # long waves, because gradients of some metrics grow with the square of the entries
    return lambda x: (weight * (0.3 * x + shift).sin()).flatten(x.dim() - space.ndim).sum(-1)


def never_rises(losses):
    return all(after <= before for before, after in pairwise(losses))


def random_parameter(space, *batch, dtype=F64, seed=6):
    return geoopt.ManifoldParameter(
        space.random(*batch, *space.point_shape, dtype=dtype, generator=rng(seed)), manifold=space
    )


def closure_of(optimiser, function):
    """Clears the gradients, computes the loss and calls backward."""

    def closure():
        optimiser.zero_grad()
        value = function()
        value.backward()
        return value

    return closure


def run(x, optimiser, function, steps):
    """The points after each of some steps on the sum of function(x)."""
    closure = closure_of(optimiser, lambda: function(x).sum())
    trajectory = []
    for _ in range(steps):
        optimiser.step(closure)
        trajectory.append(x.detach().clone())
    return torch.stack(trajectory)
