"""What the tensors round a voxel tell whatever the parameters of the network that averages them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from manifoldnet.nn.isotropic_function import TINY
from manifoldnet.nn.neighbours import Chosen, Everywhere


class Surroundings(NamedTuple):
    """What is known of the neighbours j = i + o of voxels i; lists over kinds of tensors of lists over offsets o.

    Attributes:
        voxels: the voxels i, which say what shape each of these has: as a volume or as a column.
        kinds: logarithms L, one a kind.
        values: L_j.
        squares: |L_j - L_i|^2.
        fibres: o'(A_i + A_j) o / |o|^2, A being the mean traceless part of L over 3 x 3 x 3 voxels.
        inside: whether j is in the mask; one list for all kinds.
    """

    voxels: Everywhere | Chosen
    kinds: list[Tensor]
    values: list[list[Tensor]]
    squares: list[list[Tensor]]
    fibres: list[list[Tensor]]
    inside: list[Tensor]


def surroundings(
    voxels: Everywhere | Chosen,
    kinds: Sequence[Float[Tensor, "b 12 x y z"]],
    mask: Bool[Tensor, "b 1 x y z"],
    axes: Float[Tensor, "n 6"],
) -> Surroundings:
    """What is known round some voxels of volumes of L and A; ``axes`` are the coordinates of o o' / |o|^2, see
    :func:`~manifoldnet.linalg.sym_to_vector`."""
    own, values, squares, fibres = [], [], [], []
    for kind in kinds:
        here, near = voxels.own(kind), voxels.near(kind)
        own.append(here[:, :6])
        values.append([there[:, :6] for there in near])
        squares.append([(value - own[-1]).square().sum(1, keepdim=True) for value in values[-1]])
        sums = (here[:, 6:] + there[:, 6:] for there in near)
        fibres.append(
            [torch.einsum("bcxyz,c->bxyz", both, axis)[:, None] for both, axis in zip(sums, axes, strict=True)]
        )
    return Surroundings(voxels, own, values, squares, fibres, voxels.inside(mask))


def local_mean(x: Float[Tensor, "b c x y z"], mask: Bool[Tensor, "b 1 x y z"]) -> Float[Tensor, "b c x y z"]:
    """Means over the voxels of the mask among the 3 x 3 x 3 round each."""
    inside = mask.to(x.dtype)
    return functional.avg_pool3d(x * inside, 3, 1, 1) / functional.avg_pool3d(inside, 3, 1, 1).clamp_min(TINY)
