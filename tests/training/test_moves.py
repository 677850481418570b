import geoopt
import pytest
import torch
from optimiser_cases import F64, distance, rng

from manifoldnet.manifolds import SO, SO3, SPACES, SPD, Euclidean, Power, Product, Sphere, Stiefel
from manifoldnet.training.moves import move, move_along, space_key, space_of

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
both_retractions = pytest.mark.parametrize("retraction", ["retr", "expmap"])


def step(space, length, count=5):
    """Points, and two tangent vectors at each: one of the length, one of any."""
    x = space.random(count, *space.point_shape, dtype=F64, generator=rng(0))
    u, v = (space.random_tangent(x, generator=rng(seed)) for seed in (1, 2))
    return x, length * u / space.norm(x, u, keepdim=True), v


@every_space
@both_retractions
def test_vectors_are_carried_as_the_space_carries_them(space, retraction):
    """The space's own transport goes to the point that the step reached, by a logarithm or by a rule for frames."""
    x, u, v = step(space, 0.1)
    y, carried = move_along(space, x, u, v, retraction)
    wanted, transported = getattr(space, f"{retraction}_transp")(x, u, v)
    assert distance([y], [wanted]) < 1e-12
    assert distance([y], [move(space, x, u, retraction)]) < 1e-12
    # products of frames know no short cut of their own, and take the logarithm
    assert distance([carried], [transported]) < 1e-8
    assert space.check_vector_on_tangent(y, carried, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 3), (3, 2), (4, 2), (5, 2), (2, 1)])
def test_frames_of_every_width_turn_alike(shape):
    space = Stiefel(*shape)
    x, u, v = step(space, 2.0)
    for value, wanted in zip(move_along(space, x, u, v, "retr"), space.retr_transp(x, u, v), strict=True):
        assert distance([value], [wanted]) < 1e-12


@pytest.mark.parametrize("space", [SO3(), SO(4), SPD("affine-invariant", n=3), Power(SO3(), 2)])
@both_retractions
def test_long_steps_carry_vectors_isometrically(space, retraction):
    """Also beyond half a turn, where a logarithm goes back the other way."""
    shape = space.point_shape or (3, 3)
    x = space.random(4, *shape, dtype=F64, generator=rng(0))
    u, v = (space.random_tangent(x, generator=rng(seed)) for seed in (1, 2))
    u = 5.0 * u / space.norm(x, u, keepdim=True)
    y, carried = move_along(space, x, u, v, retraction)
    assert torch.allclose(space.norm(y, carried), space.norm(x, v), rtol=1e-8)
    _, velocity = move_along(space, x, u, u, "expmap")
    h = 1e-6
    ahead, behind = (space.expmap(x, (1 + t) * u) for t in (h, -h))
    assert distance([velocity], [(ahead - behind) / (2 * h)]) < 1e-6


@pytest.mark.parametrize("n", [2, 3, 5])
@both_retractions
def test_single_precision_stays_finite_where_eigenvalues_repeat(n, retraction):
    space = SPD("affine-invariant", n=n)
    for dtype in (torch.float32, F64):
        x = torch.eye(n, dtype=dtype).expand(3, n, n)
        u = torch.tensor([0.0, 1e-20, 0.5], dtype=dtype)[:, None, None] * x
        y, carried = move_along(space, x, u, x, retraction)
        assert y.isfinite().all()
        assert carried.isfinite().all()
        assert torch.equal(carried[0], x[0])


def test_equal_spaces_have_equal_keys_and_others_do_not():
    makes = [
        SO3,
        lambda: Sphere(3),
        lambda: Sphere(4),
        lambda: SPD("affine-invariant", n=3),
        lambda: SPD("affine-invariant"),
        lambda: SPD("log-euclidean", n=3),
        lambda: Power(SO3(), 2),
        lambda: Power(SO3(), 3),
        lambda: Product([SO3(), Sphere(3)]),
        lambda: Product([SO3(), Sphere(4)]),
        geoopt.Sphere,
        geoopt.Stiefel,
        geoopt.SymmetricPositiveDefinite,
        lambda: geoopt.ProductManifold((geoopt.Sphere(), 3), (geoopt.Stiefel(), (3, 2))),
        lambda: geoopt.ProductManifold((geoopt.Sphere(), 3), (geoopt.Stiefel(), (4, 2))),
    ]
    keys = [space_key(make()) for make in makes]
    assert keys == [space_key(make()) for make in makes]
    assert len(set(keys)) == len(keys)
    ball = geoopt.PoincareBall(c=1.0, learnable=True)
    assert space_key(ball) == space_key(ball)
    assert space_key(ball) != space_key(geoopt.PoincareBall(c=1.0, learnable=True))


def test_tensors_without_a_manifold_are_euclidean():
    assert isinstance(space_of(torch.zeros(2, 3)), Euclidean)
    assert space_of(torch.zeros(2, 3)).ndim == 2
    assert space_of(geoopt.ManifoldParameter(torch.eye(3), manifold=SO3())).name == "SO3"
