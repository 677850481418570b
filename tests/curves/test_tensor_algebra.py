import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm

from manifoldnet.curves.tensor_algebra import (
    levels,
    logsignature_dim,
    lyndon_coordinates,
    signature_dim,
    tensor_exp,
    tensor_inverse,
    tensor_log,
    tensor_product,
    tensor_quotient,
)
from manifoldnet.errors import InputError

SIZES = [(1, 4), (2, 1), (2, 5), (3, 3), (4, 2)]


def random_element(dim, depth, batch=(), seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(*batch, signature_dim(dim, depth), generator=generator, dtype=dtype)


def words(dim, depth):
    """All words in the order of the coefficients."""
    return [w for k in range(1, depth + 1) for w in itertools.product(range(dim), repeat=k)]


def as_dict(s, dim, depth, scalar):
    return {(): scalar} | dict(zip(words(dim, depth), s.tolist(), strict=True))


def concatenated(a, b, depth):
    """The product of two elements given as word -> coefficient, by its definition."""
    total = {}
    for (u, x), (w, y) in itertools.product(a.items(), b.items()):
        if len(u + w) <= depth:
            total[u + w] = total.get(u + w, 0.0) + x * y
    return total


def multiplication_matrix(s, dim, depth, scalar):
    """The matrix of t -> s ⊗ t on the coefficients of all words, the empty one first."""
    place = {w: i for i, w in enumerate([(), *words(dim, depth)])}
    matrix = np.zeros((len(place), len(place)))
    for (u, x), w in itertools.product(as_dict(s, dim, depth, scalar).items(), place):
        if len(u + w) <= depth:
            matrix[place[u + w], place[w]] = x
    return matrix


def is_lyndon(w):
    return all(w < w[r:] + w[:r] for r in range(1, len(w)))


def bracket_coefficients(w):
    """Word -> coefficient of the bracketed Lyndon word, cut before its longest proper Lyndon suffix."""
    if len(w) == 1:
        return {w: 1.0}
    cut = next(i for i in range(1, len(w)) if is_lyndon(w[i:]))
    a, b = bracket_coefficients(w[:cut]), bracket_coefficients(w[cut:])
    forth, back = concatenated(a, b, len(w)), concatenated(b, a, len(w))
    return {u: forth.get(u, 0.0) - back.get(u, 0.0) for u in forth | back}


def lyndon_basis(dim, depth):
    """Columns: the bracketed Lyndon words in the coefficients of all words."""
    every = words(dim, depth)
    columns = [bracket_coefficients(w) for w in every if is_lyndon(w)]
    return torch.tensor([[c.get(w, 0.0) for c in columns] for w in every], dtype=torch.float64)


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_product_concatenates_words(dim, depth):
    s, t = random_element(dim, depth, seed=1), random_element(dim, depth, seed=2)
    wanted = concatenated(as_dict(s, dim, depth, 1.0), as_dict(t, dim, depth, 1.0), depth)
    found = as_dict(tensor_product(s, t, dim), dim, depth, 1.0)
    assert found == pytest.approx(wanted, abs=1e-13)


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_group_laws(dim, depth):
    r, s, t = (random_element(dim, depth, (5,), seed) for seed in range(3))
    one = torch.zeros_like(s)
    left = tensor_product(tensor_product(r, s, dim), t, dim)
    assert (left - tensor_product(r, tensor_product(s, t, dim), dim)).abs().max() < 1e-12
    assert torch.equal(tensor_product(one, s, dim), s)
    assert torch.equal(tensor_product(s, one, dim), s)
    inverse = tensor_inverse(s, dim)
    assert tensor_product(s, inverse, dim).abs().max() < 1e-12
    assert tensor_product(inverse, s, dim).abs().max() < 1e-12
    assert (tensor_quotient(s, t, dim) - tensor_product(inverse, t, dim)).abs().max() < 1e-12
    assert bool((tensor_quotient(s, s, dim) == 0).all())


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_exp_and_log_against_those_of_matrices(dim, depth):
    x = random_element(dim, depth)
    exponential = tensor_exp(x, dim)
    wanted = expm(multiplication_matrix(x, dim, depth, 0.0))[1:, 0]
    np.testing.assert_allclose(exponential.numpy(), wanted, rtol=0, atol=1e-12)
    if depth < 4:  # scipy's logm loses digits on long Jordan chains
        wanted = logm(multiplication_matrix(x, dim, depth, 1.0))[1:, 0]
        np.testing.assert_allclose(tensor_log(x, dim).numpy(), wanted, rtol=0, atol=1e-8)
    assert (tensor_log(exponential, dim) - x).abs().max() < 1e-12
    assert (tensor_exp(tensor_log(x, dim), dim) - x).abs().max() < 1e-12


def test_log_of_a_product_is_the_baker_campbell_hausdorff_series():
    dim = 3
    a, b = (torch.cat([random_element(dim, 1, seed=s), torch.zeros(36, dtype=torch.float64)]) for s in (3, 4))

    def bracket(x, y):
        # (1 + x)(1 + y) - (1 + y)(1 + x) = [x, y]
        return tensor_product(x, y, dim) - tensor_product(y, x, dim)

    found = tensor_log(tensor_product(tensor_exp(a, dim), tensor_exp(b, dim), dim), dim)
    wanted = a + b + bracket(a, b) / 2 + (bracket(a, bracket(a, b)) + bracket(b, bracket(b, a))) / 12
    assert (found - wanted).abs().max() < 1e-14


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_lyndon_coordinates_are_those_of_words_before_their_rotations(dim, depth):
    x = random_element(dim, depth, (2,))
    wanted = [i for i, w in enumerate(words(dim, depth)) if is_lyndon(w)]
    assert torch.equal(lyndon_coordinates(x, dim), x[:, wanted])
    assert len(wanted) == logsignature_dim(dim, depth)


@pytest.mark.parametrize("dim", [1, 2, 3, 7])
@pytest.mark.parametrize("depth", [1, 2, 3, 6, 8])
def test_dimension_by_the_formula_of_witt(dim, depth):
    moebius = {1: 1, 2: -1, 3: -1, 4: 0, 5: -1, 6: 1, 7: -1, 8: 0}
    wanted = sum(sum(moebius[k // r] * dim**r for r in range(1, k + 1) if k % r == 0) // k for k in range(1, depth + 1))
    assert logsignature_dim(dim, depth) == wanted
    assert signature_dim(dim, depth) == sum(dim**k for k in range(1, depth + 1))


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_lyndon_coordinates_determine_a_lie_element(dim, depth):
    basis = lyndon_basis(dim, depth)
    square = lyndon_coordinates(basis.mT, dim).mT
    assert torch.equal(square.triu(1), torch.zeros_like(square))
    assert torch.equal(square.diagonal(), torch.ones(len(square), dtype=torch.float64))
    x = basis @ torch.randn(basis.shape[1], generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    back = basis @ torch.linalg.solve(square, lyndon_coordinates(x, dim))
    assert (back - x).abs().max() < 1e-12


def test_leading_dimensions_broadcast():
    s, t = random_element(2, 3, (4, 1)), random_element(2, 3, (3,), seed=1)
    for f in (tensor_product, tensor_quotient):
        both = f(s, t, 2)
        assert both.shape == (4, 3, 14)
        assert torch.allclose(both[2, 1], f(s[2, 0], t[1], 2), rtol=0, atol=1e-14)


def test_gradcheck():
    s, t = (random_element(2, 3, seed=seed).requires_grad_() for seed in (1, 2))
    assert torch.autograd.gradcheck(lambda s, t: tensor_product(s, t, 2), (s, t))
    assert torch.autograd.gradcheck(lambda s, t: tensor_quotient(s, t, 2), (s, t))
    assert torch.autograd.gradcheck(lambda s: tensor_exp(s, 2), s)
    assert torch.autograd.gradcheck(lambda s: lyndon_coordinates(tensor_log(s, 2), 2), s)


def test_levels_are_views():
    s = random_element(3, 3)
    parts = levels(s, 3)
    assert [len(part) for part in parts] == [3, 9, 27]
    assert parts[1].data_ptr() == s[3:].data_ptr()


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("s", lambda s: levels(s[1:], 2)),
        ("s", lambda s: tensor_log(s[:0], 2)),
        ("s", lambda s: tensor_inverse(s, 4)),
        ("t", lambda s: tensor_product(s, s[:6], 2)),
        ("t", lambda s: tensor_quotient(s, s[1:], 2)),
        ("x", lambda s: lyndon_coordinates(s, 3)),
        ("dim", lambda s: tensor_exp(s, 0)),
        ("dim", lambda s: signature_dim(0, 2)),
        ("depth", lambda s: logsignature_dim(2, 0)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(random_element(2, 3))


def test_float32_stays_close():
    x = random_element(3, 4)
    scale = math.factorial(4)
    for f in (tensor_exp, tensor_log, tensor_inverse):
        assert (f(x.float(), 3).double() - f(x, 3)).abs().max() < 1e-6 * scale
