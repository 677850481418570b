"""Gradients at the angles 0 and pi and close to them, on matrix groups, sphere and circle, against 60-digit references.

The bars: relative error below 1e-6, in float32 below 1e-3.
"""

import math

import pytest
import torch
from law_cases import F64, SPACES, both_precisions, close, lie_groups, singular_generators
from references import (
    differential_of_exponential,
    differential_of_logarithm,
    dot,
    lift,
    lower,
    matrix_exponential,
    mp,
    on_sphere,
    sphere_angle,
    sphere_logmap,
)
from singular_cases import ALL_ANGLES, TOLERANCE, Gradients, check_both_arguments, weights
from torch.autograd import grad

from manifoldnet.manifolds import Circle

matrix_groups = {
    name: group
    for name, group in lie_groups.items()
    if group.ndim == 2 and group.hat(torch.zeros(group.dim)).shape == group.point_shape
}
every_matrix_group = pytest.mark.parametrize("group", matrix_groups.values(), ids=matrix_groups.keys())
rotation_groups = {name: group for name, group in matrix_groups.items() if group.name.startswith("SO")}
every_rotation_group = pytest.mark.parametrize("group", rotation_groups.values(), ids=rotation_groups.keys())


def algebra(group):
    """Its basis as tensors and as mpmath's matrices."""
    basis = group.hat(torch.eye(group.dim, dtype=F64))
    return basis, [lift(e) for e in basis]


def combination(v, matrices):
    return sum((mp.mpf(c) * m for c, m in zip(v.tolist(), matrices, strict=True)), mp.zeros(matrices[0].rows))


def at_the_cut(group, v):
    """Whether an angle of the rotation is pi, where there are several logarithms."""
    return (torch.linalg.eigvals(group.hat(v)).imag - math.pi).abs().min() < 1e-9


def regular_generators(group):
    """Pairs of v and the precisions in which log is well conditioned at exp(v).

    Its derivative grows as the sum of two angles comes to 2 pi, as if both were pi.
    """
    for v in singular_generators(group, ALL_ANGLES):
        rest = 2 * math.pi - torch.linalg.eigvals(group.hat(v)).imag.sort().values[-2:].sum().item()
        if rest > 1e-9:
            yield v, TOLERANCE if rest > 1e-3 else (F64,)


def branch(group, x, v):
    """The logarithm of x = exp(v) that the package takes, as mpmath's matrix."""
    found, exact = group.log(x), algebra(group)[1]
    close(lower(matrix_exponential(combination(found, exact))), x, 1e-14)
    assert found.norm() < v.norm() * (1 + 1e-12) + 1e-15  # the shortest one
    same = (found - v).norm() <= 1e-9 * v.norm()
    assert same or at_the_cut(group, v)
    return combination(v if same else found, exact)


@every_matrix_group
def test_exponential_of_matrix_groups(group):
    w, exact = weights(*group.point_shape), algebra(group)[1]
    gradients = Gradients(group.exp, w)
    for v in singular_generators(group, ALL_ANGLES):
        a = combination(v, exact)
        x = matrix_exponential(a)
        close(group.exp(v), lower(x), 1e-15 * group.dim)
        wanted = [dot(lift(w), d * x) for d in differential_of_exponential(a, exact)]
        gradients.add((v,), torch.eye(group.dim, dtype=F64), wanted, f"at {v.tolist()}")
    gradients.check()


@every_matrix_group
def test_logarithm_of_matrix_groups(group):
    w, (basis, exact) = weights(group.dim), algebra(group)
    gradients = Gradients(group.log, w)
    for v, precisions in regular_generators(group):
        x = lower(matrix_exponential(combination(v, exact)))
        moved = differential_of_logarithm(branch(group, x, v), exact, exact)
        coordinates = [[dot(e, m) / dot(e, e) for e in exact] for m in moved]
        wanted = [dot(map(mp.mpf, w.tolist()), c) for c in coordinates]
        gradients.add((x,), basis @ x, wanted, f"at {v.tolist()}", precisions=precisions)
    gradients.check()


