"""What the tensors round a voxel tell whatever the parameters of the network that averages them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from manifoldnet.nn.isotropic_function import TINY, trace_and_deviator


class Surroundings(NamedTuple):
    """What is known of the neighbours j = i + o of every voxel i; lists over kinds of tensors of lists over offsets o.

    Attributes:
        kinds: logarithms L (b, 6, x, y, z), one a kind.
        values: L_j.
        squares: |L_j - L_i|^2, (b, 1, x, y, z).
        fibres: o'(A_i + A_j) o / |o|^2, A being the mean traceless part of L over 3 x 3 x 3 voxels.
        inside: whether j is in the mask; one list for all kinds.
    """

    kinds: list[Tensor]
    values: list[list[Tensor]]
    squares: list[list[Tensor]]
    fibres: list[list[Tensor]]
    inside: list[Tensor]


def surroundings(
    kinds: Sequence[Float[Tensor, "b 6 x y z"]],
    mask: Bool[Tensor, "b 1 x y z"],
    offsets: Sequence[tuple[int, int, int]],
    axes: Float[Tensor, "n 6"],
) -> Surroundings:
    """The neighbours at ``offsets``; ``axes`` are the coordinates of o o' / |o|^2, see
    :func:`~manifoldnet.linalg.sym_to_vector`."""
    values, squares, fibres = [], [], []
    for kind in kinds:
        along = trace_and_deviator(local_mean(kind, mask))[1]
        near = shifted(torch.cat([kind, along], 1), offsets)
        values.append([pair[:, :6] for pair in near])
        squares.append([(value - kind).square().sum(1, keepdim=True) for value in values[-1]])
        sums = (along + pair[:, 6:] for pair in near)
        fibres.append(
            [torch.einsum("bcxyz,c->bxyz", both, axis)[:, None] for both, axis in zip(sums, axes, strict=True)]
        )
    inside = [there > 0 for there in shifted(mask.to(kinds[0].dtype), offsets)]
    return Surroundings(list(kinds), values, squares, fibres, inside)


def neighbourhood(radius2: int) -> list[tuple[int, int, int]]:
    """Integer offsets o with |o|^2 <= radius2, the zero offset first."""
    reach = range(-math.isqrt(radius2), math.isqrt(radius2) + 1)
    lengths = {(i, j, k): i * i + j * j + k * k for i, j, k in itertools.product(reach, reach, reach)}
    return sorted((offset for offset in lengths if lengths[offset] <= radius2), key=lambda offset: lengths[offset])


def shifted(x: Float[Tensor, "b c x y z"], offsets: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """For each offset the volume whose value at p is x[p + offset], 0 outside; views of one copy."""
    reach = max(abs(o) for offset in offsets for o in offset)
    padded = functional.pad(x, [reach] * 6)
    nx, ny, nz = x.shape[-3:]
    starts = [[reach + o for o in offset] for offset in offsets]
    return [padded[..., i : i + nx, j : j + ny, k : k + nz] for i, j, k in starts]


def local_mean(x: Float[Tensor, "b c x y z"], mask: Bool[Tensor, "b 1 x y z"]) -> Float[Tensor, "b c x y z"]:
    """Means over the voxels of the mask among the 3 x 3 x 3 round each."""
    inside = mask.to(x.dtype)
    return functional.avg_pool3d(x * inside, 3, 1, 1) / functional.avg_pool3d(inside, 3, 1, 1).clamp_min(TINY)
