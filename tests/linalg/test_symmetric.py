import itertools

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

from manifoldnet.linalg import (
    affine_squared_distance,
    sym,
    sym_dexpm,
    sym_dlogm,
    sym_expm,
    sym_from_vector,
    sym_logm,
    sym_powm,
    sym_sqrtm,
    sym_to_vector,
)

GAPS = [0.0, 1e-12, 1e-8, 1e-4, 0.01, 0.049, 0.051, 0.3]


def symmetric(*shape, seed=0):
    return sym(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def with_eigenvalues(values, seed=0):
    """Symmetric matrices with the given eigenvalues (..., n) and random eigenvectors."""
    values = torch.as_tensor(values, dtype=torch.float64)
    q = torch.linalg.qr(symmetric(values.shape[-1], values.shape[-1], seed=seed))[0]
    return sym((q * values[..., None, :]) @ q.T)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_functions_are_scipys(n):
    a = symmetric(4, n, n)
    x = sym_expm(a)
    for k in range(4):
        assert np.allclose(x[k], scipy.linalg.expm(a[k]), rtol=1e-12, atol=1e-12)
        assert np.allclose(sym_logm(x)[k], scipy.linalg.logm(x[k].numpy()), rtol=1e-11, atol=1e-11)
        assert np.allclose(sym_sqrtm(x)[k], scipy.linalg.sqrtm(x[k].numpy()), rtol=1e-11, atol=1e-11)
        for p in (-1.0, -0.5, 0.3, 2.0):
            power = scipy.linalg.fractional_matrix_power(x[k].numpy(), p)
            assert np.allclose(sym_powm(x, p)[k], power, rtol=1e-10, atol=1e-10)
        norm = np.linalg.norm(scipy.linalg.logm(x[k].numpy())) ** 2
        one = torch.eye(n, dtype=torch.float64)
        assert affine_squared_distance(one, x)[k].item() == pytest.approx(norm, rel=1e-11)


def test_diffusion_tensors_in_si_units_lose_no_digits():
    x = with_eigenvalues([0.3, 0.7, 1.7])
    shift = np.log(1e-9) * torch.eye(3, dtype=torch.float64)
    assert (sym_logm(1e-9 * x) - sym_logm(x) - shift).abs().max() < 3e-14
    assert (sym_logm((1e-9 * x).float()) - (sym_logm(x) + shift)).abs().max() < 5e-6
    u = symmetric(3, 3)
    assert (sym_dlogm(1e-9 * x, 1e-9 * u) - sym_dlogm(x, u)).abs().max() < 1e-13


def test_a_matrix_that_is_not_positive_gives_nan_and_not_a_number():
    assert sym_logm(with_eigenvalues([-0.1, 1.0, 2.0])).isnan().all()


@pytest.mark.parametrize("gap", GAPS)
def test_first_derivatives_are_scipys_at_close_eigenvalues(gap):
    a = with_eigenvalues([1.0, 1.0 + gap, 3.0])
    e = symmetric(3, 3, seed=1)
    _, wanted = scipy.linalg.expm_frechet(a.numpy(), e.numpy())
    assert np.allclose(sym_dexpm(a, e), wanted, rtol=1e-12, atol=1e-12)
    # the derivative of the logarithm stands in the corner of the logarithm of a block matrix
    block = np.block([[a.numpy(), e.numpy()], [np.zeros((3, 3)), a.numpy()]])
    assert np.allclose(sym_dlogm(a, e), scipy.linalg.logm(block)[:3, 3:], rtol=1e-9, atol=1e-9)
    for f, derivative in ((sym_logm, sym_dlogm), (sym_expm, sym_dexpm)):
        leaf = a.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((e * f(leaf)).sum(), leaf)
        assert torch.allclose(gradient, derivative(a, e), rtol=1e-13, atol=1e-13)


def difference(f, nodes):
    """Divided difference with 60 digits; equal nodes are moved apart by 1e-20."""
    with mpmath.workdps(120):
        x = [mpmath.mpf(float(t)) + k * mpmath.mpf("1e-20") for k, t in enumerate(nodes)]
        table = [f(t) for t in x]
        for order in range(1, len(x)):
            table = [(table[i + 1] - table[i]) / (x[i + order] - x[i]) for i in range(len(table) - 1)]
        return float(table[0])


FUNCTIONS = {
    "log": (sym_logm, mpmath.log),
    "exp": (sym_expm, mpmath.exp),
    "sqrt": (sym_sqrtm, mpmath.sqrt),
    "power": (lambda x: sym_powm(x, -1.5), lambda t: t ** mpmath.mpf("-1.5")),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_to_order_three_are_divided_differences(name, gap):
    """At diag(l), D^k f [E_1 .. E_k] contracts f[l_i, .., l_j], here by definition and with 60 digits."""
    f, exact = FUNCTIONS[name]
    values = [0.5, 0.5 * (1 + gap), 2.0]
    directions = [symmetric(3, 3, seed=seed) for seed in range(3)]
    target = torch.diag(torch.tensor(values, dtype=torch.float64)).requires_grad_()
    weight = symmetric(3, 3, seed=9)

    scalar = (weight * f(target)).sum()
    for order in range(1, 4):
        (gradient,) = torch.autograd.grad(scalar, target, create_graph=True)
        scalar = (directions[order - 1] * gradient).sum()
        wanted = 0.0
        for path in itertools.product(range(3), repeat=order + 1):
            weights = difference(exact, [values[i] for i in path])
            for chosen in itertools.permutations(directions[:order]):
                steps = zip(chosen, path, path[1:], strict=False)
                wanted += weights * weight[path[0], path[-1]].item() * np.prod([e[i, j].item() for e, i, j in steps])
        assert scalar.item() == pytest.approx(wanted, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_logarithm_has_the_right_gradient_over_16_decades(size):
    values = torch.tensor([1.0, size], dtype=torch.float64)
    x = torch.diag(values).requires_grad_()
    (gradient,) = torch.autograd.grad(sym_logm(x).sum(), x)
    wanted = np.log(size) / (size - 1)
    assert np.allclose(gradient, [[1.0, wanted], [wanted, 1 / size]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_vectors_are_orthonormal_coordinates(n):
    x, y = symmetric(5, n, n, seed=1), symmetric(5, n, n, seed=2)
    v = sym_to_vector(x)
    assert v.shape == (5, n * (n + 1) // 2)
    assert torch.allclose(sym_from_vector(v), x, atol=1e-15, rtol=1e-15)
    assert torch.allclose((v * sym_to_vector(y)).sum(-1), (x * y).sum((-1, -2)), atol=1e-13, rtol=1e-13)


def test_vectors_go_through_the_lower_triangle_by_rows():
    x = torch.tensor([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    root = np.sqrt(2)
    assert np.allclose(sym_to_vector(x), [1, 2 * root, 3, 4 * root, 5 * root, 6], rtol=1e-12, atol=1e-12)


def test_a_wrong_number_of_coordinates_is_refused():
    with pytest.raises(ValueError, match=r"v: .*\(2, 5\)"):
        sym_from_vector(torch.zeros(2, 5))
