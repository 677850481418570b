"""Adjoint and coadjoint action: a Lie group acting on its own algebra and on the dual of it, in coordinates."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.group import Group, matrix_of


class AdjointAction(Action):
    """A group acting on its algebra by x.y = Ad(x, y), y in coordinates (..., dim).

    It is not transitive: y stays on its orbit, whose tangent space at y is the image of ad_y.
    """

    def __init__(self, group: Group) -> None:
        self.group = group

    def act(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.group.Ad(x, y)

    def tangent(self, v: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """[v, y]."""
        return self.group.bracket(v, y)

    def lift(self, y: Float[Tensor, "..."], tangent: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The shortest v with [v, y] = tangent, for tangents [w, y] of the orbit.

        Of another tangent the part that is orthogonal to the orbit is left out. As y approaches a point whose orbit
        has a lower dimension (0, or on se(3) a pure translation) the lift grows without bound; there it is finite.
        """
        return _shortest(-matrix_of(self.group.bracket, y), tangent)


class CoadjointAction(Action):
    """A group acting on the dual of its algebra by x.y = coAd(x, y), y in coordinates (..., dim).

    Its orbits carry the Lie-Poisson dynamics y' = coad(dH(y), y), as the angular momentum of a rigid body in space.
    """

    def __init__(self, group: Group) -> None:
        self.group = group

    def act(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.group.coAd(x, y)

    def tangent(self, v: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """coad(v, y)."""
        return self.group.coad(v, y)

    def lift(self, y: Float[Tensor, "..."], tangent: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The shortest v with coad(v, y) = tangent, for tangents of the orbit; see :meth:`AdjointAction.lift`."""
        return _shortest(matrix_of(lambda m, e: self.group.coad(e, m), y), tangent)


def _shortest(matrix: Tensor, tangent: Tensor) -> Tensor:
    """The least-squares solution of least norm of matrix v = tangent."""
    # the matrices are exactly singular: their zero singular values come out as a few rounding errors
    inverse = torch.linalg.pinv(matrix, rtol=10 * matrix.shape[-1] * torch.finfo(matrix.dtype).eps)
    return (inverse @ tangent.unsqueeze(-1)).squeeze(-1)
