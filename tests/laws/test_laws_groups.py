"""Laws of every group that acts on a registered space, and of the spaces that are groups themselves."""

import math

import pytest
import torch
from law_cases import (
    F64,
    both_precisions,
    close,
    coordinates,
    every_acting_group,
    every_lie_group,
    points,
    tangents,
)

from manifoldnet.manifolds import Group

EPS = {torch.float32: 2e-4, F64: 1e-11}


def elements(group, *batch, seed=0, dtype=F64):
    return group.exp(coordinates(group, *batch, scale=0.5, seed=seed, dtype=dtype))


@every_acting_group
@both_precisions
def test_group_axioms(group, dtype):
    x, y, z = (elements(group, 16, seed=seed, dtype=dtype) for seed in (0, 1, 2))
    one = group.exp(torch.zeros(16, group.dim, dtype=dtype))
    close(group.compose(group.compose(x, y), z), group.compose(x, group.compose(y, z)), EPS[dtype])
    close(group.compose(one, x), x, EPS[dtype])
    close(group.compose(x, one), x, EPS[dtype])
    close(group.compose(x, group.inverse(x)), one, EPS[dtype])
    close(group.compose(group.inverse(x), x), one, EPS[dtype])


@every_acting_group
def test_exp_of_multiples_is_a_subgroup(group):
    v = coordinates(group, 16, scale=0.5)
    close(group.compose(group.exp(0.3 * v), group.exp(0.7 * v)), group.exp(v), 1e-11)
    close(group.inverse(group.exp(v)), group.exp(-v), 1e-11)


@every_acting_group
def test_hat_and_vee_are_inverse_and_linear(group):
    u, v = coordinates(group, 4, seed=1), coordinates(group, 4, seed=2)
    close(group.vee(group.hat(v)), v, 1e-15)
    close(group.hat(2 * u + v), 2 * group.hat(u) + group.hat(v), 1e-14)


@every_acting_group
def test_bracket_is_a_lie_bracket(group):
    u, v, w = (coordinates(group, 16, seed=seed) for seed in (1, 2, 3))
    b = group.bracket
    close(b(u, v), -b(v, u), 1e-13)
    close(b(2 * u + w, v), 2 * b(u, v) + b(w, v), 1e-13)
    jacobi = b(u, b(v, w)) + b(v, b(w, u)) + b(w, b(u, v))
    close(jacobi, torch.zeros_like(jacobi), 1e-12)


@every_acting_group
def test_bracket_is_the_derivative_of_the_adjoint(group):
    """Its sign is that of the matrix commutator: Ad(exp(e u), v) = v + e [u, v] + O(e^2)."""
    u, v = coordinates(group, 16, seed=1), coordinates(group, 16, seed=2)
    e = 1e-5
    difference = (group.Ad(group.exp(e * u), v) - group.Ad(group.exp(-e * u), v)) / (2 * e)
    close(difference, group.bracket(u, v), 1e-8)


@every_acting_group
def test_adjoint_is_conjugation_and_the_exponential_of_ad(group):
    u, v = coordinates(group, 16, scale=0.5, seed=1), coordinates(group, 16, scale=0.5, seed=2)
    x = group.exp(u)
    conjugate = group.compose(group.compose(x, group.exp(v)), group.inverse(x))
    close(group.exp(group.Ad(x, v)), conjugate, 1e-10)
    total = term = v
    for k in range(1, 40):
        term = group.bracket(u, term) / k
        total = total + term
    close(group.Ad(x, v), total, 1e-11)


@every_acting_group
def test_dexp_is_the_differential_of_exp(group):
    """d/de exp(u + e v) = hat(dexp_u(v)) exp(u): the generator stands on the left (space frame)."""
    u, v = coordinates(group, 16, scale=0.5, seed=1), coordinates(group, 16, scale=0.5, seed=2)
    e = 1e-5
    w = group.dexp(u, v)
    wanted = group.compose(group.exp(e * w), group.exp(u)) - group.compose(group.exp(-e * w), group.exp(u))
    close((group.exp(u + e * v) - group.exp(u - e * v)) / (2 * e), wanted / (2 * e), 1e-8)


@every_acting_group
def test_body_and_space_frames_differ_by_the_adjoint(group):
    """exp(u + e v) = exp(u) exp(e dexp_{-u}(v)) + O(e^2), and Ad(exp u) carries that generator to the left."""
    u, v = coordinates(group, 16, scale=0.5, seed=1), coordinates(group, 16, scale=0.5, seed=2)
    close(group.Ad(group.exp(u), group.dexp(-u, v)), group.dexp(u, v), 1e-11)
    x = group.exp(u)
    right = group.compose(x, group.exp(v))
    close(group.compose(group.exp(group.Ad(x, v)), x), right, 1e-11)


