import copy
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from geometry import constraint_error_after_momentum_steps, orthonormal_pair, rng, sectional_curvature
from torch.autograd import gradcheck, gradgradcheck
from torch.func import hessian, jacfwd, jacrev, vmap

from manifoldnet import SO, SO3

F64 = torch.float64
ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.5, math.pi - 1e-2, math.pi - 1e-4, math.pi - 1e-6, math.pi)


def generator_of(angles, n, seed=0):
    """A skew matrix that turns planes in general position by the angles."""
    a = np.zeros((n, n))
    for k, angle in enumerate(angles):
        a[2 * k + 1, 2 * k], a[2 * k, 2 * k + 1] = angle, -angle
    q = SO(n).random(n, n, dtype=F64, generator=rng(seed)).numpy()
    a = q @ a @ q.T
    return 0.5 * (a - a.T)


def test_three_dimensions_are_rotation_vectors():
    assert isinstance(SO(3), SO3)


def test_sizes_below_two_are_refused():
    with pytest.raises(ValueError, match="n: wanted a size of at least 2"):
        SO(1)
    with pytest.raises(ValueError, match=r"n\(n-1\)/2"):
        SO(4).hat(torch.zeros(5))
    with pytest.raises(ValueError, match="shape"):
        SO().identity()


def test_copies_keep_their_size():
    assert copy.deepcopy(SO(4)).point_shape == (4, 4)


def test_coordinates_are_the_entries_below_the_diagonal():
    m = SO(4).hat(torch.arange(1.0, 7.0))
    wanted = [[0, -1, -2, -4], [1, 0, -3, -5], [2, 3, 0, -6], [4, 5, 6, 0]]
    assert m.tolist() == wanted
    assert SO(4).inner(torch.eye(4), m).item() == pytest.approx(sum(k * k for k in range(1, 7)))


