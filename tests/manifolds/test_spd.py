import numpy as np
import pytest
import scipy.linalg
import torch

from manifoldnet import SPD
from manifoldnet.linalg import sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.manifolds import GeneralLinear

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some(count=6, n=3, seed=0):
    return SPD(n=n).random(count, n, n, dtype=F64, generator=rng(seed))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_affine_invariant_distance_is_that_of_generalised_eigenvalues(n):
    x, y = some(n=n, seed=1), some(n=n, seed=2)
    distance = SPD().dist(x, y)
    for k in range(6):
        values = scipy.linalg.eigh(y[k].numpy(), x[k].numpy(), eigvals_only=True)
        assert distance[k].item() == pytest.approx(np.sqrt((np.log(values) ** 2).sum()), rel=1e-11)


def test_affine_invariant_maps_are_the_textbook_formulas():
    """exp_X U = X^1/2 exp(X^-1/2 U X^-1/2) X^1/2 and so on (Pennec, Fillard and Ayache 2006)."""
    space = SPD()
    x, y = some(seed=1), some(seed=2)
    u, v = torch.randn(2, 6, 3, 3, dtype=F64, generator=rng(3))
    u, v = u + u.mT, v + v.mT
    for k in range(6):
        root = np.real(scipy.linalg.sqrtm(x[k].numpy()))
        inverse = np.linalg.inv(root)
        inner = inverse @ u[k].numpy() @ inverse
        assert np.allclose(space.expmap(x, u)[k], root @ scipy.linalg.expm(inner) @ root, rtol=1e-9, atol=1e-9)
        log = root @ scipy.linalg.logm(inverse @ y[k].numpy() @ inverse) @ root
        assert np.allclose(space.logmap(x, y)[k], log, rtol=1e-9, atol=1e-11)
        one = np.linalg.inv(x[k].numpy())
        trace = np.trace(one @ u[k].numpy() @ one @ v[k].numpy())
        assert space.inner(x, u, v)[k].item() == pytest.approx(trace, rel=1e-9)
        carry = np.real(scipy.linalg.sqrtm(y[k].numpy() @ one))
        assert np.allclose(space.transp(x, y, u)[k], carry @ u[k].numpy() @ carry.T, rtol=1e-8, atol=1e-10)


def test_affine_invariant_metric_does_not_see_congruence_or_inversion():
    space = SPD()
    x, y = some(seed=1), some(seed=2)
    g = torch.randn(6, 3, 3, dtype=F64, generator=rng(3))
    distance = space.dist(x, y)
    assert torch.allclose(space.dist(g @ x @ g.mT, g @ y @ g.mT), distance, rtol=1e-9, atol=1e-9)
    assert torch.allclose(space.dist(torch.linalg.inv(x), torch.linalg.inv(y)), distance, rtol=1e-10, atol=1e-10)
    assert torch.allclose(space.dist(1e-9 * x, 1e-9 * y), distance, rtol=1e-12, atol=1e-12)


def test_affine_invariant_retraction_is_of_second_order():
    space = SPD()
    x, u = some(seed=1), torch.randn(6, 3, 3, dtype=F64, generator=rng(3))
    u = space.proju(x, u)
    u = u / space.norm(x, u, keepdim=True)
    errors = [space.dist(space.retr(x, h * u), space.expmap(x, h * u)).max().item() for h in (0.1, 0.05)]
    assert 2.8 < np.log2(errors[0] / errors[1]) < 4.2
    far = space.retr(x, -100.0 * u)
    assert (torch.linalg.eigvalsh(far) > 0).all()


def test_lift_of_congruence_moves_along_geodesics():
    space = SPD(n=3)
    x, y = some(seed=1), some(seed=2)
    v = space.lift(x, space.logmap(x, y))
    for t in (0.3, 1.0):
        assert torch.allclose(space.action.act_exp(t * v, x), space.geodesic(x, y, t), rtol=1e-9, atol=1e-11)


def test_log_euclidean_is_euclidean_in_the_logarithm():
    space = SPD("log-euclidean")
    x, y = some(seed=1), some(seed=2)
    a, b = sym_logm(x), sym_logm(y)
    assert torch.allclose(space.dist(x, y), torch.linalg.matrix_norm(a - b), rtol=1e-12, atol=1e-12)
    assert torch.allclose(sym_logm(space.geodesic(x, y, 0.3)), 0.7 * a + 0.3 * b, atol=1e-12, rtol=1e-12)
    v = torch.randn(6, 6, dtype=F64, generator=rng(4))
    moved = SPD("log-euclidean", n=3).action.act_exp(v, x)
    assert torch.allclose(sym_logm(moved), a + sym_from_vector(v), atol=1e-11, rtol=1e-11)
    u = space.logmap(x, y)
    assert torch.allclose(space.lift(x, u), sym_to_vector(b - a), atol=1e-11, rtol=1e-11)
    assert torch.allclose(
        space.frechet_mean(x), torch.tensor(scipy.linalg.expm(a.mean(0).numpy())), rtol=1e-11, atol=1e-11
    )


