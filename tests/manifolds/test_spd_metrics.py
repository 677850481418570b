"""The log-Cholesky and the Bures-Wasserstein metric."""

import math
import os

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.integrate import solve_ivp

from manifoldnet import SPD
from manifoldnet.linalg.lyapunov import lyapunov
from manifoldnet.manifolds.spd_log_cholesky import from_log_cholesky, to_log_cholesky

F64 = torch.float64
CHOLESKY, BURES = SPD("log-cholesky"), SPD("bures-wasserstein")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some(count=6, n=3, seed=0):
    return SPD(n=n).random(count, n, n, dtype=F64, generator=rng(seed))


def inside(x, fraction, seed=3):
    """Tangent vectors of that part of the injectivity radius of the Bures-Wasserstein metric."""
    u = BURES.random_tangent(x, generator=rng(seed))
    return u * (fraction * BURES.injectivity_radius(x)[:, None, None] / BURES.norm(x, u, keepdim=True))


def test_bures_maps_are_those_of_geomstats():
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    spd_matrices = pytest.importorskip("geomstats.geometry.spd_matrices")
    other = spd_matrices.SPDMatrices(3, equip=False)
    other.equip_with_metric(spd_matrices.SPDBuresWassersteinMetric)
    ours, x, y = BURES, some(seed=1), some(seed=2)
    u, v = inside(x, 0.6, 3), inside(x, 0.6, 4)
    a, b, w = x.numpy(), y.numpy(), u.numpy()
    assert np.allclose(ours.inner(x, u, v), other.metric.inner_product(w, v.numpy(), a), rtol=1e-9, atol=1e-10)
    assert np.allclose(ours.expmap(x, u), other.metric.exp(w, a), rtol=1e-9, atol=1e-10)
    assert np.allclose(ours.logmap(x, y), other.metric.log(b, a), rtol=1e-8, atol=1e-8)
    assert np.allclose(ours.dist2(x, y), other.metric.squared_dist(a, b), rtol=1e-9, atol=1e-9)


