"""What the laws run over: every registered space, its group and its method, at random and at singular points."""

import math

import pytest
import torch

from manifoldnet.integrators import METHODS
from manifoldnet.manifolds import SPACES, SPD, Euclidean, LieGroup, Power, Product

F64 = torch.float64
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
lie_groups = {name: space for name, space in SPACES.items() if isinstance(space, LieGroup)}
every_lie_group = pytest.mark.parametrize("group", lie_groups.values(), ids=lie_groups.keys())
# the groups that act, which on SPD spaces is not the space itself
acting = {name: space.action.group for name, space in SPACES.items()}
every_acting_group = pytest.mark.parametrize("group", acting.values(), ids=acting.keys())
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
lie_methods = {name: method for name, method in METHODS.items() if method.is_lie}
every_lie_method = pytest.mark.parametrize("method", lie_methods.values(), ids=lie_methods.keys())
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])


def rng(seed):
    return torch.Generator().manual_seed(seed)


def points(space, *batch, dtype=F64, seed=0):
    return space.random(*batch, *space.point_shape, dtype=dtype, generator=rng(seed))


def tangents(space, x, length=None, seed=1):
    """Random tangent vectors at x, of the given Riemannian length if there is one."""
    u = space.proju(x, torch.randn(x.shape, dtype=x.dtype, generator=rng(seed)))
    return u if length is None else u * (length / space.norm(x, u, keepdim=True))


def near(space, x, length, seed=2):
    """Points at the given distance from x; below pi they are within every registered cut locus."""
    return space.expmap(x, tangents(space, x, length, seed))


def coordinates(group, *batch, scale=1.0, dtype=F64, seed=3):
    """Random elements of the algebra."""
    return scale * torch.randn(*batch, group.dim, dtype=dtype, generator=rng(seed))


def close(value, wanted, tolerance):
    """The largest deviation is at most ``tolerance`` relative to the largest entry (but at least 1)."""
    assert value.shape == wanted.shape
    assert value.dtype == wanted.dtype
    if value.numel():
        worst = (value - wanted).abs().max().item()
        assert worst <= tolerance * max(1.0, wanted.abs().max().item()), f"largest deviation {worst:.3g}"


GAPS = (0.0, 1e-12, 1e-8, 1e-4)
ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.5, math.pi - 1e-6, math.pi)


def singular_points(space, dtype):
    """(m, *point): where formulas divide by zero: repeated eigenvalues, angles 0 and pi, and their surroundings."""
    if isinstance(space, SPD):
        basis = torch.linalg.qr(torch.randn(space.n, space.n, dtype=F64, generator=rng(4)))[0]
        rows = [torch.ones(space.n, dtype=F64)]
        for gap in GAPS:
            row = torch.linspace(1.0, 3.0, space.n, dtype=F64)
            row[0] = row[1] - gap
            rows.append(row)
        x = (basis * torch.stack(rows)[:, None, :]) @ basis.T
        return (0.5 * (x + x.mT)).to(dtype)
    if isinstance(space, Power):
        one = singular_points(space.space, dtype)
        return torch.stack([one.roll(k, 0) for k in range(space.n)], 1)
    if isinstance(space, Product):
        factors = [singular_points(factor, dtype) for factor in space.spaces]
        count = max(map(len, factors))
        return space.join([f[torch.arange(count) % len(f)] for f in factors])
    if isinstance(space, Euclidean):
        return torch.zeros(1, *space.point_shape, dtype=dtype)
    if isinstance(space, LieGroup):
        axis = torch.linspace(1.0, 2.0, space.dim, dtype=F64)
        axes = [axis / axis.norm(), torch.eye(space.dim, dtype=F64)[-1]]
        v = torch.stack([angle * direction for direction in axes for angle in ANGLES])
        return space.exp(v).to(dtype)
    return points(space, 2, dtype=dtype)
