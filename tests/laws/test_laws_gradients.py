"""Gradients, vmap and compilation of the maps of every registered space."""

import pytest
import torch
from law_cases import (
    F64,
    both_precisions,
    close,
    conjugate_radius,
    coordinates,
    every_lie_group,
    every_space,
    near,
    points,
    rng,
    singular_points,
    tangents,
)
from torch.autograd import grad, gradcheck, gradgradcheck


def finite_gradients(value, *leaves, regular=slice(None)):
    """Where ``regular``, a gradient of 1e4 at a point of size 3 is one that has begun to blow up."""
    if not value.requires_grad:  # transport on flat spaces depends on neither point
        return
    weights = torch.rand(value.shape, dtype=value.dtype, generator=rng(30)) + 0.5
    for gradient in grad((weights * value).sum(), leaves):
        assert gradient.isfinite().all()
        assert (gradient[regular].abs() < 1e4).all()


@every_space
@both_precisions
def test_gradients_are_finite_at_singular_pairs(space, dtype):
    """All pairs of: identity, repeated eigenvalues and eigenvalues 1e-12 ... 1e-4 apart, angles 0 ... pi."""
    singular = singular_points(space, dtype)
    count = len(singular)
    x = singular.repeat_interleave(count, 0).requires_grad_()
    y = singular.repeat(count, *[1] * space.ndim).requires_grad_()
    finite_gradients(space.dist(x, y), x, y)
    finite_gradients(space.dist2(x, y), x, y)
    # the logarithm's derivative has no bound at a conjugate point, such as the antipode on a sphere
    regular = space.dist(x, y).detach() < conjugate_radius(space) - 0.02
    finite_gradients(space.logmap(x, y), x, y, regular=regular)
    finite_gradients(space.geodesic(x, y, 0.5), x, y, regular=regular)
    u = tangents(space, x.detach(), 1.0)
    finite_gradients(space.transp(x, y, u), x, y, regular=regular)


@every_space
@both_precisions
def test_gradients_are_finite_at_zero_vectors(space, dtype):
    x = singular_points(space, dtype).requires_grad_()
    u = torch.zeros_like(x).requires_grad_()
    finite_gradients(space.expmap(x, u), x, u)
    finite_gradients(space.retr(x, u), x, u)
    finite_gradients(space.norm(x, u), u)
    v = torch.zeros(len(x), space.action.group.dim, dtype=dtype).requires_grad_()
    finite_gradients(space.action.act_exp(v, x), x, v)
    lifted = space.lift(x, space.proju(x, u))
    finite_gradients(lifted, u)


@every_space
def test_distance_to_itself_has_a_subgradient(space):
    """The squared distance has gradient 0 there; the distance has one of norm at most 1."""
    x = points(space, 4)
    y = x.clone().requires_grad_()
    (gradient,) = grad(space.dist2(x, y).sum(), y)
    close(gradient, torch.zeros_like(y), 1e-11)
    (gradient,) = grad(space.dist(x, y).sum(), y)
    assert (space.norm(x, space.egrad2rgrad(x, gradient)) < 1 + 1e-6).all()


@every_space
def test_gradient_of_squared_distance_is_minus_twice_the_logarithm(space):
    x = points(space, 8)
    y = near(space, x, 2.0).requires_grad_()
    (egrad,) = grad(space.dist2(x, y).sum(), y)
    close(space.egrad2rgrad(y.detach(), egrad), -2 * space.logmap(y.detach(), x), 1e-9)


@every_space
@both_precisions
def test_small_distances_keep_their_gradient(space, dtype):
    """Near x the gradient of dist has norm 1, however close: clamps and cut-offs would show."""
    x = points(space, 8, dtype=dtype)
    for length in (1e-1, 1e-2) if dtype is torch.float32 else (1e-1, 1e-3, 1e-5):
        y = near(space, x, length).requires_grad_()
        (egrad,) = grad(space.dist(x, y).sum(), y)
        norm = space.norm(y.detach(), space.egrad2rgrad(y.detach(), egrad))
        assert (norm - 1).abs().max() < (3e-2 if dtype is torch.float32 else 1e-7)


def flat(space, x, u):
    """A curve-like chart around x, so that finite differences stay on the space."""
    return space.expmap(x, space.proju(x, u))


def check_derivatives(f, *inputs):
    """First and second derivatives of f; torch refuses functions that are linear, hence the cubic term."""

    def nonlinear(*inputs):
        return f(*inputs) + sum((v**3).sum() for v in inputs)

    assert gradcheck(nonlinear, inputs, fast_mode=True)
    assert gradgradcheck(nonlinear, inputs, fast_mode=True)


