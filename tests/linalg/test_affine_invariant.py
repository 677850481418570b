"""Kernels of the affine-invariant maps against scipy, and against compositions that LAPACK makes."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.autograd import gradcheck, gradgradcheck

import manifoldnet.linalg.kernel
from manifoldnet.linalg import affine_exp, affine_log, affine_squared_distance, sym, sym_expm

F64 = torch.float64
sizes = pytest.mark.parametrize("n", [2, 3])
MAPS = {"exp": affine_exp, "log": affine_log, "squared distance": affine_squared_distance}
every_map = pytest.mark.parametrize("name", MAPS)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def symmetric(count, n, seed):
    return sym(torch.randn(count, n, n, dtype=F64, generator=rng(seed)))


def arguments(name, count, n):
    """Pairs, of which some are equal, some are 0 or the identity, and some have equal eigenvalues."""
    x = sym_expm(symmetric(count, n, 1))
    other = symmetric(count, n, 2)
    x[3] = torch.eye(n, dtype=F64)
    other[4] = 0
    if name != "exp":
        other = sym_expm(other)
        other[:2] = x[:2]
        other[2] = 2 * x[2]
    return x, other


@sizes
@pytest.mark.usefixtures("closed_form")
def test_values_are_scipys(n):
    x, y = arguments("log", 8, n)
    u = symmetric(8, n, 3)
    for a, b, w, e, log, d in zip(
        *(t.numpy() for t in (x, y, u, affine_exp(x, u), affine_log(x, y), affine_squared_distance(x, y))), strict=True
    ):
        assert np.allclose(e, a @ scipy.linalg.expm(np.linalg.solve(a, w)), rtol=1e-12, atol=1e-12)
        assert np.allclose(log, a @ scipy.linalg.logm(np.linalg.solve(a, b)), rtol=1e-11, atol=1e-11)
        assert np.isclose(d, (np.log(scipy.linalg.eigvalsh(b, a)) ** 2).sum(), rtol=1e-12, atol=1e-12)


@sizes
@every_map
def test_derivatives_are_those_of_the_composition(n, name, monkeypatch):
    found = []
    for batch in (1, 1 << 40):
        monkeypatch.setattr(manifoldnet.linalg.kernel, "MEDIUM_BATCH", batch)
        leaves = [v.requires_grad_() for v in arguments(name, 20, n)]
        value = MAPS[name](*leaves)
        weights = torch.randn(value.shape, dtype=F64, generator=rng(4))
        found.append(torch.autograd.grad((weights * value).sum(), leaves))
    for kernel, composition in zip(*found, strict=True):
        assert (kernel - composition).abs().max() < 1e-11 * composition.abs().max()


@sizes
@every_map
@pytest.mark.usefixtures("closed_form")
def test_derivatives_match_differences(n, name):
    inputs = tuple(v[1:4].clone().requires_grad_() for v in arguments(name, 6, n))

    def f(x, y):
        return MAPS[name](sym(x), sym(y))

    assert gradcheck(f, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, inputs, fast_mode=True)


@every_map
@pytest.mark.usefixtures("closed_form")
def test_batches_broadcast_and_transform(name):
    x, y = arguments(name, 6, 3)
    f = MAPS[name]
    assert torch.allclose(f(x[:, None], y[None, :4])[2, 3], f(x[2], y[3]), rtol=1e-13, atol=1e-13)
    assert torch.allclose(torch.vmap(f)(x, y), f(x, y), rtol=1e-13, atol=1e-13)
    leaf = y.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(f(x, leaf).sum(), leaf)
    pulled = torch.vmap(torch.func.grad(lambda a, b: f(a, b).sum(), argnums=1))(x, y)
    assert torch.allclose(pulled, wanted, rtol=1e-12, atol=1e-12)
    assert f(x[:0], y[:0]).shape[0] == 0


@pytest.mark.parametrize("fixture", ["closed_form", "lapack"])
def test_a_matrix_that_is_not_positive_gives_nan_and_not_an_error(fixture, request):
    request.getfixturevalue(fixture)
    x, y = (v[4:] for v in arguments("log", 7, 3))
    x[1] -= 100 * torch.eye(3, dtype=F64)
    for f in MAPS.values():
        value = f(x, y)
        assert value[1].isnan().all()
        assert value[[0, 2]].isfinite().all()


def test_small_units_lose_no_digits():
    x, y = arguments("log", 600, 3)
    d2 = affine_squared_distance(x, y)
    assert torch.allclose(affine_squared_distance(1e-12 * x, 1e-12 * y), d2, rtol=1e-12, atol=1e-12)
    single = affine_squared_distance((1e-12 * x).float(), (1e-12 * y).float())
    assert (single.double() - d2).abs().max() < 2e-4 * d2.max()
