"""The Fréchet mean: convergence, against scipy and closed forms, and derivatives of the implicit function."""

import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
import torch
from torch.autograd import forward_ad, grad, gradcheck, gradgradcheck

from manifoldnet import SO3, SPD, Circle, Power, Product
from manifoldnet.manifolds import SPACES, Hyperbolic, Sphere

F64 = torch.float64
# the logarithm of a Stiefel manifold is itself an iteration, too slow for a dozen of means with second derivatives
NAMES = [name for name in SPACES if name != "stiefel"]
every_space = pytest.mark.parametrize("name", NAMES)
# where a test takes ten seconds on most spaces, they are run with -m slow but for these
QUICK_NAMES = ("circle", "sphere", "hyperbolic", "spd-log-cholesky", "torus")
every_space_at_length = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_NAMES else pytest.mark.slow) for n in NAMES]
)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def cloud(space, distance, batch=3, n=5, dtype=F64, seed=0):
    """(batch, n, *point) at the distance from a centre."""
    centre = space.random(batch, 1, *space.point_shape, dtype=dtype, generator=rng(seed))
    centre = centre.expand(batch, n, *space.point_shape)
    u = space.random_tangent(centre, generator=rng(seed + 1))
    return space.expmap(centre, distance * u / space.norm(centre, u, keepdim=True))


def near(space, n=4):
    """A cloud within the radius in which the mean is unique."""
    radius = torch.as_tensor(space.injectivity_radius(space.random(64, *space.point_shape, generator=rng(0))))
    return cloud(space, min(1.0, 0.25 * float(radius.min())), 2, n)


def residual(space, points, mean, weights=None):
    w = torch.ones(points.shape[1]) if weights is None else weights
    w = (w / w.sum()).to(points.dtype)[(...,) + (None,) * space.ndim]
    return space.norm(mean, (w * space.logmap(mean.unsqueeze(1), points)).sum(1)).max().item()


@pytest.mark.parametrize(
    ("space", "distances", "tolerance"),
    [
        (SPD(n=3), (1.5, 4.0, 6.0), 1e-9),
        (SPD(n=3), (8.0,), 1e-7),
        (SPD(n=6), (2.5, 6.0), 1e-9),
        (Hyperbolic(3), (1.5, 4.0, 8.0), 1e-9),
        (SO3(), (0.7, 1.2, 1.4), 1e-13),
        (Sphere(3), (0.7, 1.2, 1.4), 1e-12),
    ],
)
def test_iterations_reach_rounding_for_points_far_apart(space, distances, tolerance):
    for distance in distances:
        points = cloud(space, distance, 100, 6)
        assert residual(space, points, space.frechet_mean(points)) < tolerance


def test_in_single_precision_too():
    """Matrices with condition numbers of 1e4 leave the logarithm no more than three or four digits."""
    for space, distance, tolerance in (
        (SPD(n=3), 4.0, 3e-4),
        (Hyperbolic(3), 4.0, 1e-4),
        (SO3(), 1.2, 2e-6),
        (Sphere(3), 1.2, 2e-6),
    ):
        points = cloud(space, distance, 100, 6, torch.float32)
        assert residual(space, points, space.frechet_mean(points)) < tolerance, space.name


def test_no_other_point_has_a_smaller_sum_of_squares():
    """scipy's minimiser, started elsewhere, in normal coordinates at the first point."""
    for space in (SPD(n=2), SO3(), Sphere(4), Hyperbolic(2), SPD("bures-wasserstein", n=2)):
        points = near(space)[0]
        weights = torch.tensor([0.1, 0.5, 0.2, 0.2], dtype=F64)
        basis = space.orthonormal_basis(points[0])

        def point(c, space=space, points=points, basis=basis):
            return space.expmap(points[0], torch.tensordot(torch.from_numpy(c), basis, 1))

        def total(c, point=point, space=space, points=points, weights=weights):
            return (weights * space.dist2(point(c), points)).sum().item()

        found = scipy.optimize.minimize(total, np.zeros(len(basis)), method="BFGS", options={"gtol": 1e-10})
        assert space.dist(point(found.x), space.frechet_mean(points, weights)) < 1e-6, space.name


def test_circle_mean_is_the_average_of_arcs():
    angles = torch.tensor([3.0, -3.0, 2.5, -2.0], dtype=F64, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64)
    mean = Circle().frechet_mean(angles, weights)
    unwrapped = torch.where(angles < 0, angles + 2 * torch.pi, angles)
    assert abs(mean.item() + 2 * torch.pi - (unwrapped * weights / 10).sum().item()) < 1e-14
    (gradient,) = grad(mean, angles)
    assert torch.allclose(gradient, weights / 10, rtol=0, atol=1e-15)


def on_the_space(space):
    """The mean of expmap(x_i, u_i) as a function of u and weights, plus what keeps it from being linear."""
    start = near(space)
    u = 0.1 * torch.randn(start.shape, dtype=F64, generator=rng(3))
    weights = torch.rand(2, 4, dtype=F64, generator=rng(2)) + 0.2

    def f(u, weights):
        mean = space.frechet_mean(space.expmap(start, space.proju(start, u)), weights)
        return mean + (u**3).sum() + (weights**3).sum()

    return f, u.requires_grad_(), weights.requires_grad_()


@every_space_at_length
def test_first_and_second_derivatives_match_differences(name):
    f, u, weights = on_the_space(SPACES[name])
    assert gradcheck(f, (u, weights), fast_mode=True)
    assert gradcheck(f, (u, weights), fast_mode=True, check_forward_ad=True, check_backward_ad=False)
    assert gradgradcheck(f, (u, weights), fast_mode=True)


