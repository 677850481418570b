import math
import os

import mpmath
import numpy as np
import pytest
import torch

import manifoldnet as mn
from manifoldnet import Sphere

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some(count=6, n=3, seed=0, dtype=F64):
    return Sphere(n).random(count, n, dtype=dtype, generator=rng(seed))


def exact_angle(x, y):
    """At 60 digits between the vectors that the tensors hold, normalised."""
    with mpmath.workdps(60):
        a, b = mpmath.matrix(x.tolist()), mpmath.matrix(y.tolist())
        a, b = a / mpmath.norm(a), b / mpmath.norm(b)
        return float(2 * mpmath.atan2(mpmath.norm(a - b), mpmath.norm(a + b)))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_maps_are_those_of_geomstats(n):
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    hypersphere = pytest.importorskip("geomstats.geometry.hypersphere").Hypersphere(n - 1)
    x, y, space = some(n=n, seed=1), some(n=n, seed=2), Sphere(n)
    a, b = x.numpy(), y.numpy()
    u = space.proju(x, torch.randn(6, n, dtype=F64, generator=rng(3)))
    assert np.allclose(space.dist(x, y), hypersphere.metric.dist(a, b), atol=1e-12, rtol=1e-12)
    assert np.allclose(space.logmap(x, y), hypersphere.metric.log(b, a), atol=1e-11, rtol=1e-11)
    assert np.allclose(space.expmap(x, u), hypersphere.metric.exp(u.numpy(), a), atol=1e-12, rtol=1e-12)
    theirs = hypersphere.metric.parallel_transport(u.numpy(), a, end_point=b)
    assert np.allclose(space.transp(x, y, u), theirs, atol=1e-11, rtol=1e-11)


ANGLES = [1e-300, 1e-30, 1e-12, 1e-8, 1e-4, 0.28, 0.29, 1.0, 2.0, math.pi - 1e-2, math.pi - 1e-6, math.pi - 1e-12]


@pytest.mark.parametrize("angle", ANGLES)
def test_distance_and_logarithm_are_exact_at_every_angle(angle):
    space, x = Sphere(), torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    direction = torch.tensor([0.0, 0.6, 0.8], dtype=F64)
    y = math.cos(angle) * x + math.sin(angle) * direction
    wanted = exact_angle(x, y)
    if angle > 1e-150:  # its square is a number
        assert space.dist(x, y).item() == pytest.approx(wanted, rel=4e-16, abs=0)
        assert torch.allclose(space.logmap(x, y), wanted * direction, rtol=1e-15, atol=0)
    z = some(1, seed=4)[0]
    if angle > 1e-8:  # else the rounding of the entries of y decides
        assert space.dist(z, y).item() == pytest.approx(exact_angle(z, y), rel=1e-15)


def exact_logarithm(x, y):
    """At 60 digits between the vectors that the tensors hold, normalised."""
    with mpmath.workdps(60):
        a, b = mpmath.matrix(x.tolist()), mpmath.matrix(y.tolist())
        a, b = a / mpmath.norm(a), b / mpmath.norm(b)
        across = b - (a.T * b)[0] * a
        scale = 2 * mpmath.atan2(mpmath.norm(a - b), mpmath.norm(a + b)) / mpmath.norm(across)
        return torch.tensor([float(scale * c) for c in across], dtype=F64)


@pytest.mark.parametrize("length", [1e-7, 1e-3, 2.0, math.pi - 1e-3, math.pi - 1e-7])
def test_logarithm_keeps_its_relative_precision_in_every_direction(length):
    space, x = Sphere(5), some(n=5, seed=1)
    u = space.proju(x, torch.randn(6, 5, dtype=F64, generator=rng(2)))
    y = space.expmap(x, length * u / space.norm(x, u, keepdim=True))
    wanted = torch.stack([exact_logarithm(a, b) for a, b in zip(x, y, strict=True)])
    assert ((space.logmap(x, y) - wanted).norm(dim=-1) < 1e-14 * wanted.norm(dim=-1)).all()


def test_single_precision_keeps_small_and_large_angles():
    space, x = Sphere(), some(50, dtype=torch.float32)
    u = space.proju(x, torch.randn(50, 3, generator=rng(1)))
    u = u / space.norm(x, u, keepdim=True)
    for length in (1e-3, 1.0, 3.0, math.pi - 1e-3):
        y = space.expmap(x, length * u)
        wanted = torch.tensor([exact_angle(a, b) for a, b in zip(x, y, strict=True)])
        assert ((space.dist(x, y) - wanted).abs() < 4e-7).all()
        assert ((space.dist(x, y) / wanted - 1).abs() < 5e-7).all()


