"""The Riemannian Gaussian against its density integrated numerically, and volume densities against differences."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from scipy.special import gammainc

from manifoldnet import SO3, SPD, Circle, Euclidean, Power, Product
from manifoldnet.manifolds import SE3, SPACES, Hyperbolic, Sphere
from manifoldnet.manifolds.volume import log_sinc, log_sinhc

F64 = torch.float64
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
COUNT = 4000


def rng(seed):
    return torch.Generator().manual_seed(seed)


def with_a_tangent(space, seed=0):
    x = space.random(3, *space.point_shape, dtype=F64, generator=rng(seed))
    u = space.random_tangent(x, generator=rng(seed + 1))
    reach = torch.as_tensor(space.injectivity_radius(x), dtype=F64).clamp(max=3.0).expand(3)
    return x, 0.4 * reach[(...,) + (None,) * space.ndim] * u / space.norm(x, u, keepdim=True)


def gram(space, x, vectors):
    rows = [[space.inner(x, a, b) for b in vectors.unbind(1)] for a in vectors.unbind(1)]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@every_space
def test_volume_density_matches_differences(space):
    x, u = with_a_tangent(space)
    axis, h = -(space.ndim + 1), 1e-5
    basis, start, velocity = space.orthonormal_basis(x), x.unsqueeze(axis), u.unsqueeze(axis)
    ends = [space.expmap(start, velocity + sign * h * basis) for sign in (1, -1)]
    determinant = torch.linalg.det(gram(space, space.expmap(x, u), (ends[0] - ends[1]) / (2 * h)))
    assert torch.allclose(space.log_volume_density(x, u), 0.5 * determinant.log(), rtol=0, atol=1e-8)


@every_space
def test_volume_density_is_1_at_0_and_bounded(space):
    x, u = with_a_tangent(space, 2)
    value = space.log_volume_density(x, u)
    assert value.shape == (3,)
    assert space.log_volume_density(x, torch.zeros_like(u)).abs().max() < 1e-10
    if space.curvature_bounds()[0] >= 0:
        assert (value < 1e-12).all()
    elif not isinstance(space, Power | Product):
        count, rate = space._volume_bound()
        assert (value <= count * log_sinhc(rate * space.inner(x, u)) + 1e-12).all()


def test_scalar_functions():
    a = torch.tensor([0.0, 1e-9, 1e-3, 0.49, 0.51, 2.0, 3.0], dtype=F64)
    for ours, theirs in ((log_sinhc, mpmath.sinh), (log_sinc, mpmath.sin)):
        with mpmath.workdps(40):
            wanted = [float(mpmath.log(theirs(x) / x)) if x else 0.0 for x in map(mpmath.mpf, a.tolist())]
        assert torch.allclose(ours(a.square()), torch.tensor(wanted, dtype=F64), rtol=2e-15, atol=0)
        s = torch.tensor([0.0, 0.1, 1.0], dtype=F64, requires_grad=True)
        assert torch.autograd.gradcheck(ours, s)
        assert torch.autograd.gradgradcheck(ours, s)
    assert torch.isfinite(log_sinhc(torch.tensor(1e6)))


def follows(sample, density, end):
    """Kolmogorov's test of a sample of a radius against a density on (0, end) that is not normalised."""
    grid = np.linspace(0, end, 20001)
    cumulative = scipy.integrate.cumulative_simpson(density(grid), x=grid, initial=0)
    cdf = np.interp(np.sort(sample), grid, cumulative / cumulative[-1])
    return scipy.stats.kstest(cdf, "uniform").pvalue


def radii(space, std, count=COUNT):
    mean = space.random(*space.point_shape, dtype=F64, generator=rng(0))
    points = space.random_normal(mean, std, size=(count,), generator=rng(1))
    return space.dist(mean, points).numpy()


