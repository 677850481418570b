"""Functions of square matrices of any size."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def expm(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Matrix exponential of square x."""
    # of one float64 matrix with a norm between 0.003 and 0.05 torch 2.13 gets the tenth digit wrong, of two it does
    # not; and it fails on expanded tensors, such as one generator for a whole batch
    if x.shape[:-2].numel() == 1:
        return torch.linalg.matrix_exp(torch.stack([x, x]))[0]
    return torch.linalg.matrix_exp(x.contiguous())


def cholesky(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Lower triangular L with L L' = x for symmetric positive definite x; NaN for any other x, not an error.

    So that a forward pass neither waits for a GPU nor branches on data.
    """
    factor, failed = torch.linalg.cholesky_ex(x)
    return torch.where(failed[..., None, None] == 0, factor, torch.nan)


def eigh(x: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n n"]]:
    """Eigenvalues (ascending) and eigenvectors of symmetric x by LAPACK; a matrix with NaN gives NaN, not an error."""
    finite = x.isfinite().all(-1).all(-1)[..., None]
    values, vectors = torch.linalg.eigh(torch.where(finite[..., None], x, 0.0))
    return torch.where(finite, values, torch.nan), vectors
