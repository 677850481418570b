"""What geoopt asks of a manifold, asked of every registered space: as it is, scaled, and as a factor of its product.

The properties are those that geoopt 0.5.1 tests on its own manifolds: projections, batches, steps with transport, their
reversal, logarithms, origins, tensors and parameters; optimisers and samplers are in test_geoopt_training.
"""

import copy

import geoopt
import pytest
import torch
from geoopt_cases import F64, SCALE, every_manifold, every_space, points, rng, same, vectors, wrapped

from manifoldnet.manifolds import SPACES, SPD, Euclidean


@every_manifold
def test_projections_land_and_stay(name, kind):
    manifold, shape = wrapped(name, kind)
    noise = torch.randn(5, *shape, dtype=F64, generator=rng(3))
    x = manifold.projx(noise)
    manifold.assert_check_point_on_manifold(x)
    same(manifold.projx(x), x)
    on = points(name, kind, 5)
    same(manifold.projx(on), on)
    u = manifold.proju(on, noise)
    manifold.assert_check_vector_on_tangent(on, u)
    same(manifold.proju(on, u), u)
    manifold.assert_check_vector_on_tangent(on, manifold.egrad2rgrad(on, noise))


@every_manifold
def test_checks_refuse_what_is_elsewhere(name, kind):
    manifold, shape = wrapped(name, kind)
    x = points(name, kind)
    manifold.assert_check_point(x)
    manifold.assert_check_vector(x)
    if shape:
        with pytest.raises(ValueError, match="manifold"):
            manifold.assert_check_point(torch.zeros(1))
    if name not in ("euclidean", "circle", "torus"):
        with pytest.raises(ValueError, match="manifold"):
            manifold.assert_check_point_on_manifold(x * torch.nan)
        with pytest.raises(ValueError, match="tangent"):
            manifold.assert_check_vector_on_tangent(x, torch.full_like(x, torch.nan))


@every_manifold
def test_batches_are_the_points_one_by_one(name, kind):
    manifold, _ = wrapped(name, kind)
    x, noise = points(name, kind, 4), torch.randn(4, *points(name, kind).shape, dtype=F64, generator=rng(4))
    u, v = vectors(manifold, x, 5), vectors(manifold, x, 6)
    for f, arguments in (
        (manifold.projx, (x,)),
        (manifold.proju, (x, noise)),
        (manifold.egrad2rgrad, (x, noise)),
        (manifold.retr, (x, u)),
        (manifold.expmap, (x, u)),
        (manifold.transp_follow_retr, (x, u, v)),
        (manifold.transp_follow_expmap, (x, u, v)),
        (manifold.inner, (x, u, v)),
        (manifold.norm, (x, u)),
    ):
        whole = f(*arguments)
        for k, row in enumerate(whole):
            same(f(*(a[k] for a in arguments)), row, 1e-10)


@every_manifold
def test_steps_carry_vectors_along(name, kind):
    manifold, _ = wrapped(name, kind)
    x = points(name, kind, 4)
    u, v = vectors(manifold, x, 5), vectors(manifold, x, 6)
    for step, with_vector, follow in (
        (manifold.retr, manifold.retr_transp, manifold.transp_follow_retr),
        (manifold.expmap, manifold.expmap_transp, manifold.transp_follow_expmap),
    ):
        y, moved = with_vector(x, u, v)
        same(y, step(x, u))
        same(moved, follow(x, u, v))
        manifold.assert_check_point_on_manifold(y)
        manifold.assert_check_vector_on_tangent(y, moved)
        same(manifold.norm(y, moved), manifold.norm(x, v))


@pytest.mark.parametrize("kind", ["plain", "scaled"])
@every_space
def test_reversible_steps_lead_back(name, kind):
    manifold, _ = wrapped(name, kind)
    x = points(name, kind, 4)
    u = vectors(manifold, x, 5, 0.3)
    y, moved = manifold.retr_transp(x, u, u)
    back, returned = manifold.retr_transp(y, -moved, moved)
    error = max((back - x).abs().max(), (returned - u).abs().max())
    assert manifold.reversible == bool(error < 1e-8)


@every_manifold
def test_logarithm_and_distance(name, kind):
    manifold, _ = wrapped(name, kind)
    x = points(name, kind, 4)
    u = vectors(manifold, x, 5)
    y = manifold.expmap(x, u)
    same(manifold.logmap(x, y), u, 1e-7)
    same(manifold.expmap(x, manifold.logmap(x, y)), y, 1e-7)
    same(manifold.dist(x, y), manifold.norm(x, u), 1e-7)
    same(manifold.dist2(x, y), manifold.norm(x, u).square(), 1e-7)
    same(manifold.inner(x, u), manifold.inner(x, u, u), 1e-12)
    assert manifold.dist(x, x).abs().max() < 1e-6
    same(manifold.logmap(x, x), torch.zeros_like(x))


