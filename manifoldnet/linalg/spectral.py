"""f(A) of symmetric A and its derivatives of every order, exact also at repeated eigenvalues.

f(A) = V f(L) V' has the derivative V (F o (V'EV)) V' with the divided differences F_ij = f[l_i, l_j]
(Daleckii and Krein 1965); differentiating once more takes f[l_i, l_k, l_j], and so on. Differences of close
eigenvalues are evaluated by formulas or series that do not cancel, so nothing divides by an eigenvalue gap.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, permutations
from typing import Any

import torch
from torch import Tensor

from manifoldnet.linalg.divided_differences import SpectralFunction
from manifoldnet.linalg.eigen import eigen_grid
from manifoldnet.linalg.general import eigh
from manifoldnet.linalg.kernel import Kernel, closed_form_pays
from manifoldnet.linalg.rows import (
    Entries,
    Grid,
    as_symmetric,
    congruence,
    entrywise,
    flatten,
    scaled_congruence,
    to_rows,
    transpose,
)


def spectral_derivative(a: Tensor, e: Tensor, f: SpectralFunction) -> Tensor:
    """(A, E) -> D^k f(A)[E_1, ..., E_k] for E of shape (k, ..., n, n), which is f(A) for k = 0; batches broadcast."""
    # torch.compile traces no function that has a forward-mode rule
    function = _Derivative if torch.compiler.is_compiling() else _ForwardDerivative
    return function.apply(a, e, f)


class _Derivative(torch.autograd.Function):
    """The form (G, E_1, ..., E_k) -> <G, D^k f(A)[E_1, ..., E_k]> is symmetric, because f(A) is itself a gradient.

    So the derivatives of this function are the same function with G among the directions, to every order.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, e: Tensor, f: SpectralFunction) -> Tensor:
        k = e.shape[0]
        batch = torch.broadcast_shapes(a.shape[:-2], e.shape[1:-2]) if k else a.shape[:-2]
        if k < 2 and a.shape[-1] in (2, 3) and closed_form_pays(batch, a):
            shape = (*batch, *a.shape[-2:])
            rows = [to_rows(matrix.expand(shape)) for matrix in (a, *_with_batch(e, len(shape)).unbind(0))]
            return _kernel(f, k)(*rows)[0].view(shape)
        values, v = eigh(0.5 * (a + a.mT))
        nodes = [values[(..., *[None] * i, slice(None), *[None] * (k - i))] for i in range(k + 1)]
        weights = f.divided_difference(nodes)
        if k == 0:
            return (v * weights[..., None, :]) @ v.mT
        e = _with_batch(e, len(batch) + 2)
        directions = (v.mT @ (0.5 * (e + e.mT)) @ v).unbind(0)
        if k == 1:
            return v @ (weights * directions[0]) @ v.mT
        letters = "ijklmnopq"[: k + 1]
        factors = ",".join(f"...{p}{q}" for p, q in pairwise(letters))
        product = f"...{letters},{factors}->...{letters[0]}{letters[-1]}"
        terms = [torch.einsum(product, weights, *order) for order in permutations(directions)]
        return v @ sum(terms[1:], terms[0]) @ v.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, e, ctx.f = inputs
        ctx.save_for_backward(a, e)
        ctx.save_for_forward(a, e)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, e = ctx.saved_tensors
        grad_a = _one_more(a, e, g, ctx.f).sum_to_size(a.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_a, None, None
        return grad_a, torch.stack([_one_more(a, rest, g, ctx.f) for rest in _leave_out(e)]).sum_to_size(e.shape), None


class _ForwardDerivative(_Derivative):
    @staticmethod
    def jvp(ctx: Any, da: Tensor | None, de: Tensor | None, _: None) -> Tensor:
        a, e = ctx.saved_tensors
        terms = [] if da is None else [_one_more(a, e, da, ctx.f)]
        if de is not None:
            terms += [_one_more(a, rest, d, ctx.f) for rest, d in zip(_leave_out(e), de.unbind(0), strict=True)]
        return sum(terms[1:], terms[0])


def _one_more(a: Tensor, e: Tensor, g: Tensor, f: SpectralFunction) -> Tensor:
    shape = torch.broadcast_shapes(g.shape, e.shape[1:])
    return spectral_derivative(a, torch.cat([_with_batch(e, len(shape)).expand(-1, *shape), g.expand(1, *shape)]), f)


def _with_batch(e: Tensor, dims: int) -> Tensor:
    """Directions (k, ..., n, n) as (k, 1, ..., n, n), each with ``dims`` dimensions, so that batches align."""
    return e[(slice(None), *[None] * (dims - e.dim() + 1))]


def _leave_out(e: Tensor) -> list[Tensor]:
    return [torch.cat([e[:i], e[i + 1 :]]) for i in range(len(e))]


def difference_grid(f: SpectralFunction, values: list[Tensor]) -> Grid:
    """The symmetric matrix of f[l_i, l_j]."""
    n = len(values)
    grid: Grid = [[values[0]] * n for _ in range(n)]
    for i in range(n):
        grid[i][i] = f.slope(values[i])
        for j in range(i):
            grid[i][j] = grid[j][i] = f.first(values[i], values[j])
    return grid


@cache
def _kernel(f: SpectralFunction, k: int) -> Kernel:
    def value(a: Entries) -> tuple[Entries]:
        values, v = eigen_grid(as_symmetric(a))
        return (flatten(scaled_congruence(v, [f.value(x) for x in values])),)

    def derivative(a: Entries, e: Entries) -> tuple[Entries]:
        values, v = eigen_grid(as_symmetric(a))
        inner = congruence(transpose(v), as_symmetric(e))
        return (flatten(congruence(v, entrywise(difference_grid(f, values), inner))),)

    return Kernel(derivative if k else value)