@pytest.mark.parametrize("std", [0.3, 1.0, 2.5])
def test_constant_curvature(std):
    """Density of the distance: r^(d-1) J(r) exp(-r^2 / 2 std^2)."""

    def check(space, sine, end):
        def density(r):
            return sine(r) ** (space.dim - 1) * np.exp(-(r**2) / (2 * std**2))

        assert follows(radii(space, std), density, end) > 0.01, space.name

    check(Sphere(3), np.sin, math.pi)
    check(Sphere(6), np.sin, math.pi)
    check(SO3(), lambda r: np.sin(r / 2), math.pi)
    check(Circle(), lambda r: r, math.pi)
    check(Hyperbolic(3), np.sinh, 20.0)
    check(Hyperbolic(2, curvature=-4.0), lambda r: np.sinh(2 * r), 20.0)
    check(Euclidean(1, shape=(4,)), lambda r: r, 20.0)


@pytest.mark.parametrize("std", [0.4, 1.5])
def test_symmetric_positive_definite_matrices(std):
    """Density of the eigenvalues r of the logarithm: prod sinh(|r_i - r_j| / 2) exp(-|r|^2 / 2 std^2) (Said 2017)."""
    sample = radii(SPD(n=2), std)
    # trace and difference are independent: |r|^2 = t^2 + w^2, w = |r_1 - r_2| / sqrt 2
    w = np.linspace(0, 12 * std + 4, 1501)
    weight = np.sinh(w / math.sqrt(2)) * np.exp(-(w**2) / (2 * std**2))

    def cdf(radius):
        inside = gammainc(0.5, np.clip(radius**2 - w**2, 0, None) / (2 * std**2))
        return scipy.integrate.simpson(weight * inside, x=w) / scipy.integrate.simpson(weight, x=w)

    assert scipy.stats.kstest([cdf(r) for r in sample[:1500]], "uniform").pvalue > 0.01
    # n = 3: in polar coordinates of the plane of trace 0, where J depends on the angle
    angle = np.linspace(0, 2 * math.pi, 721)[None]
    gaps = [math.sqrt(2) * np.abs(np.sin(angle + k * math.pi / 3)) for k in range(3)]
    rho = w[:, None]
    product = np.prod([np.sinh(rho * gap / 2) for gap in gaps], 0)
    weight3 = scipy.integrate.simpson(product, x=angle, axis=1) * w * np.exp(-(w**2) / (2 * std**2))

    def cdf3(radius):
        inside = gammainc(0.5, np.clip(radius**2 - w**2, 0, None) / (2 * std**2))
        return scipy.integrate.simpson(weight3 * inside, x=w) / scipy.integrate.simpson(weight3, x=w)

    assert scipy.stats.kstest([cdf3(r) for r in radii(SPD(n=3), std)[:1500]], "uniform").pvalue > 0.01


def test_the_wrapped_normal_is_something_else():
    """So that the tests above can fail: vectors are normal in the tangent space, without the density J."""
    space, std = SPD(n=2), 1.5
    x = space.random(COUNT, 2, 2, dtype=F64, generator=rng(0))
    wrapped = space.norm(x, std * space.random_tangent(x, generator=rng(1))).numpy()
    exact = radii(space, std)
    assert scipy.stats.ks_2samp(wrapped, exact).pvalue < 1e-6


@pytest.mark.parametrize("name", ["so4", "se3", "grassmann", "spd-bures-wasserstein"])
def test_spaces_without_a_closed_form(name):
    """Importance weights J exp(-r^2 / 2 std^2) of uniform vectors in a ball give the mean of r^2 within it."""
    space, std, radius = SPACES[name], 0.4, 0.9
    if name == "spd-bures-wasserstein":
        std, radius = 0.2, 0.45
    mean = space.projx(torch.eye(*space.point_shape, dtype=F64))
    sample = space.dist(mean, space.random_normal(mean, std, size=(COUNT,), generator=rng(1)))
    sample = sample[sample < radius].square()
    many = mean.expand(8 * COUNT, *space.point_shape)
    u = space.random_tangent(many, generator=rng(2))
    u = u / space.norm(many, u, keepdim=True)
    r = radius * torch.rand(len(u), dtype=F64, generator=rng(3)) ** (1 / space.dim)
    density = space.log_volume_density(many, r[(...,) + (None,) * space.ndim] * u) - r.square() / (2 * std**2)
    weights = density.exp()
    wanted = (weights * r.square()).sum() / weights.sum()
    error = sample.std() / math.sqrt(len(sample))
    assert abs(sample.mean() - wanted) < 4.5 * error


