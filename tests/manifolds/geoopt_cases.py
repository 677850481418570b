"""Every registered space in geoopt's hands, and points and vectors on it."""

import geoopt
import pytest
import torch

from manifoldnet.manifolds import SPACES

F64 = torch.float64
SCALE = 2.0


def rng(seed):
    return torch.Generator().manual_seed(seed)


def wrapped(name, kind):
    """The manifold in geoopt's hands and the shape of its points."""
    space = SPACES[name]
    if kind == "scaled":
        return geoopt.Scaled(space, SCALE), space.point_shape
    if kind == "product":
        manifold = geoopt.ProductManifold((space, space.point_shape), (geoopt.Euclidean(ndim=1), 4))
        return manifold, (manifold.n_elements,)
    return space, space.point_shape


every_manifold = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in SPACES for kind in ("plain", "scaled", "product")]
)
every_space = pytest.mark.parametrize("name", SPACES)


def points(name, kind, *batch, seed=0):
    x = SPACES[name].random(*batch, *SPACES[name].point_shape, dtype=F64, generator=rng(seed))
    if kind != "product":
        return x
    other = torch.randn(*batch, 4, dtype=F64, generator=rng(seed + 1))
    return wrapped(name, kind)[0].pack_point(x, other)


def vectors(manifold, x, seed=2, size=0.2):
    return manifold.proju(x, size * torch.randn(x.shape, dtype=F64, generator=rng(seed)))


def near_the_origin(space, size, seed):
    """Two points; there the metric is nearly that of the entries, of which geoopt's momentum and samplers make use."""
    x = space.origin(2, *space.point_shape, dtype=F64)
    return space.expmap(x, size * space.random_tangent(x, generator=rng(seed)))


def same(a, b, tolerance=1e-9):
    assert a.shape == b.shape
    assert (a - b).abs().max() < tolerance