@pytest.mark.parametrize("n", [2, 4, 5, 7])
def test_exponential_and_logarithm_are_scipys(n):
    angles = np.linspace(0.3, 2.8, n // 2)
    a = generator_of(angles, n)
    r = scipy.linalg.expm(a)
    group = SO(n)
    assert np.allclose(group.exp(group.vee(torch.from_numpy(a))), r, atol=1e-14)
    assert np.allclose(group.hat(group.log(torch.from_numpy(r))), scipy.linalg.logm(r), atol=1e-13)
    assert group.dist(group.identity(dtype=F64), torch.from_numpy(r)).item() == pytest.approx(np.linalg.norm(angles))


@pytest.mark.parametrize("n", [2, 4, 5, 8, 9])
@pytest.mark.parametrize("angle", ANGLES)
def test_logarithm_is_exact_at_singular_angles(n, angle):
    """One plane, two planes, every plane, and one plane beside others in general position."""
    rest = np.linspace(0.2, 2.5, n // 2 - 1)
    group, zeros = SO(n), [0.0] * (n // 2)
    for angles in ([angle, *zeros[1:]], ([angle] * 2 + zeros)[: n // 2], [angle] * (n // 2), [angle, *rest]):
        a = generator_of(angles, n)
        r = torch.from_numpy(scipy.linalg.expm(a))
        v = group.log(r)
        assert np.allclose(group.exp(v), r, atol=3e-14)
        assert v.norm().item() == pytest.approx(np.linalg.norm(angles), rel=1e-14, abs=1e-15 * n)


@pytest.mark.parametrize("n", [2, 4, 5])
@pytest.mark.parametrize("angle", ANGLES)
def test_gradient_of_the_logarithm_inverts_scipys_derivative_of_the_exponential(n, angle):
    group = SO(n)
    a = generator_of([angle, *np.linspace(0.5, 1.0, n // 2 - 1)], n)
    r = torch.from_numpy(scipy.linalg.expm(a))
    v = group.hat(group.log(r)).numpy()
    jacobian = jacrev(group.log)(r)
    for k, direction in enumerate(group.hat(torch.eye(group.dim, dtype=F64))):
        moved = torch.from_numpy(scipy.linalg.expm_frechet(v, direction.numpy(), compute_expm=False))
        image = (jacobian * moved).sum((-2, -1))
        assert torch.allclose(image, torch.eye(group.dim, dtype=F64)[k], atol=1e-12)
    assert torch.allclose(jacfwd(group.log)(r), jacobian, atol=1e-13)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1.0, math.pi - 1e-4])
def test_second_derivatives_of_the_logarithm(angle):
    group = SO(4)
    r = torch.from_numpy(scipy.linalg.expm(generator_of([angle, 0.5 * angle], 4)))
    u = torch.zeros(6, dtype=F64, requires_grad=True)
    assert gradcheck(lambda u: group.log(group.exp(u) @ r), (u,))
    assert gradgradcheck(lambda u: group.log(group.exp(u) @ r), (u,))


def test_batched_hessians_are_finite_where_norms_differ():
    """torch.linalg.solve has a forward derivative of NaN under vmap, which would show here."""
    group = SO(4)
    x = group.exp(torch.tensor([[0.0] * 6, [0.3, -0.2, 0.5, 1.0, 0.1, 0.7]], dtype=F64))
    found = vmap(hessian(lambda r: group.log(r).sin().sum()))(x)
    assert found.isfinite().all()
    assert torch.allclose(found[1], hessian(lambda r: group.log(r).sin().sum())(x[1]), atol=1e-12)


def test_gradients_stay_finite_at_minus_the_identity():
    x = (-torch.eye(4, dtype=F64)).requires_grad_()
    eye = torch.eye(4, dtype=F64)
    assert SO(4).dist(eye, x).item() == pytest.approx(math.sqrt(2) * math.pi, rel=1e-15)
    for value in (SO(4).dist2(eye, x), SO(4).log(x).sum()):
        assert torch.autograd.grad(value, x)[0].isfinite().all()


def test_curvature_keeps_its_bounds_and_attains_them():
    group = SO(4)
    x = group.random(50, 4, 4, dtype=F64, generator=rng(1))
    u, v = orthonormal_pair(group, x, *(group.random_tangent(x, generator=rng(seed)) for seed in (2, 3)))
    low, high = group.curvature_bounds()
    sampled = sectional_curvature(group, x, u, v)
    assert sampled.min() > low - 1e-4
    assert sampled.max() < high + 1e-4
    # two of the quaternion units among the left-isoclinic turns
    i = group.vee(torch.tensor([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]], dtype=F64)) / math.sqrt(2)
    j = group.vee(torch.tensor([[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]], dtype=F64)) / math.sqrt(2)
    eye = group.identity(dtype=F64)
    assert sectional_curvature(group, eye, group.hat(i), group.hat(j)).item() == pytest.approx(high, abs=1e-4)
    assert SO(2).curvature_bounds() == (0.0, 0.0)


def test_projection_is_the_nearest_rotation():
    noise = torch.randn(20, 5, 5, dtype=F64, generator=rng(4))
    for a, found in zip(noise, SO(5).projx(noise), strict=True):
        u, s, vh = np.linalg.svd(a.numpy())
        s[-1] *= np.sign(np.linalg.det(u @ vh))  # the greatest tr(R'A) over rotations (Umeyama 1991)
        assert (found * a).sum().item() == pytest.approx(s.sum())
        assert torch.linalg.det(found).item() == pytest.approx(1)


def test_random_rotations_are_uniform():
    x = SO(4).random(20000, 4, 4, dtype=F64, generator=rng(5))
    trace = x.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert x.mean(0).abs().max() < 0.015
    assert trace.square().mean().item() == pytest.approx(1, abs=0.05)
    assert torch.allclose(torch.linalg.det(x), torch.ones(20000, dtype=F64))


def test_float32_momentum_does_not_drift():
    x = SO(4).random(8, 4, 4, generator=rng(6))
    assert constraint_error_after_momentum_steps(SO(4), x, 2000) < 1e-6
