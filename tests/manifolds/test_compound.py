"""Products and powers against their factors."""

import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Euclidean, Power, Product
from manifoldnet.manifolds import LieGroup

F64 = torch.float64
FACTORS = [SO3(), Euclidean(1, shape=(2,)), SPD("affine-invariant", n=2), Circle()]
MIXED = Product(FACTORS)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def two(space, *batch):
    return (space.random(*batch, *space.point_shape, dtype=F64, generator=rng(seed)) for seed in (1, 2))


def test_product_maps_are_the_maps_of_the_factors():
    x, y = two(MIXED, 5)
    assert x.shape == (5, 9 + 2 + 4 + 1)
    assert torch.equal(MIXED.join(MIXED.split(x)), x)
    squared = sum(f.dist2(p, q) for f, p, q in zip(FACTORS, MIXED.split(x), MIXED.split(y), strict=True))
    assert torch.allclose(MIXED.dist(x, y), squared.sqrt(), atol=1e-13, rtol=1e-13)
    for name in ("logmap", "geodesic"):
        extra = (0.3,) if name == "geodesic" else ()
        parts = zip(
            FACTORS, MIXED.split(x), MIXED.split(y), MIXED.split(getattr(MIXED, name)(x, y, *extra)), strict=True
        )
        for f, p, q, value in parts:
            assert torch.allclose(value, getattr(f, name)(p, q, *extra), atol=1e-13, rtol=1e-13)


def test_product_generators_are_side_by_side():
    x, _ = two(MIXED, 5)
    action = MIXED.action
    assert action.group.dim == 3 + 2 + 4 + 1
    v = 0.5 * torch.randn(5, 10, dtype=F64, generator=rng(3))
    vs = v.split([3, 2, 4, 1], -1)
    moved = [f.action.act_exp(w, p) for f, w, p in zip(FACTORS, vs, MIXED.split(x), strict=True)]
    assert torch.allclose(action.act_exp(v, x), MIXED.join(moved), atol=1e-13, rtol=1e-13)


def test_a_product_is_a_group_if_its_factors_are():
    assert isinstance(Product([SO3(), Circle()]), LieGroup)
    assert not isinstance(MIXED, LieGroup)
    assert isinstance(Power(SO3(), 2), LieGroup)
    assert not isinstance(Power(SPD(n=2), 2), LieGroup)
    assert isinstance(Power(Product([SO3(), Circle()]), 3), LieGroup)


def test_power_is_the_product_of_copies():
    power, product = Power(SO3(), 3), Product([SO3()] * 3)
    x, y = two(power, 5)
    assert torch.allclose(power.dist(x, y), product.dist(x.flatten(1), y.flatten(1)), atol=1e-13, rtol=1e-13)
    assert torch.allclose(
        power.logmap(x, y).flatten(1), product.logmap(x.flatten(1), y.flatten(1)), atol=1e-13, rtol=1e-13
    )
    u, v = torch.randn(2, 5, 9, dtype=F64, generator=rng(4))
    assert torch.allclose(power.exp(u).flatten(1), product.exp(u), atol=1e-14, rtol=1e-14)
    for name in ("bracket", "dexp", "dexpinv"):
        assert torch.allclose(getattr(power, name)(u, v), getattr(product, name)(u, v), atol=1e-12, rtol=1e-12)
    assert torch.allclose(power.dexpinv(u, v, 2), product.dexpinv(u, v, 2), atol=1e-12, rtol=1e-12)
    assert torch.allclose(power.Ad(x, v), product.Ad(x.flatten(1), v), atol=1e-13, rtol=1e-13)


def test_power_mean_is_taken_copy_by_copy():
    power = Power(SPD(n=2), 3)
    points = power.random(7, 3, 2, 2, dtype=F64, generator=rng(5))
    weights = torch.rand(7, dtype=F64, generator=rng(6))
    mean = power.frechet_mean(points, weights)
    for k in range(3):
        assert torch.allclose(mean[k], SPD(n=2).frechet_mean(points[:, k], weights), rtol=1e-10, atol=1e-10)


def test_nested_spaces_work_as_one():
    space = Power(Product([Circle(), Power(SO3(), 2)]), 2)
    x, y = two(space, 4)
    assert x.shape == (4, 2, 19)
    u = space.logmap(x, y)
    assert torch.allclose(space.expmap(x, u), y, atol=1e-12, rtol=1e-12)
    assert torch.allclose(space.dist(x, y), space.norm(x, u), atol=1e-12, rtol=1e-12)
    assert torch.allclose(space.exp(space.log(x)), x, atol=1e-12, rtol=1e-12)
    assert space.log(x).shape == (4, space.dim) == (4, 14)


def test_a_wrong_construction_is_refused_by_name():
    with pytest.raises(ValueError, match=r"spaces: wanted at least one"):
        Product([])
    with pytest.raises(ValueError, match=r"spaces: .*known shape"):
        Product([SPD()])
    with pytest.raises(ValueError, match=r"n: .*got 0"):
        Power(SO3(), 0)
    with pytest.raises(ValueError, match=r"space: .*ndim=2"):
        Power(Euclidean(2), 3)
    assert not Power(SO3(), 3).check_point(torch.zeros(4, 3, 3))


def test_the_factor_that_is_wrong_is_named():
    x, _ = two(MIXED)
    u = MIXED.logmap(x, x)
    for entry, name in ((0, "factor 0: SO3"), (12, "factor 2: SPD")):
        wrong = x.clone()
        wrong[entry] += 1.0
        ok, reason = MIXED.check_point_on_manifold(wrong, explain=True)
        assert not ok
        assert reason.startswith(name)
        wrong = u.clone()
        wrong[entry] += 1.0
        ok, reason = MIXED.check_vector_on_tangent(x, wrong, explain=True)
        assert not ok
        assert reason.startswith(name)
