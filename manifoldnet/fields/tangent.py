"""Vector fields given by tangent vectors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from manifoldnet.manifolds import Space


class TangentField(nn.Module):
    """The generator field t, y -> space.lift(y, f(t, y)) of a tangent field f."""

    def __init__(self, space: Space, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.space = space
        self.f = f

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator in coordinates of the group that acts on the space."""
        return self.space.lift(y, self.f(t, y))


def from_tangent(space: Space, f: Callable[[Tensor, Tensor], Tensor]) -> TangentField:
    """A field for :func:`manifoldnet.odeint` from f(t, y) -> tangent vector at y."""
    return TangentField(space, f)
