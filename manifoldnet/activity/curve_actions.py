"""Groups that act on curves in SO(3)^k x R^m, batch by batch, to enlarge the data that a network is trained on."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.activity.lie_network import Curves
from manifoldnet.activity.windows import MIRROR
from manifoldnet.manifolds import SO3


def mirrored(curves: Curves, which: Bool[Tensor, "batch"], places: Tensor | None = None) -> Curves:
    """The curves of the mirrored body, x -> -x, where ``which`` says so.

    Velocities of rotation are axial vectors, the others polar ones, and R becomes M R M, M = diag(-1, 1, 1).

    Args:
        places: (k,) the factor that takes each one's place in the mirror; itself when None.
    """
    signs = torch.as_tensor(MIRROR, dtype=curves.velocity.dtype)
    axial, polar = signs[:3], signs[3:]
    velocity = curves.velocity.unflatten(-1, (-1, 3))
    attitude = curves.attitude
    if places is not None:
        velocity, attitude = velocity[:, :, places], attitude[:, :, places]
    reflected = (
        (velocity * axial).flatten(-2),
        (curves.vector.unflatten(-1, (-1, 3)) * polar).flatten(-2),
        attitude * polar[:, None] * polar,
    )
    return Curves(
        *(
            torch.where(which.view(-1, *(1,) * (old.dim() - 1)), new, old)
            for new, old in zip(reflected, curves, strict=True)
        )
    )


def remounted(curves: Curves, rotations: Float[Tensor, "batch 3 3"]) -> Curves:
    """What sensors that are turned by Q on their body would have measured: vectors Q v and attitudes Q R Q'."""
    Q = rotations[:, None]

    def turned(vectors: Tensor) -> Tensor:
        return (vectors.unflatten(-1, (-1, 3)) @ Q.mT).flatten(-2)

    attitude = Q[:, None] @ curves.attitude @ Q[:, None].mT
    return Curves(turned(curves.velocity), turned(curves.vector), attitude)


def warped(curves: Curves, place: Float[Tensor, "batch t"], speed: Float[Tensor, "batch t"]) -> Curves:
    """The curves run through otherwise: body velocities phi' v o phi, the rest o phi.

    Args:
        place: phi at the middles of the cells, in cells from the first one's.
        speed: phi' there.
    """
    last = curves.velocity.shape[1] - 1
    place = place.clamp(0, last)
    before = place.floor().clamp(max=last - 1)
    index, part = before.long()[..., None], (place - before)[..., None]

    def between(x: Tensor) -> Tensor:
        return torch.lerp(torch.take_along_dim(x, index, 1), torch.take_along_dim(x, index + 1, 1), part)

    # the nearest sample stays a rotation
    nearest = place.round().long()[..., None, None, None]
    attitude = torch.take_along_dim(curves.attitude, nearest, 1)
    return Curves(between(curves.velocity) * speed[..., None], between(curves.vector), attitude)


def acted_on(
    curves: Curves, mounting: float | int, shortest: float | int, unevenness: float | int, generator: torch.Generator
) -> Curves:
    """Curves under random elements of the groups.

    Args:
        mounting: standard deviation in rad of the rotation vector that turns a sensor.
        shortest: a random part of the curve is taken, of at least this share of its time.
        unevenness: bound, below 1, of the relative change of speed within it.
        generator: of all of it.
    """
    n, t = curves.velocity.shape[:2]

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator)

    curves = remounted(curves, SO3().exp(mounting * torch.randn(n, 3, generator=generator)))
    u = (torch.arange(t) + 0.5) / t
    bend = unevenness * (uniform(n, 2, 1) - 0.5)  # two half waves: the sum of both stays below the bound
    waves = torch.tensor([1.0, 2.0])[:, None] * math.pi
    phi = u + (bend * (waves * u).sin() / waves).sum(1)
    slope = 1 + (bend * (waves * u).cos()).sum(1)
    share = shortest + (1 - shortest) * uniform(n, 1)
    start = (1 - share) * uniform(n, 1)
    return warped(curves, (start + share * phi) * t - 0.5, share * slope)
