"""Laws at points that hypothesis chooses, near-singular ones among them: it looks for the worst and shrinks it."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from law_cases import F64, every_space, points, reach, rng, tangents

from manifoldnet import SO3, SPD

EPS = torch.finfo(F64).eps
few = settings(max_examples=10, deadline=None, derandomize=True, database=None)
more = settings(max_examples=40, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)
lengths = st.floats(-12, 0).map(lambda exponent: 10.0**exponent)
# under the log-Cholesky metric a unit step from a matrix of size 1e-9 ends at one that is singular in float64
METRICS = ("affine-invariant", "log-euclidean")


@st.composite
def spd_matrices(draw):
    """Any unit of measurement, condition numbers to 1e6 and gaps from 1e-14 of the largest eigenvalue on."""
    n = draw(st.integers(2, 4))
    decades = [draw(st.floats(-6, 0)) for _ in range(n)]
    values = torch.tensor([10.0**d for d in decades], dtype=F64)
    if draw(st.booleans()):
        values[1] = values[0] * (1 + 10.0 ** draw(st.floats(-14, 0)))
    frame = torch.linalg.qr(torch.randn(n, n, dtype=F64, generator=rng(draw(seeds))))[0]
    x = 10.0 ** draw(st.floats(-9, 9)) * (frame * values) @ frame.T
    return 0.5 * (x + x.T)


@st.composite
def rotation_vectors(draw):
    """Angles near 0, near pi and between, about any axis."""
    small = 10.0 ** draw(st.floats(-15, 0))
    angle = draw(st.sampled_from([small, math.pi - small, math.pi * small, 0.0, math.pi]))
    axis = torch.randn(3, dtype=F64, generator=rng(draw(seeds)))
    return angle * axis / axis.norm()


def condition(x):
    values = torch.linalg.eigvalsh(x)
    return (values[-1] / values[0]).item()


@more
@given(spd_matrices(), seeds, st.sampled_from(METRICS))
def test_exponential_and_logarithm_of_spd_matrices_are_inverse(x, seed, metric):
    space = SPD(metric)
    u = space.random_tangent(x, generator=rng(seed))
    y = space.expmap(x, u)
    # rounding of a matrix weighs as much as its condition
    tolerance = 1e2 * EPS * condition(x) * condition(y)
    length = space.norm(x, u)
    assert space.norm(x, space.logmap(x, y) - u) <= tolerance * (1 + length)
    assert (space.dist(x, y) - length).abs() <= tolerance * (1 + length)


@more
@given(spd_matrices(), seeds)
def test_affine_invariant_distances_survive_changes_of_coordinates(x, seed):
    space = SPD()
    n = len(x)
    y = space.expmap(x, space.random_tangent(x, generator=rng(seed)))
    g = torch.randn(n, n, dtype=F64, generator=rng(seed + 1)) + 3 * torch.eye(n, dtype=F64)
    there = space.dist(g @ x @ g.T, g @ y @ g.T)
    # rounding of g x g' weighs as much as the condition of both
    assert (there - space.dist(x, y)).abs() <= 1e3 * EPS * condition(x) * torch.linalg.cond(g) ** 2
    inverse = space.dist(torch.linalg.inv(x), torch.linalg.inv(y))
    assert (inverse - space.dist(x, y)).abs() <= 1e3 * EPS * condition(x) * math.exp(space.dist(x, y).item())


@more
@given(rotation_vectors(), rotation_vectors())
def test_rotations_come_back_from_their_logarithms(u, v):
    x, y = SO3().exp(u), SO3().exp(v)
    assert (SO3().exp(SO3().log(x)) - x).abs().max() <= 20 * EPS
    assert (SO3().dist(SO3().identity(dtype=F64), x) - u.norm()).abs() <= 20 * EPS
    assert (SO3().dist(x, y) - SO3().dist(y, x)).abs() <= 50 * EPS
    assert (SO3().expmap(x, SO3().logmap(x, y)) - y).abs().max() <= 50 * EPS


@every_space
@few
@given(seed=seeds, share=lengths)
def test_distances_keep_their_digits_at_every_length(space, seed, share):
    x = points(space, 2, seed=seed)
    length = reach(space, x, 1.0) * share
    u = tangents(space, x, seed=seed + 1)
    u = u * (length / space.norm(x, u))[(...,) + (None,) * space.ndim]
    y = space.expmap(x, u)
    # the coordinates of y have rounding of their own, which for x of any size is this length
    grain = 1e3 * EPS * (1 + x.abs().flatten(1).amax(1) if space.ndim else 1.0) ** 2
    grain = grain * space.norm(x, tangents(space, x, seed=seed + 2)).clamp_min(1.0)
    assert ((space.dist(x, y) - length).abs() <= grain).all()
    assert ((space.dist(y, x) - space.dist(x, y)).abs() <= grain).all()


@every_space
@few
@given(seed=seeds)
def test_three_points_keep_the_triangle_inequality(space, seed):
    x = points(space, 2, seed=seed)
    y, z = (space.expmap(x, tangents(space, x, 0.4, seed=seed + k)) for k in (1, 2))
    assert (space.dist(y, z) <= space.dist(y, x) + space.dist(x, z) + 1e-9).all()