@every_manifold
def test_keepdim_leaves_numbers_that_multiply_points(name, kind):
    manifold, shape = wrapped(name, kind)
    x, y = points(name, kind, 4, 3), points(name, kind, 4, 3, seed=9)
    u = vectors(manifold, x, 5)
    kept = (4, 3, *[1] * len(shape))
    for f, arguments in (
        (manifold.dist, (x, y)),
        (manifold.dist2, (x, y)),
        (manifold.inner, (x, u)),
        (manifold.norm, (x, u)),
    ):
        assert f(*arguments).shape == (4, 3)
        assert f(*arguments, keepdim=True).shape == kept
        same(f(*arguments, keepdim=True).reshape(4, 3), f(*arguments), 1e-12)
    component = manifold.component_inner(x, u)
    assert torch.broadcast_shapes(component.shape, x.shape) == x.shape


@every_space
def test_scaling_scales_lengths(name):
    """Tangent vectors of a scaled manifold are those of the plain one, given in the scaled unit of length."""
    space, scaled = SPACES[name], geoopt.Scaled(SPACES[name], SCALE)
    x, y = points(name, "plain", 4), points(name, "plain", 4, seed=9)
    u = vectors(space, x)
    same(scaled.dist(x, y), SCALE * space.dist(x, y))
    same(scaled.dist2(x, y), SCALE**2 * space.dist2(x, y))
    same(scaled.logmap(x, y), SCALE * space.logmap(x, y))
    same(scaled.norm(x, u), space.norm(x, u))
    same(scaled.expmap(x, SCALE * u), space.expmap(x, u))
    same(scaled.retr(x, SCALE * u), space.retr(x, u))
    undone = geoopt.Scaled(scaled, 1 / SCALE)
    same(undone.dist(x, y), space.dist(x, y))
    learnable = geoopt.Scaled(space, SCALE, learnable=True)
    learnable.dist(x, y).sum().backward()
    assert learnable._log_scale.grad.abs() > 0


@every_space
def test_products_are_packed_and_unpacked(name):
    space, (manifold, shape) = SPACES[name], wrapped(name, "product")
    whole = points(name, "product", 5)
    assert whole.shape == (5, *shape)
    first, second = manifold.unpack_tensor(whole)
    assert first.shape == (5, *space.point_shape)
    same(manifold.pack_point(first, second), whole, 1e-15)
    u = vectors(manifold, whole)
    parts = manifold.unpack_tensor(u)
    wanted = space.inner(first, parts[0]) + geoopt.Euclidean(ndim=1).inner(second, parts[1])
    same(manifold.inner(whole, u), wanted, 1e-12)
    made = geoopt.ProductManifold.from_point(
        geoopt.ManifoldTensor(first, manifold=space),
        geoopt.ManifoldTensor(second, manifold=geoopt.Euclidean(ndim=1)),
        batch_dims=1,
    )
    assert made.n_elements == manifold.n_elements


@every_space
def test_origin_is_a_plain_point_without_chance(name):
    space = SPACES[name]
    before = torch.get_rng_state()
    x = space.origin(3, *space.point_shape, dtype=F64)
    assert torch.equal(before, torch.get_rng_state())
    assert x.dtype == F64
    space.assert_check_point_on_manifold(x)
    assert torch.equal(x, space.origin((3, *space.point_shape), dtype=F64, seed=1))
    assert torch.equal(x[0], x[1])
    assert space.origin(space.point_shape).dtype == torch.get_default_dtype()
    if space.point_shape:
        with pytest.raises(ValueError, match="size"):
            space.origin(*space.point_shape[:-1], space.point_shape[-1] + 1)
    sample = wrapped(name, "product")[0].origin(2, wrapped(name, "product")[0].n_elements, dtype=F64)
    wrapped(name, "product")[0].assert_check_point_on_manifold(sample)


def test_origins_of_spaces_without_a_size():
    assert torch.equal(SPD().origin(4, 2, 2), torch.eye(2).expand(4, 2, 2))
    assert torch.equal(Euclidean(2).origin(3, 5), torch.zeros(3, 5))


@every_space
def test_tensors_and_parameters(name):
    space = SPACES[name]
    x = points(name, "plain", 3)
    tensor = geoopt.ManifoldTensor(x, manifold=space)
    parameter = geoopt.ManifoldParameter(x.clone(), manifold=space)
    assert parameter.requires_grad
    y = points(name, "plain", 3, seed=9)
    u = vectors(space, x)
    for each in (tensor, parameter):
        assert each.manifold is space
        same(each.dist(y, p="g"), space.dist(x, y), 1e-12)
        same(each.expmap(u), space.expmap(x, u), 1e-12)
        same(each.proju(u), u, 1e-9)
        same(each.logmap(y), space.logmap(x, y), 1e-12)
        assert not isinstance(space.proju(each, u), type(each))
        assert isinstance(copy.deepcopy(each), type(each))
        assert isinstance(copy.copy(each), type(each))
    with torch.no_grad():
        moved = geoopt.ManifoldParameter(torch.randn(x.shape, dtype=F64, generator=rng(1)), manifold=space).proj_()
    space.assert_check_point_on_manifold(moved)
    assert str(space).endswith("manifold")