@every_space
def test_first_and_second_derivatives_match_differences(space):
    x, y = points(space), near(space, points(space), 1.0)
    w = tangents(space, x, 0.7, seed=31)
    u = (0.3 * torch.randn(x.shape, dtype=F64, generator=rng(32))).requires_grad_()

    def moved(u):
        return flat(space, x, u)

    for f in (
        moved,
        lambda u: space.dist(moved(u), y),
        lambda u: space.dist2(y, moved(u)),
        lambda u: space.logmap(moved(u), y),
        lambda u: space.logmap(y, moved(u)),
        lambda u: space.expmap(moved(u), space.proju(moved(u), w)),
        lambda u: space.retr(moved(u), space.proju(moved(u), w)),
        lambda u: space.transp(x, moved(u), w),
        lambda u: space.inner(moved(u), space.proju(moved(u), w)),
    ):
        check_derivatives(f, u)


@every_space
def test_actions_match_differences(space):
    y = points(space)
    v = coordinates(space.action.group, scale=0.5).requires_grad_()
    u = (0.3 * torch.randn(y.shape, dtype=F64, generator=rng(33))).requires_grad_()
    check_derivatives(lambda v, u: space.action.act_exp(v, flat(space, y, u)), v, u)
    check_derivatives(lambda v, u: space.action.tangent(v, flat(space, y, u)), v, u)
    check_derivatives(lambda u: space.lift(flat(space, y, u), space.proju(flat(space, y, u), u)), u)


@every_lie_group
def test_group_maps_match_differences(group):
    u = coordinates(group, scale=0.7, seed=1).requires_grad_()
    v = coordinates(group, scale=0.7, seed=2).requires_grad_()
    for f in (
        lambda u, v: group.log(group.compose(group.exp(u), group.exp(v))),
        group.dexp,
        group.dexpinv,
        group.bracket,
        lambda u, v: group.coAd(group.exp(u), v),
        group.coad,
        lambda u, v: group.left_jacobian(u) * v,
        lambda u, v: group.right_jacobian_inverse(u) * v,
    ):
        check_derivatives(f, u, v)


@every_space
def test_second_derivative_of_squared_distance_at_itself_is_the_metric(space):
    """Hess (dist^2 / 2) = metric at x = y, which is where eigenvalues repeat."""
    x = singular_points(space, F64)[0]
    w = tangents(space, x, 0.5)

    def half_squared(a):
        return 0.5 * space.dist2(x, flat(space, x, a * w))

    a = torch.zeros((), dtype=F64, requires_grad=True)
    (first,) = grad(half_squared(a), a, create_graph=True)
    (second,) = grad(first, a)
    assert abs(first.item()) < 1e-7
    assert abs(second.item() - 0.25) < 1e-7


@every_space
def test_vmap_gives_the_batched_values(space):
    x = points(space, 5)
    y = near(space, x, 1.0)
    u = tangents(space, x, 1.0)
    close(torch.vmap(space.expmap)(x, u), space.expmap(x, u), 1e-12)
    close(torch.vmap(space.logmap)(x, y), space.logmap(x, y), 1e-12)
    close(torch.vmap(space.dist)(x, y), space.dist(x, y), 1e-12)
    close(torch.vmap(space.transp)(x, y, u), space.transp(x, y, u), 1e-12)
    close(torch.vmap(space.logmap, (None, 0))(x[0], y), space.logmap(x[0], y), 1e-12)
    v = coordinates(space.action.group, 5, scale=0.5)
    close(torch.vmap(space.action.act_exp)(v, x), space.action.act_exp(v, x), 1e-12)


@every_space
def test_vmap_of_a_gradient_gives_the_batched_gradient(space):
    x = points(space, 5)
    y = near(space, x, 1.0)
    leaf = y.clone().requires_grad_()
    (wanted,) = grad(space.dist2(x, leaf).sum(), leaf)
    close(torch.vmap(torch.func.grad(space.dist2, argnums=1))(x, y), wanted, 1e-11)
    leaf = y.clone().requires_grad_()
    (wanted,) = grad(space.logmap(x, leaf).sum(), leaf)
    close(torch.vmap(torch.func.grad(lambda p, q: space.logmap(p, q).sum(), argnums=1))(x, y), wanted, 1e-11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_space
def test_cuda_gives_the_values_of_the_cpu(space):
    x = points(space, 5)
    y = near(space, x, 1.0)
    u = tangents(space, x, 1.0)
    gx, gy, gu = x.cuda(), y.cuda(), u.cuda()
    for name, arguments, moved in (
        ("expmap", (x, u), (gx, gu)),
        ("logmap", (x, y), (gx, gy)),
        ("dist", (x, y), (gx, gy)),
        ("transp", (x, y, u), (gx, gy, gu)),
        ("projx", (x,), (gx,)),
        ("retr", (x, u), (gx, gu)),
    ):
        value = getattr(space, name)(*moved)
        assert value.is_cuda
        close(value.cpu(), getattr(space, name)(*arguments), 1e-10)
    generator = torch.Generator("cuda").manual_seed(0)
    assert space.random(2, *space.point_shape, device="cuda", generator=generator).is_cuda
