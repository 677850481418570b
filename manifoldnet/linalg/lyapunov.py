"""The Lyapunov equation m z + z m = u for symmetric positive definite m, with derivatives of every order.

They stay exact at repeated eigenvalues of m: the derivative of z in the direction (dm, du) solves the same equation
with the right-hand side du - dm z - z dm, so that no gradient passes through eigenvectors.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.eigen import eigen_grid
from manifoldnet.linalg.kernel import Kernel, closed_form_pays
from manifoldnet.linalg.rows import Entries, Grid, as_symmetric, congruence, entrywise, flatten, to_rows, transpose
from manifoldnet.linalg.symmetric import sym


def lyapunov(m: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "..."]:
    """The symmetric z of shape (*batch, n, n) with m z + z m = u for SPD m and symmetric u (Lyapunov 1892).

    In the eigenbasis of m its entries are those of u over sums of eigenvalues (Bhatia, Jain and Lim 2019, section 3).
    """
    m, u = torch.broadcast_tensors(sym(m), sym(u))
    # torch.compile traces no function that has a forward-mode rule
    function = _Solve if torch.compiler.is_compiling() else _ForwardSolve
    return function.apply(m, u)


class _Solve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor, u: Tensor) -> Tensor:
        if m.shape[-1] in (2, 3) and closed_form_pays(m.shape[:-2], m):
            return _KERNEL(to_rows(m), to_rows(u))[0].view(m.shape)
        values, v = torch.linalg.eigh(m)
        return v @ ((v.mT @ u @ v) / (values[..., :, None] + values[..., None, :])) @ v.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        m, z = ctx.saved_tensors
        grad_u = lyapunov(m, g)
        return -2 * sym(grad_u @ z), grad_u


class _ForwardSolve(_Solve):
    @staticmethod
    def jvp(ctx: Any, dm: Tensor | None, du: Tensor | None) -> Tensor:
        m, z = ctx.saved_tensors
        change = torch.zeros_like(z) if du is None else du
        return lyapunov(m, change if dm is None else change - 2 * sym(sym(dm) @ z))


def _solve_entries(m: Entries, u: Entries) -> tuple[Entries]:
    values, v = eigen_grid(as_symmetric(m))
    weights: Grid = [[1 / (a + b) for b in values] for a in values]
    return (flatten(congruence(v, entrywise(weights, congruence(transpose(v), as_symmetric(u))))),)


_KERNEL = Kernel(_solve_entries)
