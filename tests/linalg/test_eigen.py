"""The closed-form eigenvalues and eigenvectors against 40-digit arithmetic and LAPACK."""

import mpmath
import numpy as np
import pytest
import torch

from manifoldnet.linalg import sym, sym_eigh

pytestmark = pytest.mark.usefixtures("closed_form")
F64 = torch.float64
both = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])
sizes = pytest.mark.parametrize("n", [2, 3])

# eigenvalues of hard cases: repeats, near repeats on either side, one far from the rest, zeros, signs, condition 1e8
SPECTRA = {
    2: [[1, 1], [1, 1 + 1e-14], [1, 1 + 1e-7], [-1, 1], [0, 0], [0, 1], [1e-8, 1], [-3, -3], [1, 5]],
    3: [
        [1, 1, 1],
        [1, 1, 3],
        [1, 3, 3],
        [1, 1 + 1e-14, 3],
        [1, 3, 3 + 1e-12],
        [1, 1 + 1e-8, 1 + 2e-8],
        [1, 1 + 1e-4, 2],
        [-1, 0, 1],
        [0, 0, 0],
        [0, 0, 1],
        [0, 1, 1],
        [1e-8, 1e-4, 1],
        [1e-8, 1, 1],
        [-2, -2, 1],
        [1, 2, 3],
    ],
}


def hard_matrices(n, dtype):
    """Every spectrum with the eigenvectors of the axes, of planes, and of 40 random rotations."""
    generator = torch.Generator().manual_seed(0)
    frames = [torch.eye(n, dtype=F64), torch.eye(n, dtype=F64).flip(0)]
    frames += [torch.linalg.qr(torch.randn(n, n, dtype=F64, generator=generator))[0] for _ in range(40)]
    spectra = torch.tensor(SPECTRA[n], dtype=F64)
    x = torch.stack([(q * spectra[:, None, :]) @ q.T for q in frames])
    return sym(x).flatten(0, 1).to(dtype)


@sizes
@both
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9, 1e-25])
def test_they_decompose_the_matrix(n, dtype, scale):
    x = scale * hard_matrices(n, dtype)
    values, v = sym_eigh(x)
    eps = torch.finfo(dtype).eps
    size = x.abs().amax((-1, -2), keepdim=True)
    assert ((v * values[:, None, :]) @ v.mT - x).abs().le(16 * eps * size).all()
    assert (v.mT @ v - torch.eye(n, dtype=dtype)).abs().max() < 8 * eps
    assert (values.diff(dim=-1) >= 0).all()


@sizes
@both
def test_eigenvalues_agree_with_forty_digits(n, dtype):
    x = hard_matrices(n, dtype)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[:60]]
    values, _ = sym_eigh(x)
    with mpmath.workdps(40):
        for matrix, found in zip(x.double().tolist(), values.double().tolist(), strict=True):
            exact = sorted(mpmath.eigsy(mpmath.matrix(matrix), eigvals_only=True))
            size = max(1e-30, max(abs(t) for t in exact))
            assert max(abs(a - b) for a, b in zip(exact, found, strict=True)) < 8 * torch.finfo(dtype).eps * size


@sizes
def test_they_are_as_good_as_lapacks(n):
    x = hard_matrices(n, F64)
    values, v = sym_eigh(x)
    wanted, w = np.linalg.eigh(x.numpy())
    assert np.abs(values.numpy() - wanted).max() < 4e-15
    ours = ((v * values[:, None, :]) @ v.mT - x).abs().max()
    theirs = np.abs((w * wanted[:, None, :]) @ np.swapaxes(w, 1, 2) - x.numpy()).max()
    assert ours <= 1.5 * theirs


@sizes
def test_nan_stays_where_it_is(n):
    x = hard_matrices(n, F64)
    x[5, 0, 0] = torch.nan
    values, v = sym_eigh(x)
    assert values[5].isnan().all()
    others = torch.arange(len(x)) != 5
    assert values[others].isfinite().all()
    assert v[others].isfinite().all()


def test_one_side_of_an_unsymmetric_matrix_is_not_preferred():
    x = torch.randn(6, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(sym_eigh(x)[0], sym_eigh(x.mT)[0], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_derivatives_match_differences(n):
    x = torch.randn(4, n, n, dtype=F64, generator=torch.Generator().manual_seed(3)).requires_grad_()

    def invariants(x):
        values, v = sym_eigh(x)
        return values, v.square()  # the sign of an eigenvector is free

    assert torch.autograd.gradcheck(invariants, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(invariants, (x,))


def test_gradients_stay_finite_at_equal_eigenvalues():
    x = torch.eye(3, dtype=F64).expand(4, 3, 3).clone().requires_grad_()
    values, v = sym_eigh(x)
    (gradient,) = torch.autograd.grad(values.sum() + v.sum(), x)
    assert torch.allclose(gradient, torch.eye(3, dtype=F64).expand(4, 3, 3))
