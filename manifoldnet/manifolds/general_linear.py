"""GL(n), the group that moves SPD(n) by congruence."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from manifoldnet.manifolds.matrix_group import MatrixGroup


class GeneralLinear(MatrixGroup):
    """Invertible n x n matrices; coordinates of the algebra are matrices flattened to (..., n * n).

    Args:
        n: size of the matrices; None reads it off the tensors.
    """

    def __init__(self, n: int | None = None) -> None:
        self.dim = None if n is None else n * n
        self.point_shape = None if n is None else (n, n)

    def hat(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n n"]:
        n = math.isqrt(v.shape[-1])
        if n * n != v.shape[-1]:
            raise ValueError(f"v: the last dimension must be n*n for some n, got shape {tuple(v.shape)}")
        return v.unflatten(-1, (n, n))

    def vee(self, m: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch d"]:
        return m.flatten(-2)