def test_factors_are_independent_gaussians():
    space = Product([SO3(), Power(Circle(), 2), SPD(n=2)])
    mean = space.random(*space.point_shape, dtype=F64, generator=rng(0))
    points = space.random_normal(mean, 1.0, size=(COUNT,), generator=rng(1))
    rotation, angles, _ = space.split(points)
    about = space.split(mean)
    radius = SO3().dist(about[0], rotation).numpy()
    assert follows(radius, lambda r: np.sin(r / 2) ** 2 * np.exp(-(r**2) / 2), math.pi) > 0.01
    arcs = Circle().logmap(about[1], angles).numpy()
    truncated = scipy.stats.truncnorm(-math.pi, math.pi)
    assert scipy.stats.kstest(arcs[:, 0], truncated.cdf).pvalue > 0.01
    assert abs(np.corrcoef(arcs.T)[0, 1]) < 0.05


def test_directions_are_isotropic():
    for space in (Sphere(3), SO3(), SPD(n=2), Hyperbolic(2), SPD("log-euclidean", n=2), SE3()):
        mean = space.random(*space.point_shape, dtype=F64, generator=rng(0))
        u = space.logmap(mean, space.random_normal(mean, 0.7, size=(COUNT,), generator=rng(1)))
        components = torch.stack([space.inner(mean, u, e) for e in space.orthonormal_basis(mean)], -1)
        standard = components.mean(0) / (components.std(0) / math.sqrt(COUNT))
        assert standard.abs().max() < 4.0, space.name
        assert torch.corrcoef(components.T).fill_diagonal_(0).abs().max() < 4 / math.sqrt(COUNT), space.name


@every_space
def test_random_tangents_are_standard_normal_in_the_metric(space):
    x = space.random(*space.point_shape, dtype=F64, generator=rng(0))
    u = space.random_tangent(x.expand(COUNT, *x.shape), generator=rng(1))
    components = torch.stack([space.inner(x, u, e) for e in space.orthonormal_basis(x)], -1)
    assert components.shape == (COUNT, space.dim)
    for k in range(space.dim):
        assert scipy.stats.kstest(components[:, k].numpy(), "norm").pvalue > 1e-4
    assert torch.corrcoef(components.T).reshape(space.dim, -1).fill_diagonal_(0).abs().max() < 5 / math.sqrt(COUNT)


@every_space
def test_shapes_seeds_and_dtypes(space):
    if space is SPACES.get("stiefel"):
        pytest.skip("its logarithm, which finds the cut locus, is an iteration")
    for dtype in (torch.float32, F64):
        mean = space.random(2, *space.point_shape, dtype=dtype, generator=rng(0))
        std = torch.tensor([0.05, 0.2], dtype=dtype)
        before = torch.get_rng_state()
        points = space.random_normal(mean, std, size=(4, 5), generator=rng(1))
        assert points.shape == (4, 5, 2, *space.point_shape)
        assert points.dtype == dtype
        assert space.check_point_on_manifold(points, explain=True) == (True, None)
        assert torch.equal(points, space.random_normal(mean, std, size=(4, 5), generator=rng(1)))
        assert torch.equal(before, torch.get_rng_state())
        distance = space.dist(mean, points).mean((0, 1))
        assert distance[0] < distance[1]


def test_errors():
    space = SPD(n=3)
    mean = torch.eye(3)
    for std in (0.0, -1.0, math.nan, math.inf, torch.tensor([1.0, -1.0])):
        with pytest.raises(ValueError, match="std"):
            space.random_normal(mean, std)
    with pytest.raises(ValueError, match=r"std.*smaller"):
        SPD(n=8).random_normal(torch.eye(8), 20.0, generator=rng(0))
    with pytest.raises(ValueError, match="n="):
        SPD().random_normal(mean)
