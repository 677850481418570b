"""Minimisers of total variation against exact solvers, and single steps against brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from manifoldnet.errors import InputError
from manifoldnet.linalg import wrap_angle
from manifoldnet.manifolds import SO3, SPACES, SPD, Circle, Euclidean, Hyperbolic, Power, Sphere
from manifoldnet.manifolds.total_variation import _curved_triple, _flat_triple, _pair, tv_denoise

CURVED_NAMES = ("spd-affine-invariant", "so3", "sphere")
CURVED = {"spd": SPD(n=3), "so3": SO3(), "sphere": Sphere(), "hyperbolic": Hyperbolic(3)}


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def near(space, generator, *batch, spread=0.3):
    """Points within about ``spread`` of one random point."""
    shape = SPACES["hyperbolic"].point_shape if space.name == "Hyperbolic" else space.point_shape
    centre = space.random(*shape, dtype=torch.float64, generator=generator).expand(*batch, *shape)
    return space.expmap(centre, spread * space.random_tangent(centre, generator=generator))


def energy(space, x, f, alpha, beta, ndim, weights=1.0):
    """What is minimised, written with distances and midpoints only."""
    total = 0.5 * (weights * space.dist(x, f) ** 2).sum()
    for axis in range(ndim):
        p = x.movedim(x.dim() - space.ndim - ndim + axis, 0)
        total = total + alpha * space.dist(p[1:], p[:-1]).sum()
        total = total + beta * 2 * space.dist(space.geodesic(p[:-2], p[2:], 0.5), p[1:-1]).sum()
    return float(total)


def exact(f, alpha, beta):
    """Minimiser for numbers on a line, through the dual problem: 1/2 |f - D'p|^2 with |p| bounded."""
    first, second = np.diff(np.eye(len(f)), axis=0), np.diff(np.eye(len(f)), 2, axis=0)
    parts = [(d, bound) for d, bound in ((first, alpha), (second, beta)) if bound]
    D, bounds = np.vstack([d for d, _ in parts]), np.concatenate([np.full(len(d), b) for d, b in parts])

    def dual(p):
        x = f - D.T @ p
        return x @ x / 2, -D @ x

    options = {"maxiter": 20000, "maxfun": 10**6, "ftol": 1e-16, "gtol": 1e-9}
    solved = minimize(
        dual, 0 * bounds, jac=True, method="L-BFGS-B", bounds=list(zip(-bounds, bounds, strict=True)), options=options
    )
    return f - D.T @ solved.x


@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.0), (0.5, 0.8)])
def test_numbers_on_a_line(alpha, beta):
    f = np.cumsum(np.random.default_rng(0).normal(size=30))
    wanted = torch.from_numpy(exact(f, alpha, beta))
    result = tv_denoise(Euclidean(0), torch.from_numpy(f), alpha, beta, ndim=1, iterations=150)
    assert_close(result, wanted, rtol=0, atol=0.1)
    # away from the cut locus the circle is a line
    angles = tv_denoise(Circle(), torch.from_numpy(f / 10), alpha / 10, beta / 10, ndim=1, iterations=150)
    assert_close(angles, wanted / 10, rtol=0, atol=0.01)


def test_a_geodesic_is_a_line(generator):
    """Points of one geodesic stay on it and move along it as numbers do."""
    numbers = 0.1 * torch.randn(12, dtype=torch.float64, generator=generator).cumsum(0)
    wanted = tv_denoise(Euclidean(0), numbers, 0.08, ndim=1, iterations=10)
    for space in CURVED.values():
        x, y = near(space, generator, 2)
        unit = space.logmap(x, y) / space.dist(x, y)
        curve = space.expmap(x, numbers[(...,) + (None,) * space.ndim] * unit)
        result = tv_denoise(space, curve, 0.08, ndim=1, iterations=10)
        assert_close(result, space.expmap(x, wanted[(...,) + (None,) * space.ndim] * unit), rtol=0, atol=1e-7)


def test_two_rows_of_equal_numbers_meet_where_the_pulls_balance():
    """Of two clusters with counts m and n, alpha moves each by alpha / count; on the circle the short way round."""
    steps = torch.tensor([3.0] * 4 + [-3.0] * 8, dtype=torch.float64)
    result = tv_denoise(Circle(), steps, 0.2, ndim=1, iterations=300)
    wanted = torch.tensor([3.0 + 0.2 / 4] * 4 + [-3.0 - 0.2 / 8] * 8, dtype=torch.float64)
    assert_close(result, wanted, rtol=0, atol=4e-3)
    together = tv_denoise(Circle(), steps, 5.0, ndim=1, iterations=300)
    gap = 2 * math.pi - 6
    assert_close(together, wrap_angle(torch.full_like(together, -3.0 - gap / 3)), rtol=0, atol=5e-2)