def test_log_cholesky_maps_are_those_of_geomstats_on_cholesky_factors():
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    triangular = pytest.importorskip("geomstats.geometry.positive_lower_triangular_matrices")
    metric = triangular.PositiveLowerTriangularMatrices(3).metric
    x, y = some(seed=1), some(seed=2)
    a, b = np.linalg.cholesky(x.numpy()), np.linalg.cholesky(y.numpy())
    velocity = metric.log(b, a)
    u = velocity @ a.swapaxes(-1, -2)
    u = torch.tensor(u + u.swapaxes(-1, -2))
    assert np.allclose(CHOLESKY.dist2(x, y), metric.squared_dist(a, b), rtol=1e-10)
    assert np.allclose(CHOLESKY.logmap(x, y), u, rtol=1e-9, atol=1e-10)
    assert np.allclose(CHOLESKY.inner(x, u), metric.squared_norm(velocity, a), rtol=1e-9)
    half = metric.exp(0.5 * velocity, a)
    assert np.allclose(CHOLESKY.expmap(x, 0.5 * u), half @ half.swapaxes(-1, -2), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_lyapunov_solves_its_equation(n):
    m, u = some(n=n, seed=1), BURES.proju(some(n=n, seed=1), torch.randn(6, n, n, dtype=F64, generator=rng(2)))
    z = lyapunov(m, u)
    assert torch.allclose(z, z.mT)
    for k in range(6):
        wanted = scipy.linalg.solve_continuous_lyapunov(m[k].numpy(), u[k].numpy())
        assert np.allclose(z[k], wanted, rtol=1e-10, atol=1e-12)
    many = lyapunov(m.repeat(200, 1, 1), u.repeat(200, 1, 1))  # for n = 2 and 3 in closed form
    assert torch.allclose(many, z.repeat(200, 1, 1), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("count", [1, 1024])
def test_derivatives_of_lyapunov_at_repeated_eigenvalues(count):
    """By LAPACK and by the closed form of large batches."""
    for values in ((1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (2.0, 2.0 + 1e-9, 2.0)):
        m = torch.diag(torch.tensor(values, dtype=F64)).requires_grad_()
        u = torch.randn(3, 3, dtype=F64, generator=rng(5)).requires_grad_()

        def f(m, u):
            z = lyapunov(m.expand(count, 3, 3), u)
            return z.mean(0) + m**3 + u**3

        assert torch.autograd.gradcheck(f, (m, u), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, (m, u))
    a, b = some(4, seed=6), some(4, seed=7)
    direction = some(4, seed=8)
    _, moved = torch.func.jvp(lambda m: lyapunov(m, b), (a,), (direction,))
    e = 1e-6
    difference = (lyapunov(a + e * direction, b) - lyapunov(a - e * direction, b)) / (2 * e)
    assert torch.allclose(moved, difference, rtol=1e-6, atol=1e-6)
    assert torch.allclose(torch.vmap(lyapunov)(a, b), lyapunov(a, b), atol=1e-14)


def test_log_cholesky_is_euclidean_in_its_coordinates():
    """Lin (2019): with L = chol(x), strictly lower parts and logarithms of the diagonal."""
    x, y = some(n=4, seed=1), some(n=4, seed=2)

    def coordinates(m):
        factor = scipy.linalg.cholesky(m.numpy(), lower=True)
        return np.concatenate([factor[np.tril_indices(4, -1)], np.log(np.diag(factor))])

    a, b = (np.array([coordinates(m) for m in p]) for p in (x, y))
    assert np.allclose(CHOLESKY.dist(x, y), np.linalg.norm(a - b, axis=1), rtol=1e-11)
    middle = CHOLESKY.geodesic(x, y, 0.3)
    assert np.allclose(np.array([coordinates(m) for m in middle]), 0.7 * a + 0.3 * b, atol=1e-11)
    mean = CHOLESKY.frechet_mean(x, torch.tensor([1.0, 2, 3, 4, 5, 6], dtype=F64))
    assert np.allclose(coordinates(mean), np.average(a, axis=0, weights=[1, 2, 3, 4, 5, 6]), atol=1e-11)
    # the determinant of a mean is the geometric mean of the determinants: no swelling
    logs = torch.logdet(torch.stack([x, y])).mean(0)
    assert torch.allclose(torch.logdet(CHOLESKY.frechet_mean(torch.stack([x, y], 1))), logs, atol=1e-11)


def test_log_cholesky_coordinates_and_their_errors():
    x = torch.tensor([[4.0, 2.0], [2.0, 2.0]], dtype=F64)
    v = to_log_cholesky(x)
    assert torch.allclose(v, torch.tensor([math.log(2), 1.0, 0.0], dtype=F64))
    assert torch.allclose(from_log_cholesky(v), x)
    assert torch.allclose(from_log_cholesky(torch.zeros(6)), torch.eye(3))
    with pytest.raises(ValueError, match="v: the last dimension"):
        from_log_cholesky(torch.zeros(4))
    assert CHOLESKY.dist2(-x, x).isnan()
    assert CHOLESKY.curvature_bounds() == (0.0, 0.0)
    assert CHOLESKY.injectivity_radius() == math.inf


def test_log_cholesky_action_is_simply_transitive():
    space, x, y = SPD("log-cholesky", n=3), some(seed=1), some(seed=2)
    v = to_log_cholesky(y) - to_log_cholesky(x)
    assert torch.allclose(space.action.act(v, x), y, rtol=1e-11, atol=1e-11)
    assert torch.allclose(space.lift(x, space.logmap(x, y)), v, rtol=1e-10, atol=1e-11)
    assert space.action.is_isometric


def test_bures_distance_is_that_of_optimal_transport():
    """tr x + tr y - 2 tr (x^1/2 y x^1/2)^1/2 (Bhatia, Jain and Lim 2019)."""
    for n in (1, 2, 3, 5):
        x, y = some(n=n, seed=1), some(n=n, seed=2)
        for k in range(6):
            root = np.real(scipy.linalg.sqrtm(x[k].numpy()))
            cross = np.trace(np.real(scipy.linalg.sqrtm(root @ y[k].numpy() @ root)))
            wanted = np.trace(x[k]) + np.trace(y[k]) - 2 * cross
            assert BURES.dist2(x, y)[k].item() == pytest.approx(wanted, rel=1e-9)
    x, y = (torch.diag_embed(torch.rand(4, 3, dtype=F64, generator=rng(seed))) for seed in (1, 2))
    assert torch.allclose(BURES.dist(x, y), torch.linalg.matrix_norm(x.sqrt() - y.sqrt()), rtol=1e-12)


def test_bures_is_the_quotient_of_the_frobenius_metric():
    """Over m -> m m' no two matrices are closer than the distance, and the lift of a geodesic attains it."""
    x, y = some(seed=1), some(seed=2)
    a, b = torch.linalg.cholesky(x), torch.linalg.cholesky(y)
    turns = torch.linalg.qr(torch.randn(500, 6, 3, 3, dtype=F64, generator=rng(9)))[0]
    assert (torch.linalg.matrix_norm(a - b @ turns) >= BURES.dist(x, y)).all()
    left, _, right = torch.linalg.svd(b.mT @ a)
    assert torch.allclose(torch.linalg.matrix_norm(a - b @ left @ right), BURES.dist(x, y), rtol=1e-11)


def test_bures_keeps_small_distances_and_units():
    x = some(seed=1)
    u = inside(x, 1e-7)
    y = BURES.expmap(x, u)
    assert (BURES.dist(x, y) / BURES.norm(x, u) - 1).abs().max() < 1e-6
    assert torch.allclose(BURES.dist(1e-12 * x, 1e-12 * some(seed=2)), 1e-6 * BURES.dist(x, some(seed=2)), rtol=1e-12)
    assert (BURES.dist(x, x) == 0).all()


def test_bures_in_single_precision_has_its_digits_near_singular_matrices():
    """The error of the inputs' rounding left aside: double precision gets the same numbers."""
    x = some(200, seed=1).float()
    y = BURES.expmap(x, inside(x, 0.8))
    log, wanted = BURES.logmap(x, y), BURES.logmap(x.double(), y.double())
    error = torch.linalg.matrix_norm(log - wanted) / torch.linalg.matrix_norm(wanted)
    assert error.max() < 2e-5
    assert error.median() < 2e-7


def horizontal_field(x, y, v):
    """The parallel field by scipy: z' = m k with m'z symmetric, all linear algebra in numpy."""
    root = np.real(scipy.linalg.sqrtm(x))
    inverse = np.linalg.inv(root)
    velocity = (inverse @ np.real(scipy.linalg.sqrtm(root @ y @ root)) @ inverse - np.eye(len(x))) @ root

    def right_hand_side(t, z):
        z, m = z.reshape(x.shape), root + t * velocity
        k = scipy.linalg.solve_continuous_lyapunov(m.T @ m, -(velocity.T @ z - z.T @ velocity))
        return (m @ k).ravel()

    start = scipy.linalg.solve_continuous_lyapunov(x, v) @ root
    z = solve_ivp(right_hand_side, (0, 1), start.ravel(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    end = z.reshape(x.shape) @ (root + velocity).T
    return end + end.T


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bures_transport_solves_the_equation_of_parallel_fields(n):
    x, v = some(n=n, seed=1), inside(some(n=n, seed=1), 1.0, 5)
    for y in (BURES.expmap(x, inside(x, 0.3)), BURES.expmap(x, inside(x, 0.95)), some(n=n, seed=2)):
        moved = BURES.transp(x, y, v)
        for k in range(6):
            wanted = horizontal_field(x[k].numpy(), y[k].numpy(), v[k].numpy())
            assert np.allclose(moved[k], wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_bures_transport_agrees_with_schilds_ladder():
    """To second order in the step, with maps of this metric only: a check that the connection is Levi-Civita's."""
    x = some(seed=1)
    y, v = BURES.expmap(x, inside(x, 0.5)), inside(x, 0.3, 5)
    errors = []
    for steps in (8, 16):
        point, vector = x, v / steps
        for k in range(steps):
            after = BURES.geodesic(x, y, (k + 1) / steps)
            middle = BURES.geodesic(BURES.expmap(point, vector), after, 0.5)
            vector = BURES.logmap(after, BURES.expmap(point, 2 * BURES.logmap(point, middle)))
            point = after
        errors.append((steps * vector - BURES.transp(x, y, v)).abs().max().item())
    assert errors[1] < 0.6 * errors[0] < 1e-2


def test_bures_radius_is_where_geodesics_become_singular():
    """In the direction of the smallest eigenvector the radius is attained; nowhere is it exceeded."""
    x = some(seed=1)
    radius = BURES.injectivity_radius(x)
    values, vectors = torch.linalg.eigh(x)
    w = vectors[..., :1]
    u = -2 * values[:, :1, None] * (w @ w.mT)  # x g + g x for g = -w w'
    assert torch.allclose(BURES.norm(x, u), radius, rtol=1e-10)
    assert torch.linalg.eigvalsh(BURES.expmap(x, u))[:, 0].abs().max() < 1e-12
    for seed in range(20):
        u = inside(x, 1.0, seed)
        assert torch.linalg.eigvalsh(lyapunov(x, u)).min() > -1 - 1e-12
    assert BURES.injectivity_radius() == 0.0
    assert BURES.curvature_bounds() == (0.0, math.inf)
    assert SPD("bures-wasserstein", n=1).curvature_bounds() == (0.0, 0.0)


def test_bures_retraction_is_of_third_order_and_positive():
    x = some(seed=1)
    u = inside(x, 0.8)
    errors = [BURES.dist(BURES.retr(x, h * u), BURES.expmap(x, h * u)).max().item() for h in (0.2, 0.1)]
    assert 3.5 < math.log2(errors[0] / errors[1]) < 4.5
    for length in (1.0, 3.0, 100.0):
        far = BURES.retr(x, -length * u / u.norm(dim=(-2, -1), keepdim=True))
        assert (torch.linalg.eigvalsh(far) > 0).all()


def test_bures_action_and_gradient():
    space, x = SPD("bures-wasserstein", n=3), some(seed=1)
    u, v = inside(x, 0.6, 3), inside(x, 0.6, 4)
    generator = space.lift(x, u).unflatten(-1, (3, 3))
    assert torch.allclose(generator, generator.mT, atol=1e-12)
    assert torch.allclose(generator @ x + x @ generator, u, atol=1e-12)
    assert not space.action.is_isometric
    turn = torch.linalg.qr(torch.randn(6, 3, 3, dtype=F64, generator=rng(7)))[0]
    y = some(seed=2)
    moved = space.dist(space.action.act(turn, x), space.action.act(turn, y))
    assert torch.allclose(moved, space.dist(x, y), rtol=1e-9)
    g = torch.randn(6, 3, 3, dtype=F64, generator=rng(8))
    wanted = (0.5 * (g + g.mT) * v).sum((-1, -2))
    assert torch.allclose(space.inner(x, space.egrad2rgrad(x, g), v), wanted, atol=1e-12)


def test_bures_mean_is_the_barycentre():
    """Its fixed-point equation m = sum_i w_i (m^1/2 x_i m^1/2)^1/2 (Agueh and Carlier 2011)."""
    x = some(seed=1)
    w = torch.tensor([1.0, 2, 3, 1, 2, 3], dtype=F64) / 12
    mean = BURES.frechet_mean(x, w)
    root = np.real(scipy.linalg.sqrtm(mean.numpy()))
    image = sum(c * np.real(scipy.linalg.sqrtm(root @ m.numpy() @ root)) for c, m in zip(w.tolist(), x, strict=True))
    assert np.allclose(image, mean, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("space", [CHOLESKY, BURES], ids=["log-cholesky", "bures-wasserstein"])
def test_random_tangent_vectors_are_isotropic(space):
    """|u|^2 is chi-squared with n(n+1)/2 degrees of freedom, at a point far from the identity."""
    from scipy import stats

    x = some(1, seed=4).expand(4000, 3, 3)
    u = space.random_tangent(x, generator=rng(5))
    assert stats.kstest(space.inner(x, u).numpy(), stats.chi2(6).cdf).pvalue > 1e-3
