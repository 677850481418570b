"""Laws of the group action by which generators move the points of every registered space."""

import torch
from law_cases import F64, both_precisions, close, coordinates, every_space, near, points, tangents

EPS = {torch.float32: 2e-4, F64: 1e-11}


@every_space
@both_precisions
def test_act_exp_is_act_of_exp(space, dtype):
    y = points(space, 16, dtype=dtype)
    v = coordinates(space.action.group, 16, scale=0.5, dtype=dtype)
    close(space.action.act_exp(v, y), space.action.act(space.action.group.exp(v), y), EPS[dtype])
    close(space.action.act_exp(0 * v, y), y, EPS[dtype])
    moved = space.action.act_exp(v, y)
    assert space.check_point_on_manifold(moved, explain=True) == (True, None)


@every_space
def test_acting_twice_is_acting_by_the_product(space):
    action, group = space.action, space.action.group
    p = points(space, 16)
    x, y = (group.exp(coordinates(group, 16, scale=0.5, seed=seed)) for seed in (1, 2))
    close(action.act(group.compose(x, y), p), action.act(x, action.act(y, p)), 1e-10)
    close(action.act(group.inverse(x), action.act(x, p)), p, 1e-10)


@every_space
def test_tangent_is_the_derivative_of_the_motion(space):
    y = points(space, 16)
    v = coordinates(space.action.group, 16)
    e = 1e-5
    difference = space.logmap(y, space.action.act_exp(e * v, y)) - space.logmap(y, space.action.act_exp(-e * v, y))
    close(difference / (2 * e), space.action.tangent(v, y), 1e-7)
    w = coordinates(space.action.group, 16, seed=4)
    sum_of_tangents = 2 * space.action.tangent(v, y) + space.action.tangent(w, y)
    close(space.action.tangent(2 * v + w, y), sum_of_tangents, 1e-11)


@every_space
@both_precisions
def test_tangent_undoes_lift(space, dtype):
    y = points(space, 16, dtype=dtype)
    u = tangents(space, y, 1.0)
    v = space.lift(y, u)
    assert v.shape == (16, space.action.group.dim)
    close(space.action.tangent(v, y), u, EPS[dtype])
    assert space.check_vector_on_tangent(y, space.action.tangent(v, y), explain=True) == (True, None)


@every_space
def test_action_and_lift_broadcast(space):
    y, z = points(space, 4, 1), near(space, points(space, 3), 0.3)
    v = coordinates(space.action.group, 4, 1, scale=0.5)
    full_v, full_z = v.expand(4, 3, -1), z.expand(4, 3, *space.point_shape)
    close(space.action.act_exp(v, z), space.action.act_exp(full_v, full_z), 1e-12)
    close(space.action.tangent(v, z), space.action.tangent(full_v, full_z), 1e-12)
    u = tangents(space, y)
    close(space.lift(z, u), space.lift(full_z, u.expand(4, 3, *space.point_shape)), 1e-12)
