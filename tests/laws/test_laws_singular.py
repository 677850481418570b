"""Gradients on symmetric matrices with equal or close eigenvalues, against 60-digit references, and at equal points.

The bars: relative error below 1e-6, in float32 below 1e-3. Where the distance is 0 there is no relative error: the
squared distance must have gradient 0 and the distance a subgradient.
"""

import pytest
import torch
from law_cases import F64, SPACES, both_precisions, every_space, points, rng, singular_matrices, singular_points
from references import METRICS, lift, lower, mp, spectral, symmetric_basis
from singular_cases import Gradients, check_both_arguments, derivative, large, weights
from torch.autograd import grad

from manifoldnet.linalg import sym_expm, sym_logm, sym_powm, sym_sqrtm
from manifoldnet.manifolds import SPD

FUNCTIONS = {
    "log": (sym_logm, mp.log),
    "exp": (sym_expm, mp.exp),
    "sqrt": (sym_sqrtm, mp.sqrt),
    "power": (lambda a: sym_powm(a, -0.7), lambda v: v ** mp.mpf(-0.7)),
}
metrics = {space.metric: space for space in SPACES.values() if isinstance(space, SPD)}
every_metric = pytest.mark.parametrize("metric", metrics)


@every_space
@both_precisions
def test_distance_of_a_point_to_itself(space, dtype):
    """In general position and at the plain points where eigenvalues repeat."""
    p = torch.cat([points(space, 3, dtype=dtype), singular_points(space, dtype)[:3]])
    check_equal_points(space, p, dtype)
    check_equal_points(space, large(p), dtype)


def check_equal_points(space, p, dtype):
    rounding = 1e3 * torch.finfo(dtype).eps
    for k in (0, 1):
        pair = [p.clone(), p.clone()]
        pair[k].requires_grad_()
        (gradient,) = grad(space.dist2(*pair).sum(), pair[k])
        assert (space.norm(p, space.egrad2rgrad(p, gradient)) < rounding).all()
        value = space.dist(*pair)
        assert (value < rounding).all()
        (gradient,) = grad(value.sum(), pair[k])
        # where rounding leaves a distance of 1e-16 the gradient is one of rounding, of a length near 1
        assert (space.norm(p, space.egrad2rgrad(p, gradient)) < 2).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_symmetric_matrices(name):
    ours, scalar = FUNCTIONS[name]
    w, basis = weights(3, 3), symmetric_basis(3)
    repeated = torch.diag(torch.tensor([1.0, 1.0, 3.0], dtype=F64))
    for unit in (1.0, 1e-9) if name != "exp" else (1.0,):
        gradients = Gradients(ours, w)
        for k, a in enumerate([*singular_matrices(3), repeated]):
            wanted = [derivative(lambda x: spectral(scalar, x), w, unit * a, unit * e) for e in basis]
            gradients.add((unit * a,), unit * basis, wanted, f"matrix {k} times {unit}")
        gradients.check()


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_functions_of_badly_conditioned_matrices(name):
    """Rounding of the largest eigenvalue moves the smallest, of log by eps * cond, of the root by the root of cond."""
    ours, scalar = FUNCTIONS[name]
    for condition, a in badly_conditioned():
        wanted = lower(spectral(scalar, lift(a)))
        bound = 4 * torch.finfo(F64).eps * (condition if name == "log" else condition**0.5)
        for value in (ours(a), ours(large(a[None]))[-1]):
            assert (value - wanted).norm() < bound * wanted.norm()


def badly_conditioned():
    basis = torch.linalg.qr(torch.randn(3, 3, dtype=F64, generator=rng(82)))[0]
    for exponent in (2, 4, 6, 8):
        a = basis @ torch.diag(torch.logspace(0, exponent, 3, dtype=F64)) @ basis.T
        yield 10.0**exponent, 0.5 * (a + a.T)


def general_matrix(seed):
    return SPD("affine-invariant", n=3).random(3, 3, dtype=F64, generator=rng(seed))


@every_metric
def test_distances_of_badly_conditioned_matrices(metric):
    space, other = metrics[metric], general_matrix(81)
    for condition, a in badly_conditioned():
        bound = 4 * torch.finfo(F64).eps * condition
        for x, y in ((a, other), (other, a)):
            wanted = float(mp.sqrt(METRICS[metric].dist2(lift(x), lift(y))))
            for value in (space.dist(x, y), space.dist(large(x[None]), y)[-1]):
                assert abs(value.item() / wanted - 1) < bound, condition


def singular_pairs():
    """Equal eigenvalues, and some 1e-12 ... 1e-4 apart, of x, of y and of x^-1 y."""
    matrices, y = singular_matrices(3), general_matrix(83)
    for a in matrices[[0, 1, 3, 5, 7]]:
        yield from ((a, y), (y, a), (a, 2 * a))
    yield from ((matrices[0], a) for a in matrices[[1, 3, 5, 7]])


@every_metric
@pytest.mark.parametrize("method", ["dist2", "dist", "logmap", "expmap"])
def test_maps_of_symmetric_positive_definite_matrices(metric, method):
    reference, basis = METRICS[metric], symmetric_basis(3)
    w = weights() if method.startswith("dist") else weights(3, 3)

    def formula(x, y):
        if method.endswith("map"):
            return getattr(reference, method)(x, y)
        squared = reference.dist2(x, y)
        return mp.matrix([squared if method == "dist2" else mp.sqrt(squared)])

    pairs = list(singular_pairs())
    if method == "expmap":  # from a point to a tangent vector
        pairs = [(x, 0.3 * (y - 1.7 * torch.eye(3, dtype=F64))) for x, y in pairs]
    check_both_arguments(getattr(metrics[metric], method), formula, w, pairs, lambda x: basis)