def quarter_turn(n):
    """A rotation with entries 0, 1 and -1, by which products are exact."""
    x = torch.eye(n, dtype=F64)
    x[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    return x


@every_rotation_group
@pytest.mark.parametrize("method", ["dist2", "dist", "logmap"])
def test_maps_of_rotation_groups(group, method):
    """With log(y x') = a, dist2 is |a|^2 / 2 in the Frobenius norm, and logmap is a x."""
    n, (basis, exact), ours = group.point_shape[0], algebra(group), getattr(group, method)
    w, x = weights(n, n) if method == "logmap" else weights(), quarter_turn(n)
    of_x, of_y = (Gradients(ours, w, slot=k) for k in (0, 1))
    for v, precisions in regular_generators(group):
        if method != "logmap" and not v.any():
            continue  # the gradient is 0, or any subgradient
        between = lower(matrix_exponential(combination(v, exact)))
        a, z, here, y = branch(group, between, v), lift(between), lift(x), between @ x

        # as x moves to exp(h e) x, y x' moves by the direction -z e z' from the left
        moved = differential_of_logarithm(a, exact, exact + [-z * e * z.T for e in exact])
        if method == "logmap":
            changes = [dot(lift(w), m * here) for m in moved]
            turned = [dot(lift(w), a * e * here) for e in exact]
            changes[group.dim :] = [c + t for c, t in zip(changes[group.dim :], turned, strict=True)]
        else:
            changes = [dot(a, m) / (mp.norm(a) * mp.sqrt(2) if method == "dist" else 1) for m in moved]
        what, signs = f"at {v.tolist()}", (1, -1) if method == "dist" and at_the_cut(group, v) else (1,)
        of_y.add((x, y), basis @ y, changes[: group.dim], what, signs, precisions)
        of_x.add((x, y), basis @ x, changes[group.dim :], what, signs, precisions)
    of_x.check()
    of_y.check()


@pytest.mark.parametrize("method", ["dist2", "dist", "logmap"])
def test_maps_of_the_sphere(method):
    space = SPACES["sphere"]
    n = space.point_shape[0]
    eye = torch.eye(n, dtype=F64)
    x, axes = eye[0], torch.stack([eye[1], eye[1:].sum(0) / math.sqrt(n - 1)])
    w = weights(n) if method == "logmap" else weights()

    def formula(p, q):
        p, q = on_sphere(p), on_sphere(q)
        if method == "logmap":
            return sphere_logmap(p, q)
        return mp.matrix([sphere_angle(p, q) ** (2 if method == "dist2" else 1)])

    def tangents_at(p):
        return eye - (eye @ p)[:, None] * p

    pairs = []
    for angle in ALL_ANGLES:
        if angle == math.pi or (angle == 0 and method != "logmap"):
            continue  # no derivative, or one that is 0
        for y in math.cos(angle) * x + math.sin(angle) * axes:
            pairs += [(x, y), (y, x)]
    check_both_arguments(getattr(space, method), formula, w, pairs, tangents_at)


@both_precisions
def test_maps_of_the_circle(dtype):
    space = Circle()
    angles = torch.tensor([sign * angle for angle in ALL_ANGLES for sign in (1, -1)], dtype=dtype)
    x, y = torch.zeros_like(angles).requires_grad_(), angles.clone().requires_grad_()
    arc = space.logmap(x, y).detach()
    for value, slope in (
        (space.logmap(x, y), torch.ones_like(angles)),
        (space.dist(x, y), arc.sign()),
        (space.dist2(x, y), 2 * arc),
    ):
        of_x, of_y = grad(value.sum(), (x, y))
        close(of_y, slope, torch.finfo(dtype).eps)
        close(of_x, -slope, torch.finfo(dtype).eps)
