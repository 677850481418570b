"""Functions of symmetric matrices: spectral functions, eigenvectors, orthonormal coordinates."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.divided_differences import Exp, Log, Power, SpectralFunction
from manifoldnet.linalg.eigen import eigen_grid
from manifoldnet.linalg.general import eigh
from manifoldnet.linalg.kernel import Kernel, closed_form_pays
from manifoldnet.linalg.rows import Entries, as_symmetric, to_rows
from manifoldnet.linalg.spectral import spectral_derivative


def sym(a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Symmetric part (a + a') / 2."""
    return 0.5 * (a + a.mT)


def sym_function(x: Float[Tensor, "*batch n n"], f: SpectralFunction) -> Float[Tensor, "*batch n n"]:
    """f(x) of symmetric x for any function that brings its divided differences; differentiable to every order.

    Here and in the functions below only the symmetric part of x counts, and gradients are symmetric.
    """
    return spectral_derivative(x, x.new_empty(0, *x.shape), f)


def sym_logm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix logarithm of symmetric positive definite x; NaN where x has a negative eigenvalue."""
    return sym_function(x, Log())


def sym_expm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix exponential of symmetric x."""
    return sym_function(x, Exp())


def sym_powm(x: Float[Tensor, "*batch n n"], p: float) -> Float[Tensor, "*batch n n"]:
    """x^p of symmetric positive definite x for real p."""
    return sym_function(x, Power(p))


def sym_sqrtm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric positive definite square root of symmetric positive definite x."""
    return sym_powm(x, 0.5)


def sym_dlogm(x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """Derivative of the matrix logarithm at SPD x in the symmetric direction u."""
    return spectral_derivative(x, u[None], Log())


def sym_dexpm(x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """Derivative of the matrix exponential at symmetric x in the symmetric direction u."""
    return spectral_derivative(x, u[None], Exp())


class _Eigh(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> tuple[Tensor, Tensor]:
        if a.shape[-1] in (2, 3) and closed_form_pays(a.shape[:-2], a):
            values, vectors = _EIGH(to_rows(a))
            return values.view(a.shape[:-1]), vectors.view(a.shape)
        return eigh(sym(a))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, g_values: Tensor, g_vectors: Tensor) -> Tensor:
        values, v = ctx.saved_tensors
        gap = values[..., None, :] - values[..., :, None]
        apart = gap != 0
        turning = torch.where(apart, v.mT @ g_vectors / torch.where(apart, gap, 1.0), 0.0)
        return sym(v @ (turning + torch.diag_embed(g_values)) @ v.mT)


class _ForwardEigh(_Eigh):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def jvp(ctx: Any, da: Tensor) -> tuple[Tensor, Tensor]:
        values, v = ctx.saved_tensors
        inner = v.mT @ sym(da) @ v
        gap = values[..., None, :] - values[..., :, None]
        apart = gap != 0
        turning = torch.where(apart, inner / torch.where(apart, gap, 1.0), 0.0)
        return inner.diagonal(dim1=-2, dim2=-1).clone(), v @ turning


def _eigh_entries(a: Entries) -> tuple[Entries, Entries]:
    values, v = eigen_grid(as_symmetric(a))
    n = len(values)
    pairs = [(values[k], [row[k] for row in v]) for k in range(n)]
    # a sorting network: exchanges of neighbours
    for i, j in ((0, 1), (1, 2), (0, 1)) if n == 3 else ((0, 1),):
        (x, p), (y, q) = pairs[i], pairs[j]
        swap = x > y
        pairs[i] = torch.where(swap, y, x), [torch.where(swap, b, a) for a, b in zip(p, q, strict=True)]
        pairs[j] = torch.where(swap, x, y), [torch.where(swap, a, b) for a, b in zip(p, q, strict=True)]
    return [value for value, _ in pairs], [pairs[k][1][i] for i in range(n) for k in range(n)]


_EIGH = Kernel(_eigh_entries)


def sym_eigh(x: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n n"]]:
    """Eigenvalues in ascending order and orthonormal eigenvectors (columns) of symmetric x.

    For n = 2 and 3 large batches are solved in closed form, several times faster than by LAPACK. Eigenvectors of
    equal eigenvalues are not differentiable: there their derivative is taken to be 0 within the eigenspace, so that
    no gradient is infinite. Functions of x that do not depend on the choice of eigenvectors are better differentiated
    by :func:`sym_function`.
    """
    function = _Eigh if torch.compiler.is_compiling() else _ForwardEigh
    values, vectors = function.apply(x)
    return values, vectors


def _lower(n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = torch.tril_indices(n, n, device=like.device)
    weights = torch.where(rows == columns, 1.0, like.new_tensor(math.sqrt(2.0)))  # of two numbers where makes float32
    return rows, columns, weights


def sym_to_vector(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
    """Coordinates (d = n(n+1)/2, lower triangle by rows) in the orthonormal basis: |vector| = Frobenius norm."""
    rows, columns, weights = _lower(x.shape[-1], x)
    return x[..., rows, columns] * weights


def sym_from_vector(v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
    """Inverse of :func:`sym_to_vector`.

    Raises:
        ValueError: if the last dimension is not n(n+1)/2 for any n.
    """
    d = v.shape[-1]
    n = (math.isqrt(8 * d + 1) - 1) // 2
    if n * (n + 1) // 2 != d:
        raise ValueError(f"v: the last dimension must be n(n+1)/2 for some n, got shape {tuple(v.shape)}")
    rows, columns, weights = _lower(n, v)
    index = torch.zeros(n, n, dtype=torch.long, device=v.device)
    index[rows, columns] = index[columns, rows] = torch.arange(d, device=v.device)
    return (v / weights)[..., index.flatten()].unflatten(-1, (n, n))
