"""How SO(n) moves vectors, frames and subspaces."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.orthogonal import newton_to_orthogonal
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.special_orthogonal import SO


class RotationOfVectors(Action):
    """SO(n) acting on vectors (..., n) by x.y = x y, transitively on each sphere.

    Args:
        n: number of entries; None reads it off the tensors.
    """

    def __init__(self, n: int | None = None) -> None:
        self.group = SO(n)

    def act(self, x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return (x @ y.unsqueeze(-1)).squeeze(-1)

    def settle(self, y: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """In float32 and below, one Newton step to the unit sphere, for y of length 1."""
        return y * (1.5 - 0.5 * (y * y).sum(-1, keepdim=True)) if torch.finfo(y.dtype).eps > 1e-10 else y

    def tangent(self, v: Float[Tensor, "*#batch d"], y: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return (self.group.hat(v) @ y.unsqueeze(-1)).squeeze(-1)

    def lift(self, y: Float[Tensor, "*#batch n"], tangent: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch d"]:
        """The turn u y' - y u' in the plane of y and u, for y of length 1."""
        outer = tangent.unsqueeze(-1) * y.unsqueeze(-2)
        return self.group.vee(outer - outer.mT)


class RotationOfFrames(Action):
    """SO(n) acting on n x p matrices by x.y = x y, which keeps the inner products of their columns.

    Args:
        n: number of rows; None reads it off the tensors.
    """

    def __init__(self, n: int | None = None) -> None:
        self.group = SO(n)

    def act(self, x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n p"]) -> Float[Tensor, "*#batch n p"]:
        return x @ y

    def settle(self, y: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch n p"]:
        """In float32 and below, one Newton step to orthonormal columns."""
        return newton_to_orthogonal(y) if torch.finfo(y.dtype).eps > 1e-10 else y

    def tangent(self, v: Float[Tensor, "*#batch d"], y: Float[Tensor, "*#batch n p"]) -> Float[Tensor, "*#batch n p"]:
        return self.group.hat(v) @ y

    def lift(
        self, y: Float[Tensor, "*#batch n p"], tangent: Float[Tensor, "*#batch n p"]
    ) -> Float[Tensor, "*#batch d"]:
        """(1 - y y'/2) u y' - y u' (1 - y y'/2) for y with orthonormal columns (Edelman, Arias and Smith 1998)."""
        outer = (tangent - 0.5 * y @ (y.mT @ tangent)) @ y.mT
        return self.group.vee(outer - outer.mT)


class RotationByConjugation(Action):
    """SO(n) acting on symmetric n x n matrices by x.y = x y x', which turns their eigenspaces.

    Args:
        n: size of the matrices; None reads it off the tensors.
    """

    def __init__(self, n: int | None = None) -> None:
        self.group = SO(n)

    def act(self, x: Float[Tensor, "*#batch n n"], y: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
        z = x @ y @ x.mT
        return 0.5 * (z + z.mT)

    def tangent(self, v: Float[Tensor, "*#batch d"], y: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*#batch n n"]:
        w = self.group.hat(v) @ y
        return w + w.mT

    def lift(
        self, y: Float[Tensor, "*#batch n n"], tangent: Float[Tensor, "*#batch n n"]
    ) -> Float[Tensor, "*#batch d"]:
        """The commutator u y - y u, for a projector y (Bendokat, Zimmermann and Absil 2024, section 2)."""
        w = tangent @ y
        return self.group.vee(w - w.mT)
