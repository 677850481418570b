"""The dual of a Lie algebra with its Lie-Poisson structure."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.adjoint_actions import CoadjointAction
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.group import Group


class LiePoisson(Euclidean):
    """Momenta m of shape (..., dim) in the dual of a group's algebra, moved by the coadjoint action.

    The pairing <m, v> with the algebra is the sum of products of coordinates. With a Hamiltonian H the motion is
    m' = coad(-dH(m), m), so that <m', v> = <m, [dH(m), v]>: its generator is -dH(m). On SO3 this is m' = m x dH(m),
    Euler's equations of the rigid body in its own frame (Marsden and Ratiu 1999, section 10.7 with the minus sign).
    Motions stay on coadjoint orbits and keep every Casimir. Distances and tangent vectors are those of R^dim.

    Args:
        group: a Lie group whose dimension is known.

    Raises:
        ValueError: if it is not.
    """

    def __init__(self, group: Group) -> None:
        if group.dim is None:
            raise ValueError("group: wanted a group of known dimension, such as Euclidean(1, shape=(3,)) or SO3()")
        super().__init__(1, shape=(group.dim,))
        self.acting = group
        self.name = f"LiePoisson({type(group).__name__})"

    @property
    def action(self) -> Action:
        return CoadjointAction(self.acting)

    def lift(self, y: Float[Tensor, "*batch d"], tangent: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The shortest generator of a tangent of the orbit."""
        return self.action.lift(y, tangent)
