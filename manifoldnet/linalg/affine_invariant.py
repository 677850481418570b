"""Exponential, logarithm and distance of the affine-invariant metric, each one kernel with its derivative.

With x = L L', W = L^-1 y L^-T = V diag(l) V', P = L V and Q = L^-T V, the logarithm is P diag(log l) P', the distance
the norm of log l. All three maps F are equivariant, F(G x G', G y G') = G F(x, y) G', so that the derivative in x
follows from that in y: both are Q (weights o P'GP) Q' for a cotangent G, and no gradient passes through the
Cholesky factor or through eigenvectors.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.divided_differences import Exp, Log
from manifoldnet.linalg.eigen import eigen_grid
from manifoldnet.linalg.fused import Fused
from manifoldnet.linalg.general import cholesky, eigh
from manifoldnet.linalg.kernel import Kernel
from manifoldnet.linalg.rows import (
    Entries,
    Grid,
    as_symmetric,
    congruence,
    entrywise,
    flatten,
    scaled_congruence,
    transpose,
)
from manifoldnet.linalg.spectral import difference_grid
from manifoldnet.linalg.symmetric import sym, sym_dlogm, sym_expm, sym_logm


def whiten(factor: Tensor, y: Tensor) -> Tensor:
    """L^-1 y L^-T for symmetric y and lower triangular L."""
    half = torch.linalg.solve_triangular(factor, y, upper=False)
    return sym(torch.linalg.solve_triangular(factor, half.mT, upper=False))


def _exp_reference(x: Tensor, u: Tensor) -> Tensor:
    factor = cholesky(sym(x))
    return sym(factor @ sym_expm(whiten(factor, sym(u))) @ factor.mT)


def _log_reference(x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(sym(x))
    return sym(factor @ sym_logm(whiten(factor, sym(y))) @ factor.mT)


def _squared_distance_reference(x: Tensor, y: Tensor) -> Tensor:
    function = _SquaredLogNorm if torch.compiler.is_compiling() else _ForwardSquaredLogNorm
    return function.apply(whiten(cholesky(sym(x)), sym(y)))


class _SquaredLogNorm(torch.autograd.Function):
    """A -> |log A|^2 from eigenvalues alone; its gradient 2 A^-1 log A needs no eigenvalue gaps."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        return eigh(a)[0].log().square().sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return g[..., None, None] * _gradient(a)