def test_at_the_antipode_one_geodesic_is_chosen():
    space = Sphere(4)
    x = torch.cat([torch.eye(4, dtype=F64), -torch.eye(4, dtype=F64), some(5, n=4)])
    for y in (-x, space.projx(-x * (1 + 1e-16))):
        u = space.logmap(x, y)
        assert torch.allclose(space.norm(x, u), torch.full((13,), math.pi, dtype=F64), rtol=1e-15)
        assert torch.allclose(space.proju(x, u), u, atol=1e-15)
        assert torch.allclose(space.expmap(x, u), y, atol=1e-15)
        assert torch.allclose(space.logmap(y, x), u, atol=1e-14)  # the direction does not depend on the sign of x
        assert torch.allclose(space.transp(x, y, u), -space.logmap(y, x), atol=1e-15)
    u = space.logmap(torch.eye(4, dtype=F64)[0], -torch.eye(4, dtype=F64)[0])
    assert torch.equal(u, math.pi * torch.eye(4, dtype=F64)[1])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_are_finite_at_the_antipode(dtype):
    space, x = Sphere(), some(5, dtype=dtype).requires_grad_()
    y = (-x.detach()).requires_grad_()
    for value in (space.dist(x, y), space.dist2(x, y), space.logmap(x, y), space.transp(x, y, x.detach().roll(1, -1))):
        for gradient in torch.autograd.grad(value.square().sum(), (x, y), allow_unused=True):
            if gradient is not None:
                assert gradient.isfinite().all()
                assert gradient.abs().max() < 1e3


def test_gradient_of_the_squared_distance_near_the_antipode_is_the_logarithm():
    space, x = Sphere(), some(8)
    u = space.proju(x, torch.randn(8, 3, dtype=F64, generator=rng(5)))
    for gap in (1e-2, 1e-5, 1e-8):
        y = space.expmap(x, (math.pi - gap) * u / space.norm(x, u, keepdim=True)).requires_grad_()
        (gradient,) = torch.autograd.grad(space.dist2(x, y).sum(), y)
        wanted = -2 * space.logmap(y.detach(), x)
        assert torch.allclose(space.egrad2rgrad(y.detach(), gradient), wanted, atol=1e-6)


def test_projection_of_zero_tiny_and_huge_vectors():
    space = Sphere()
    x = torch.tensor([[0.0, 0, 0], [0, 1e-30, 0], [3e30, 0, 4e30], [0, 0, -2]], requires_grad=True)
    y = space.projx(x)
    wanted = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [0, 0, -1]])
    assert torch.allclose(y, wanted)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient[0].isfinite().all()
    assert gradient[3].tolist() == [0.5, 0.5, 0.0]
    assert space.projx(torch.full((3,), math.nan)).isnan().all()


def test_random_points_are_uniform():
    """Coordinates of S^2 are uniform on [-1, 1] (Archimedes); second moments of S^4 are those of the identity / 5."""
    from scipy import stats

    x = some(4000, seed=6)
    for k in range(3):
        assert stats.kstest(x[:, k].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    y = some(20000, n=5, seed=7)
    assert torch.allclose(y.T @ y / 20000, torch.eye(5, dtype=F64) / 5, atol=0.01)


def test_lift_is_the_cross_product_and_moves_along_geodesics():
    space, x, y = mn.Sphere(), some(seed=1), some(seed=2)
    u = space.logmap(x, y)
    assert torch.allclose(space.lift(x, u), torch.linalg.cross(x, u), atol=1e-15)
    for n in (2, 4, 5):
        space, x, y = Sphere(n), some(n=n, seed=1), some(n=n, seed=2)
        v = space.lift(x, space.logmap(x, y))
        for t in (0.3, 1.0):
            assert torch.allclose(space.action.act_exp(t * v, x), space.geodesic(x, y, t), atol=1e-13)


def test_transport_around_an_octant_turns_by_its_area():
    space = Sphere()
    a, b, c = torch.eye(3, dtype=F64)
    v = b
    for start, end in ((a, b), (b, c), (c, a)):
        v = space.transp(start, end, v)
    assert torch.allclose(v, c, atol=1e-15)  # a quarter turn about a, from b to c


def test_retraction_does_not_drift():
    space = Sphere()
    x = some(10, dtype=torch.float32)
    u = 0.5 * torch.randn(10, 3, generator=rng(8))
    for _ in range(10000):
        x = space.retr(x, u)
    assert (x.double().norm(dim=-1) - 1).abs().max() < 2e-7


def test_mean_is_that_of_geomstats():
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    hypersphere = pytest.importorskip("geomstats.geometry.hypersphere").Hypersphere(2)
    frechet_mean = pytest.importorskip("geomstats.learning.frechet_mean")
    space, centre = Sphere(), some(1, seed=9)
    u = space.proju(centre, 0.4 * torch.randn(7, 3, dtype=F64, generator=rng(10)))
    cloud = space.expmap(centre, u)
    mean = frechet_mean.FrechetMean(hypersphere)
    mean.optimizer.epsilon = 1e-14
    assert np.allclose(space.frechet_mean(cloud), mean.fit(cloud.numpy()).estimate_, atol=1e-7)


def test_curvature_and_size():
    assert Sphere(5).curvature_bounds() == (1.0, 1.0)
    assert Sphere(2).curvature_bounds() == (0.0, 0.0)
    assert Sphere().injectivity_radius() == math.pi
    assert Sphere(5).dim == 4
    with pytest.raises(ValueError, match="n: wanted at least 2"):
        Sphere(1)
    ok, reason = Sphere().check_point(2 * some(), explain=True)
    assert ok
    ok, reason = Sphere().check_point_on_manifold(2 * some(), explain=True)
    assert not ok
    assert "norm" in reason
    ok, reason = Sphere().check_vector_on_tangent(some(), some(), explain=True)
    assert not ok
    assert "perpendicular" in reason