@pytest.mark.parametrize("name", CURVED)
def test_step_of_a_pair_is_proximal(name, generator):
    """No other pair of points has a smaller half squared distance to the old one plus step * d(a, b)."""
    space = CURVED[name]
    a, b = near(space, generator, 2, spread=0.6)
    for amount in (0.1, 10.0):
        step = torch.tensor(amount, dtype=torch.float64)
        x, y = _pair(space, a, b, step)
        assert_close(space.dist(a, x), space.dist(b, y))
        assert_close(space.dist(a, x), torch.minimum(step, space.dist(a, b) / 2))

        def cost(p, q, step=step):
            return (space.dist2(a, p) + space.dist2(b, q)) / 2 + step * space.dist(p, q)

        best = cost(x, y)
        for size in (1e-3, 1e-2, 0.1, 0.5):
            p, q = (point.expand(200, *point.shape) for point in (x, y))
            p = space.expmap(p, size * space.random_tangent(p, generator=generator))
            q = space.expmap(q, size * space.random_tangent(q, generator=generator))
            assert (cost(p, q) > best - 1e-9).all()


@pytest.mark.parametrize("step", [0.05, 0.3, 3.0])
def test_step_of_a_triple_of_angles_is_proximal(step, generator):
    """Against a search from many starts; the second difference is taken modulo full turns."""
    for triple in 6.28 * torch.rand(4, 3, dtype=torch.float64, generator=generator) - 3.14:
        amount = torch.tensor(step, dtype=torch.float64)
        moved = torch.stack(_flat_triple(Circle(), *triple, amount))

        def cost(x, triple=triple):
            second, moves = (np.angle(np.exp(1j * v)) for v in (x[0] - 2 * x[1] + x[2], x - triple.numpy()))
            return (moves**2).sum() / 2 + step * abs(second)

        starts = triple + torch.randn(6, 3, dtype=torch.float64, generator=generator)
        found = [minimize(cost, start.numpy(), method="Nelder-Mead", options={"xatol": 1e-7}) for start in starts]
        assert cost(moved.numpy()) <= min(result.fun for result in found) + 1e-6


def test_step_of_a_triple_in_flat_spaces_is_the_curved_one(generator):
    """The gradient step does not know that the space is flat, and takes the exact proximal step all the same."""
    step = torch.tensor([0.01, 0.1, 5.0], dtype=torch.float64)
    for name in ("spd-log-euclidean", "spd-log-cholesky", "euclidean"):
        space = SPACES[name]
        a, b, c = near(space, generator, 3, 3)
        exact_step, general = _flat_triple(space, a, b, c, step), _curved_triple(space, a, b, c, step)
        for one, other in zip(exact_step, general, strict=True):
            assert_close(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", CURVED)
def test_long_steps_of_a_triple_make_it_nearly_geodesic(name, generator):
    space = CURVED[name]
    a, b, c = near(space, generator, 3, 20)
    before = space.dist(space.geodesic(a, c, 0.5), b)
    a, b, c = _curved_triple(space, a, b, c, torch.full((20,), 10.0, dtype=torch.float64))
    assert (space.dist(space.geodesic(a, c, 0.5), b) < 0.1 * before).all()


@pytest.mark.parametrize(
    ("name", "beta"),
    [
        *(("circle", 0.0), ("circle", 0.1), ("spd-affine-invariant", 0.0), ("spd-log-euclidean", 0.1), ("torus", 0.1)),
        *(pytest.param(name, 0.1, marks=pytest.mark.slow) for name in CURVED_NAMES),
    ],
)
def test_the_energy_falls_towards_its_minimum(name, beta, generator):
    space = SPACES[name]
    f = near(space, generator, 4, 5)
    energies = [energy(space, f, f, 0.1, beta, 2)]
    for iterations in (1, 5, 20):
        x = tv_denoise(space, f, 0.1, beta, iterations=iterations)
        energies.append(energy(space, x, f, 0.1, beta, 2))
        ok, reason = space.check_point_on_manifold(x, explain=True)
        assert ok, reason
    assert max(energies[1:]) < energies[0]
    assert energies[3] < energies[2]
    # nothing near the result is much better
    base = energies[-1]
    for size in (1e-3, 1e-2, 5e-2):
        for _ in range(5):
            other = space.expmap(x, size * space.random_tangent(x, generator=generator))
            assert energy(space, other, f, 0.1, beta, 2) > base - 5e-3 * energies[0]


def test_isometries_commute(generator):
    """Turns of the circle, rotations and congruences of the whole image; full turns change nothing."""
    angles = 6 * torch.rand(6, 8, dtype=torch.float64, generator=generator) - 3
    smooth = tv_denoise(Circle(), angles, 0.4, 0.2, iterations=4)
    turned = tv_denoise(Circle(), wrap_angle(angles + 2), 0.4, 0.2, iterations=4)
    assert_close(wrap_angle(turned - smooth - 2), torch.zeros_like(smooth))
    full = 2 * math.pi * torch.randint(-3, 4, angles.shape, generator=generator).double()
    assert_close(tv_denoise(Circle(), angles + full, 0.4, 0.2, iterations=4), smooth)
    assert_close(wrap_angle(tv_denoise(Circle(), -angles, 0.4, 0.2, iterations=4) + smooth), torch.zeros_like(smooth))
    g = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    q = SO3().random(3, 3, dtype=torch.float64, generator=generator)
    for space, move in ((SPD(n=3), lambda x: g @ x @ g.mT), (SO3(), lambda x: q @ x), (Sphere(), lambda x: x @ q.mT)):
        f = near(space, generator, 4, 5)
        assert_close(
            tv_denoise(space, move(f), 0.1, 0.1, iterations=2), move(tv_denoise(space, f, 0.1, 0.1, iterations=2))
        )


def test_batches_axes_and_dimensions(generator):
    f = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=generator)
    space = Euclidean(0)
    one = tv_denoise(space, f[1], 0.3, 0.2, ndim=3, iterations=10)
    assert_close(tv_denoise(space, f, 0.3, 0.2, ndim=3, iterations=10)[1], one)
    lines = tv_denoise(space, f, 0.3, 0.2, ndim=1, iterations=10)
    assert_close(lines[1, 2, 3], tv_denoise(space, f[1, 2, 3], 0.3, 0.2, ndim=1, iterations=10))
    vectors = tv_denoise(Euclidean(1), f, 0.3, 0.2, ndim=2, iterations=10)
    assert_close(tv_denoise(Power(Euclidean(1), 5), f, 0.3, 0.2, ndim=1, iterations=10).shape, vectors.shape)
    assert_close(tv_denoise(space, f, 0.0, iterations=3), f)
    single = f[:1, :1, :1, :2]
    assert tv_denoise(space, single, 0.3, 0.2, ndim=3, iterations=3).shape == single.shape