# torch.compile traces no function that has a forward-mode rule
class _ForwardSquaredLogNorm(_SquaredLogNorm):
    @staticmethod
    def jvp(ctx: Any, da: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return (_gradient(a) * da).sum((-1, -2))


def _gradient(a: Tensor) -> Tensor:
    # not by torch.linalg.solve, whose forward derivative is NaN under vmap for some sizes of batch (torch 2.13)
    return 2 * sym_dlogm(a, sym_logm(a))


def _cholesky_grid(a: Grid) -> tuple[Grid, Grid]:
    """Rows L[i][: i + 1] of the Cholesky factor of a and of its inverse."""
    n = len(a)
    factor: Grid = []
    inverse: Grid = []
    for i in range(n):
        row: list[Tensor] = []
        for j in range(i):
            entry = a[i][j]
            for k in range(j):
                entry = entry - row[k] * factor[j][k]
            row.append(entry * inverse[j][j])
        pivot = a[i][i]
        for entry in row:
            pivot = pivot - entry * entry
        diagonal = pivot.sqrt()
        factor.append([*row, diagonal])
        reciprocal = 1 / diagonal
        inverse.append([])
        for j in range(i):
            entry = row[j] * inverse[j][j]
            for k in range(j + 1, i):
                entry = entry + row[k] * inverse[k][j]
            inverse[i].append(-entry * reciprocal)
        inverse[i].append(reciprocal)
    return factor, inverse


def _whitened(inverse: Grid, y: Grid) -> Grid:
    """L^-1 y L^-T."""
    n = len(y)
    half = [[_dot(inverse[i], [y[k][j] for k in range(i + 1)]) for j in range(n)] for i in range(n)]
    grid: Grid = [[half[0][0]] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            grid[i][j] = grid[j][i] = _dot(inverse[j], half[i][: j + 1])
    return grid


def _frames(x: Entries, y: Entries) -> tuple[list[Tensor], Grid, Grid]:
    """l, P and Q of the module's docstring."""
    n = len(as_symmetric(x))
    factor, inverse = _cholesky_grid(as_symmetric(x))
    values, v = eigen_grid(_whitened(inverse, as_symmetric(y)))
    p = [[_dot(factor[i], [v[m][k] for m in range(i + 1)]) for k in range(n)] for i in range(n)]
    q = [
        [_dot([inverse[m][i] for m in range(i, n)], [v[m][k] for m in range(i, n)]) for k in range(n)] for i in range(n)
    ]
    return values, p, q


def _exp_entries(x: Entries, u: Entries) -> tuple[Entries]:
    values, p, _ = _frames(x, u)
    return (flatten(scaled_congruence(p, [w.exp() for w in values])),)


def _log_entries(x: Entries, y: Entries) -> tuple[Entries]:
    values, p, _ = _frames(x, y)
    return (flatten(scaled_congruence(p, [w.log() for w in values])),)


def _squared_distance_entries(x: Entries, y: Entries) -> tuple[Entries]:
    _, inverse = _cholesky_grid(as_symmetric(x))
    values, _ = eigen_grid(_whitened(inverse, as_symmetric(y)))
    logs = [w.log() for w in values]
    return ([_dot(logs, logs)],)


def _exp_vjp(g: Entries, x: Entries, u: Entries) -> tuple[Entries, Entries]:
    values, p, q = _frames(x, u)
    return _pulled(g, p, q, [w.exp() for w in values], difference_grid(Exp(), values), values)


def _log_vjp(g: Entries, x: Entries, y: Entries) -> tuple[Entries, Entries]:
    values, p, q = _frames(x, y)
    return _pulled(g, p, q, [w.log() for w in values], difference_grid(Log(), values), values)


def _pulled(
    g: Entries, p: Grid, q: Grid, images: list[Tensor], differences: Grid, values: list[Tensor]
) -> tuple[Entries, Entries]:
    """Cotangents of x and y for F(x, y) = P f(l) P'.

    Their weights are (f_i + f_j - (l_i + l_j) f[l_i, l_j]) / 2 and f[l_i, l_j].
    """
    n = len(values)
    inner = congruence(transpose(p), as_symmetric(g))
    grid: Grid = [[values[0]] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            sums = images[i] + images[j] - (values[i] + values[j]) * differences[i][j]
            grid[i][j] = grid[j][i] = 0.5 * sums
    return flatten(congruence(q, entrywise(grid, inner))), flatten(congruence(q, entrywise(differences, inner)))


def _squared_distance_vjp(g: Entries, x: Entries, y: Entries) -> tuple[Entries, Entries]:
    values, _, q = _frames(x, y)
    slopes = [2 * g[0] * w.log() for w in values]
    grad_y = scaled_congruence(q, [s / w for s, w in zip(slopes, values, strict=True)])
    return flatten(scaled_congruence(q, [-s for s in slopes])), flatten(grad_y)


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total


_EXP = Fused(_exp_reference, Kernel(_exp_entries), Kernel(_exp_vjp), (2, 2), 2)
_LOG = Fused(_log_reference, Kernel(_log_entries), Kernel(_log_vjp), (2, 2), 2)
_SQUARED_DISTANCE = Fused(
    _squared_distance_reference, Kernel(_squared_distance_entries), Kernel(_squared_distance_vjp), (2, 2), 0
)


def affine_exp(x: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """x^(1/2) exp(x^(-1/2) u x^(-1/2)) x^(1/2) for SPD x and symmetric u (Pennec, Fillard and Ayache 2006)."""
    return _EXP(x, u)


def affine_log(x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
    """x^(1/2) log(x^(-1/2) y x^(-1/2)) x^(1/2) for SPD x and y; NaN where one of them is not positive definite."""
    return _LOG(x, y)


def affine_squared_distance(x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "..."]:
    """|log(x^(-1/2) y x^(-1/2))|^2 for SPD x and y, shape of the batch; smooth at x = y."""
    return _SQUARED_DISTANCE(x, y)