def test_derivatives_where_all_points_coincide():
    """At coinciding points the Hessian is the identity, and the mean moves by the weighted average of the changes."""
    for name in ("so3", "spd-affine-invariant", "sphere", "hyperbolic"):
        space = SPACES[name]
        x = space.projx(torch.eye(*space.point_shape, dtype=F64) if space.ndim == 2 else torch.eye(4, dtype=F64)[0, :4])
        x = space.random(*space.point_shape, dtype=F64, generator=rng(0)) if x.shape != space.point_shape else x
        points = x.expand(3, *x.shape).clone().requires_grad_()
        weights = torch.tensor([0.5, 0.3, 0.2], dtype=F64)
        v = space.random_tangent(x, generator=rng(1))
        (gradient,) = grad((space.frechet_mean(points, weights) * v).sum(), points)
        u = space.random_tangent(x, generator=rng(2))
        moved = (gradient * u).flatten(1).sum(1)
        assert torch.allclose(moved, weights * (u * v).sum(), rtol=0, atol=1e-12), name


@every_space
def test_vmap_and_forward_mode(name):
    space = SPACES[name]
    points, weights = near(space), torch.rand(2, 4, dtype=F64, generator=rng(2)) + 0.2
    mean = space.frechet_mean(points, weights)
    assert torch.allclose(torch.vmap(space.frechet_mean)(points, weights), mean, rtol=0, atol=1e-12)

    def total(p, w):
        return space.frechet_mean(p, w).sin().sum()

    wanted = torch.func.grad(total, (0, 1))(points, weights)
    for ours, theirs in zip(torch.vmap(torch.func.grad(total, (0, 1)))(points, weights), wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    changes = space.random_tangent(points, generator=rng(4))
    _, moved = torch.func.jvp(lambda p: space.frechet_mean(p, weights), (points,), (changes,))
    _, pull = torch.func.vjp(lambda p: space.frechet_mean(p, weights), points)
    g = torch.randn(mean.shape, dtype=F64, generator=rng(5))
    assert abs((g * moved).sum() - (pull(g)[0] * changes).sum()) < 1e-10
    with forward_ad.dual_level():
        dual = space.frechet_mean(forward_ad.make_dual(points, changes), weights)
        assert torch.allclose(forward_ad.unpack_dual(dual).tangent, moved, rtol=0, atol=1e-12)


def test_weights_broadcast_against_points():
    """One weighting for many clouds and many weightings of one cloud, with gradients of the shapes given."""
    space = SPD(n=2)
    points = near(space).requires_grad_()
    weights = (torch.rand(4, dtype=F64, generator=rng(1)) + 0.1).requires_grad_()
    shared = space.frechet_mean(points, weights)
    assert torch.allclose(shared, space.frechet_mean(points, weights.expand(2, 4)), rtol=0, atol=1e-13)
    assert [g.shape for g in grad(shared.sum(), (points, weights))] == [points.shape, weights.shape]
    several = (torch.rand(3, 4, dtype=F64, generator=rng(2)) + 0.1).requires_grad_()
    means = space.frechet_mean(points[0], several)
    assert means.shape == (3, 2, 2)
    assert [g.shape for g in grad(means.sum(), (points, several))] == [points.shape, several.shape]
    _, moved = torch.func.jvp(lambda w: space.frechet_mean(points[0].detach(), w), (several,), (several,))
    assert moved.abs().max() < 1e-12  # a common factor of the weights changes nothing


def test_empty_batches_and_single_points():
    for space in (SPD(n=3), SO3(), Power(SO3(), 2), Product([Circle(), SPD(n=2)])):
        x = space.random(2, 1, *space.point_shape, dtype=F64, generator=rng(0))
        assert torch.allclose(space.frechet_mean(x), x[:, 0], rtol=0, atol=1e-12)
        assert space.frechet_mean(x[:0]).shape == (0, *space.point_shape)


def test_memory_of_the_gradient_does_not_grow_with_the_iterations():
    """One node of the graph, whatever was iterated."""
    points = near(SO3()).requires_grad_()
    assert type(SO3().frechet_mean(points).grad_fn).__name__ == "_MeanBackward"


COMPILED = """
import json, sys, torch
from manifoldnet.manifolds import SPACES
found = {}
for name in sys.argv[1:]:
    space = SPACES[name]
    g = torch.Generator().manual_seed(0)
    c = space.random(2, 1, *space.point_shape, dtype=torch.float64, generator=g).expand(2, 3, *space.point_shape)
    u = space.random_tangent(c, generator=g)
    x = space.expmap(c, 0.5 * u / space.norm(c, u, keepdim=True))
    w = torch.rand(2, 3, dtype=torch.float64, generator=g) + 0.1
    results = []
    torch._dynamo.reset()
    for f in (space.frechet_mean, torch.compile(space.frechet_mean, fullgraph=True, backend="eager")):
        leaves = [x.clone().requires_grad_(), w.clone().requires_grad_()]
        value = f(*leaves)
        results.append((value.detach(), *torch.autograd.grad(value.sin().sum(), leaves)))
    found[name] = max((a - b).abs().max().item() for a, b in zip(*results))
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", [["sphere", "circle"], ["so3", "hyperbolic"]])
def test_mean_compiles_as_one_graph(names):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILED, *names], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert set(found) == set(names)
    assert max(found.values()) < 1e-9