@pytest.mark.parametrize(
    "name", ["circle", pytest.param("spd-affine-invariant", marks=pytest.mark.slow), "spd-log-euclidean"]
)
def test_points_outside_the_mask_take_no_part(name, generator):
    space = SPACES[name]
    f = near(space, generator, 6, 9)
    mask = torch.ones(6, 9, dtype=torch.bool)
    mask[:, 4] = False
    spoilt = f.clone()
    spoilt[:, 4] = math.nan if name == "circle" else 0.0
    result = tv_denoise(space, spoilt, 0.1, 0.1, mask=mask, iterations=4)
    assert_close(result[:, 4], spoilt[:, 4], equal_nan=True)
    other = tv_denoise(space, f, 0.1, 0.1, mask=mask, iterations=4)
    assert_close(other[mask], result[mask])
    for part in (slice(0, 4), slice(5, 9)) if name == "circle" else ():
        # the parity of pairs counts from the first column, so only nearly the same
        alone = tv_denoise(space, f[:, part], 0.1, 0.1, iterations=30)
        joint = tv_denoise(space, spoilt, 0.1, 0.1, mask=mask, iterations=30)[:, part]
        assert space.dist(alone, joint).max() < 0.04
    nothing = tv_denoise(space, spoilt, 0.1, mask=torch.zeros_like(mask))
    assert_close(nothing, spoilt, equal_nan=True)


def test_weights(generator):
    """A point of weight 0 follows its neighbours; doubled weights are halved alpha and beta."""
    f = torch.randn(9, dtype=torch.float64, generator=generator)
    weights = torch.ones(9, dtype=torch.float64)
    weights[4] = 0
    wild = f.clone()
    wild[4] += 2
    result = tv_denoise(Euclidean(0), wild, 0.3, ndim=1, weights=weights, iterations=150)
    assert result[[3, 5]].min() - 0.05 < result[4] < result[[3, 5]].max() + 0.05
    doubled = tv_denoise(Euclidean(0), f, 0.4, 0.2, ndim=1, weights=2 * torch.ones_like(f), iterations=150)
    assert_close(doubled, tv_denoise(Euclidean(0), f, 0.2, 0.1, ndim=1, iterations=150), rtol=0, atol=2e-2)


@pytest.mark.slow
def test_float32_stays_on_the_manifold(generator):
    for space in CURVED.values():
        f = near(space, generator, 3, 4).float()
        x = tv_denoise(space, f, 0.1, 0.05, iterations=8)
        assert x.dtype == torch.float32
        assert space.check_point_on_manifold(x, atol=1e-5)
        assert_close(x.double(), tv_denoise(space, f.double(), 0.1, 0.05, iterations=8), rtol=0, atol=2e-3)


def test_refusals():
    f = torch.zeros(4, 4)
    for message, arguments in {
        "alpha, beta": {"alpha": -1.0},
        "iterations": {"alpha": 1.0, "iterations": 0},
        "ndim": {"alpha": 1.0, "ndim": 3},
        "weights: has negative": {"alpha": 1.0, "weights": -torch.ones(4, 4)},
        "weights: shape": {"alpha": 1.0, "weights": torch.ones(5)},
        "mask: shape": {"alpha": 1.0, "mask": torch.ones(3, 4, dtype=torch.bool)},
    }.items():
        with pytest.raises(InputError, match=message):
            tv_denoise(Circle(), f, **arguments)