@every_acting_group
@both_precisions
def test_dexpinv_inverts_dexp(group, dtype):
    u = coordinates(group, 16, scale=0.5, seed=1, dtype=dtype)
    v = coordinates(group, 16, seed=2, dtype=dtype)
    close(group.dexp(u, group.dexpinv(u, v)), v, EPS[dtype])
    close(group.dexpinv(u, group.dexp(u, v)), v, EPS[dtype])
    close(group.dexpinv(0 * u, v), v, EPS[dtype])


@every_acting_group
def test_dexpinv_series_starts_as_the_convention_says(group):
    u, v = coordinates(group, 16, seed=1), coordinates(group, 16, seed=2)
    first = group.bracket(u, v)
    second = group.bracket(u, first)
    fourth = group.bracket(u, group.bracket(u, second))
    close(group.dexpinv(u, v, 0), v, 1e-14)
    close(group.dexpinv(u, v, 1), v - first / 2, 1e-13)
    close(group.dexpinv(u, v, 2), v - first / 2 + second / 12, 1e-13)
    close(group.dexpinv(u, v, 4), v - first / 2 + second / 12 - fourth / 720, 1e-13)


@every_acting_group
def test_dexpinv_series_converges_with_its_order(group):
    """The first bracket left out decides: after q brackets the error is of order q + 1 in |u|."""
    u, v = coordinates(group, 16, seed=1), coordinates(group, 16, seed=2)
    for order in range(6):
        errors = [(group.dexpinv(h * u, v, order) - group.dexpinv(h * u, v)).abs().max().item() for h in (0.2, 0.1)]
        if errors[1] > 1e-12:  # commutative groups have no error
            left_out = order + 1 if order + 1 in (1, 2, 4, 6) else order + 2
            assert abs(math.log2(errors[0] / errors[1]) - left_out) < 0.5, (order, errors)
    close(group.dexpinv(0.2 * u, v, 20), group.dexpinv(0.2 * u, v), 1e-9)


@every_acting_group
def test_dexpinv_refuses_a_negative_order(group):
    v = coordinates(group)
    with pytest.raises(ValueError, match="order"):
        group.dexpinv(v, v, -1)


@every_acting_group
def test_ad_is_the_bracket(group):
    u, v = coordinates(group, 4, seed=1), coordinates(group, 4, seed=2)
    close(group.ad(u, v), group.bracket(u, v), 0)


@every_acting_group
def test_jacobians_are_the_derivatives_of_exp_in_either_frame(group):
    """exp(u + e v) = exp(e J_l v) exp(u) = exp(u) exp(e J_r v) to first order, checked for every basis vector."""
    e = 1e-5
    u = coordinates(group, 3, scale=0.5, seed=1)
    x = group.exp(u)
    basis = torch.eye(group.dim, dtype=F64)
    left, right = group.left_jacobian(u), group.right_jacobian(u)
    assert left.shape == right.shape == (3, group.dim, group.dim)
    for k in range(group.dim):
        difference = group.exp(u + e * basis[k]) - group.exp(u - e * basis[k])
        ahead, behind = (group.exp(s * e * left[..., k]) for s in (1, -1))
        close(difference / (2 * e), (group.compose(ahead, x) - group.compose(behind, x)) / (2 * e), 1e-8)
        ahead, behind = (group.exp(s * e * right[..., k]) for s in (1, -1))
        close(difference / (2 * e), (group.compose(x, ahead) - group.compose(x, behind)) / (2 * e), 1e-8)


@every_acting_group
@both_precisions
def test_jacobians_have_inverses_and_map_vectors(group, dtype):
    u = coordinates(group, 5, scale=0.5, seed=1, dtype=dtype)
    v = coordinates(group, 5, seed=2, dtype=dtype)
    eye = torch.eye(group.dim, dtype=dtype).expand(5, group.dim, group.dim)
    close(group.left_jacobian(u) @ group.left_jacobian_inverse(u), eye, EPS[dtype])
    close(group.right_jacobian_inverse(u) @ group.right_jacobian(u), eye, EPS[dtype])
    close((group.left_jacobian(u) @ v[..., None])[..., 0], group.dexp(u, v), EPS[dtype])
    close((group.right_jacobian_inverse(u) @ v[..., None])[..., 0], group.dexpinv(-u, v), EPS[dtype])


@every_lie_group
def test_inverse_jacobians_are_the_derivatives_of_log(group):
    """log(exp(e v) exp(u)) = u + e J_l^-1 v and log(exp(u) exp(e v)) = u + e J_r^-1 v to first order."""
    e = 1e-5
    u, v = coordinates(group, 8, scale=0.5, seed=1), coordinates(group, 8, seed=2)
    x = group.exp(u)
    ahead, behind = (group.log(group.compose(group.exp(s * e * v), x)) for s in (1, -1))
    close((ahead - behind) / (2 * e), (group.left_jacobian_inverse(u) @ v[..., None])[..., 0], 1e-8)
    ahead, behind = (group.log(group.compose(x, group.exp(s * e * v))) for s in (1, -1))
    close((ahead - behind) / (2 * e), (group.right_jacobian_inverse(u) @ v[..., None])[..., 0], 1e-8)


