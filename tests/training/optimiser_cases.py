"""Parameters and losses for the tests of optimisers."""

import copy
import itertools

import geoopt
import torch

from manifoldnet.manifolds import SO3, SPD, Euclidean, Power, Product, Sphere, Stiefel

F64 = torch.float64


def rng(seed):
    return torch.Generator().manual_seed(seed)


def gradients(parameters, seed):
    """Set random gradients."""
    generator = rng(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)


def plain(dtype=F64):
    """Parameters of several sizes; a matrix on Euclidean space as a manifold, ours or geoopt's, among them."""
    tensors = [torch.randn(s, dtype=dtype, generator=rng(k)) for k, s in enumerate([(3, 3), (17,), (), (0, 3), (2, 5)])]
    return tensors, [
        torch.nn.Parameter(tensors[0].clone()),
        torch.nn.Parameter(tensors[1].clone()),
        torch.nn.Parameter(tensors[2].clone()),
        torch.nn.Parameter(tensors[3].clone()),
        geoopt.ManifoldParameter(tensors[4].clone(), manifold=Euclidean(1)),
    ]


def curved(dtype=F64, each=3):
    """Some parameters on each of several spaces; the spaces are equal, not the same."""
    makes = [
        lambda: (SO3(), (3, 3)),
        lambda: (SPD("affine-invariant", n=3), (3, 3)),
        lambda: (Sphere(4), (2, 4)),
        lambda: (Product([SO3(), Euclidean(1, shape=(2,)), Stiefel(3, 2)]), (17,)),
        lambda: (Power(Stiefel(4, 2), 2), (2, 4, 2)),
    ]
    parameters = []
    for seed, make in enumerate(makes * each):
        space, shape = make()
        value = space.random(*shape, dtype=dtype, generator=rng(seed))
        parameters.append(geoopt.ManifoldParameter(value, manifold=space))
    return parameters


def walk(optimizer, parameters, steps, first=0, absent=lambda step, place: False):
    """Steps with random gradients; those of parameters for which ``absent`` holds are missing."""
    for step in range(first, first + steps):
        gradients(parameters, 100 + step)
        for place, p in enumerate(parameters):
            if absent(step, place):
                p.grad = None
        optimizer.step()


def values(parameters):
    return [p.detach().clone() for p in parameters]


def distance(ones, others):
    """Largest difference of entries, relative to the largest entry of each tensor."""
    pairs = zip(ones, others, strict=True)
    worst = [((a - b).abs().max() / b.abs().max().clamp_min(1.0)).item() for a, b in pairs if a.numel()]
    return max(worst, default=0.0)


def combinations(**options):
    """All dicts with one value for each name."""
    return [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]


def saved(optimizer, tmp_path):
    """The state dict of an optimizer from a file."""
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    return torch.load(tmp_path / "optimizer.pt", weights_only=True)


def twins(parameters):
    return copy.deepcopy(parameters)