def test_commuting_matrices_have_the_same_distance_in_both_metrics():
    values = torch.rand(2, 4, 3, dtype=F64, generator=rng(5)) + 0.1
    x, y = torch.diag_embed(values)
    wanted = (values[0].log() - values[1].log()).norm(dim=-1)
    for metric in ("affine-invariant", "log-euclidean"):
        assert torch.allclose(SPD(metric).dist(x, y), wanted, rtol=1e-12, atol=1e-12)


def test_affine_invariant_mean_of_two_matrices_is_their_geometric_mean():
    x, y = some(2, seed=6)
    root = torch.tensor(np.real(scipy.linalg.sqrtm(x.numpy())))
    inverse = torch.linalg.inv(root)
    inner = torch.tensor(np.real(scipy.linalg.sqrtm((inverse @ y @ inverse).numpy())))
    assert SPD().dist(x, y) > 4  # far apart: a gradient step of length 1 would not converge
    assert torch.allclose(SPD().frechet_mean(torch.stack([x, y])), root @ inner @ root, rtol=1e-5, atol=1e-5)


def test_affine_invariant_mean_converges_for_points_far_apart():
    space, centre = SPD(), some(50, seed=7).unsqueeze(1)
    for distance, tolerance in ((1.5, 1e-13), (2.5, 1e-8), (4.0, 1e-5)):
        u = space.proju(centre, torch.randn(50, 6, 3, 3, dtype=F64, generator=rng(8)))
        cloud = space.expmap(centre, distance * u / space.norm(centre, u, keepdim=True))
        mean = space.frechet_mean(cloud)
        gradient = space.logmap(mean.unsqueeze(1), cloud).mean(1)
        assert space.norm(mean, gradient).max() < tolerance


def test_projection_lifts_eigenvalues_relative_to_the_largest():
    q = torch.linalg.qr(torch.randn(3, 3, dtype=F64, generator=rng(7)))[0]
    for scale in (1e-9, 1.0, 1e9):
        x = scale * (q * torch.tensor([-1.0, 1.0, 2.0], dtype=F64)) @ q.T
        values = torch.linalg.eigvalsh(SPD().projx(x)) / scale
        assert values[0] > 0
        assert values[0] < 1e-10
        assert torch.allclose(values[1:], torch.tensor([1.0, 2.0], dtype=F64), rtol=1e-12, atol=1e-12)
    assert (torch.linalg.eigvalsh(SPD().projx(torch.zeros(3, 3, dtype=F64))) > 0).all()


def test_checks_say_what_is_wrong():
    space = SPD(n=2)
    ok, reason = space.check_point_on_manifold(torch.tensor([[1.0, 0.5], [0.0, 1.0]]), explain=True)
    assert not ok
    assert "not symmetric" in reason
    ok, reason = space.check_point_on_manifold(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), explain=True)
    assert not ok
    assert "1 matrices are not positive definite" in reason
    ok, reason = space.check_vector_on_tangent(torch.eye(2), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), explain=True)
    assert not ok
    assert "not symmetric" in reason
    ok, reason = SPD().check_point(torch.zeros(4, 2, 3), explain=True)
    assert not ok
    assert "square" in reason


def test_metric_names_are_checked():
    with pytest.raises(ValueError, match=r"metric: .*'affine-invariant'.*'euclid'"):
        SPD("euclid")
    assert isinstance(SPD("log-euclidean"), SPD)


def test_size_may_stay_open_or_be_fixed():
    assert SPD().check_point(torch.eye(5))
    assert not SPD(n=3).check_point(torch.eye(5))
    assert SPD(n=3).dim == 6


def test_general_linear_group_is_scipys_exponential():
    group = GeneralLinear(3)
    u, v = torch.randn(2, 4, 9, dtype=F64, generator=rng(8))
    for k in range(4):
        value, derivative = scipy.linalg.expm_frechet(group.hat(u)[k].numpy(), group.hat(v)[k].numpy())
        assert np.allclose(group.exp(u)[k], value, rtol=1e-12, atol=1e-12)
        assert np.allclose((group.hat(group.dexp(u, v)) @ group.exp(u))[k], derivative, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="v: "):
        group.hat(torch.zeros(2, 8))