@every_acting_group
@both_precisions
def test_coadjoint_is_the_transpose_of_the_inverse_adjoint(group, dtype):
    x = elements(group, 16, dtype=dtype)
    u, v, mu = (coordinates(group, 16, seed=seed, dtype=dtype) for seed in (1, 2, 3))
    wanted = (mu * group.Ad(group.inverse(x), v)).sum(-1)
    close((group.coAd(x, mu) * v).sum(-1), wanted, EPS[dtype])
    close((group.coad(u, mu) * v).sum(-1), -(mu * group.bracket(u, v)).sum(-1), EPS[dtype])


@every_acting_group
def test_coadjoint_is_an_action_with_generator_coad(group):
    x, y = elements(group, 16, seed=1), elements(group, 16, seed=2)
    u, mu = coordinates(group, 16, seed=3), coordinates(group, 16, seed=4)
    close(group.coAd(group.compose(x, y), mu), group.coAd(x, group.coAd(y, mu)), 1e-10)
    e = 1e-5
    difference = (group.coAd(group.exp(e * u), mu) - group.coAd(group.exp(-e * u), mu)) / (2 * e)
    close(difference, group.coad(u, mu), 1e-8)


@every_acting_group
def test_closed_forms_are_the_defaults(group):
    x, u, mu = elements(group, 6), coordinates(group, 6, seed=1), coordinates(group, 6, seed=2)
    close(group.coAd(x, mu), Group.coAd(group, x, mu), 1e-12)
    close(group.coad(u, mu), Group.coad(group, u, mu), 1e-12)


@every_acting_group
def test_vmap_takes_the_group_maps(group):
    u, v = coordinates(group, 4, scale=0.5, seed=1), coordinates(group, 4, seed=2)
    x = group.exp(u)
    for f, a, b in ((group.coad, u, v), (group.ad, u, v), (group.coAd, x, v), (group.Ad, x, v), (group.dexp, u, v)):
        close(torch.vmap(f)(a, b), f(a, b), 1e-13)
        close(torch.vmap(f, (0, None))(a, b[0]), f(a, b[:1].expand_as(b)), 1e-13)
    close(torch.vmap(group.left_jacobian)(u), group.left_jacobian(u), 1e-13)


@every_acting_group
def test_algebra_and_group_broadcast(group):
    u, v = coordinates(group, 4, 1, scale=0.3, seed=1), coordinates(group, 3, scale=0.3, seed=2)
    full_u, full_v = torch.broadcast_tensors(u, v)
    for name in ("bracket", "dexp", "dexpinv", "coad"):
        close(getattr(group, name)(u, v).expand_as(full_v), getattr(group, name)(full_u, full_v), 1e-13)
    close(group.Ad(group.exp(u), v).expand_as(full_v), group.Ad(group.exp(full_u), full_v), 1e-13)
    close(group.coAd(group.exp(u), v).expand_as(full_v), group.coAd(group.exp(full_u), full_v), 1e-13)
    close(group.compose(group.exp(u), group.exp(v)), group.compose(group.exp(full_u), group.exp(full_v)), 1e-13)


@every_lie_group
@both_precisions
def test_log_inverts_exp_on_the_group(group, dtype):
    v = coordinates(group, 64, dtype=dtype)
    # every angle of a rotation or of the circle stays below pi, where the logarithm is unique
    v = 3.0 * v / v.norm(dim=-1, keepdim=True)
    close(group.log(group.exp(v)), v, EPS[dtype])
    x = points(group, 64, dtype=dtype)
    close(group.exp(group.log(x)), x, EPS[dtype])


@every_lie_group
def test_identity_is_neutral(group):
    one = group.identity((5,), dtype=F64)
    x = points(group, 5)
    close(group.compose(one, x), x, 1e-15)
    close(group.compose(x, one), x, 1e-15)
    close(group.log(one), torch.zeros(5, group.dim, dtype=F64), 1e-15)
    assert group.identity().shape == group.point_shape


@every_lie_group
def test_coordinates_of_invert_tangent_of(group):
    x = points(group, 16)
    v = coordinates(group, 16)
    close(group.coordinates_of(x, group.tangent_of(v, x)), v, 1e-13)
    u = tangents(group, x)
    close(group.tangent_of(group.coordinates_of(x, u), x), u, 1e-13)


@every_lie_group
def test_dimension_counts_the_coordinates(group):
    x = points(group, 2)
    assert group.log(x).shape == (2, group.dim)
    assert group.lift(x, tangents(group, x)).shape == (2, group.dim)
