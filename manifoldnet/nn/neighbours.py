"""Voxels and their neighbours at fixed offsets, for all voxels of a volume or for some."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn import functional


class Everywhere(NamedTuple):
    """All voxels of volumes (b, c, x, y, z) and their neighbours at ``offsets``, as views: what training needs."""

    offsets: Sequence[tuple[int, int, int]]

    def own(self, x: Shaped[Tensor, "b c x y z"]) -> Shaped[Tensor, "b c x y z"]:
        """The values of ``x``."""
        return x

    def near(self, x: Shaped[Tensor, "b c x y z"]) -> list[Shaped[Tensor, "b c x y z"]]:
        """For each offset the values of ``x`` there, 0 outside the volume."""
        return shifted(x, self.offsets)

    def inside(self, mask: Bool[Tensor, "b 1 x y z"]) -> list[Bool[Tensor, "b 1 x y z"]]:
        """For each offset whether it leads to a voxel of the mask."""
        return shifted(mask, self.offsets)


class Chosen:
    """Some voxels of volumes, as volumes (1, c, n, 1, 1), and their neighbours.

    Args:
        voxels: their indices in volumes flattened to (b x y z).
        shape: b, x, y and z.
        offsets: to the neighbours.
    """

    def __init__(
        self, voxels: Int[Tensor, " n"], shape: tuple[int, ...], offsets: Sequence[tuple[int, int, int]]
    ) -> None:
        volume, *places = torch.unravel_index(voxels, shape)
        steps = torch.tensor(offsets, device=voxels.device)
        index, self.within = volume, torch.ones(len(offsets), len(voxels), dtype=torch.bool, device=voxels.device)
        for place, step, size in zip(places, steps.mT, shape[1:], strict=True):
            there = place + step[:, None]
            index = index * size + there.clamp(0, size - 1)
            self.within &= (there >= 0) & (there < size)
        self.voxels, self.neighbours = voxels, index

    def own(self, x: Shaped[Tensor, "b c x y z"]) -> Shaped[Tensor, "1 c n 1 1"]:
        """The values of ``x``."""
        return x.movedim(1, 0).flatten(1).index_select(1, self.voxels)[None, :, :, None, None]

    def near(self, x: Shaped[Tensor, "b c x y z"]) -> list[Shaped[Tensor, "1 c n 1 1"]]:
        """For each offset the values of ``x`` there, some other value of it outside the volume."""
        found = x.movedim(1, 0).flatten(1).index_select(1, self.neighbours.flatten())
        return list(found.unflatten(1, self.neighbours.shape)[None, ..., None, None].unbind(2))

    def inside(self, mask: Bool[Tensor, "b 1 x y z"]) -> list[Bool[Tensor, "1 1 n 1 1"]]:
        """For each offset whether it leads to a voxel of the mask."""
        return list((mask.flatten()[self.neighbours] & self.within)[:, None, None, :, None, None].unbind())


def neighbourhood(radius2: int) -> list[tuple[int, int, int]]:
    """Integer offsets o with |o|^2 <= radius2, the zero offset first."""
    reach = range(-math.isqrt(radius2), math.isqrt(radius2) + 1)
    lengths = {(i, j, k): i * i + j * j + k * k for i, j, k in itertools.product(reach, reach, reach)}
    return sorted((offset for offset in lengths if lengths[offset] <= radius2), key=lambda offset: lengths[offset])


def shifted(x: Shaped[Tensor, "b c x y z"], offsets: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """For each offset the volume whose value at p is x[p + offset], 0 outside; views of one copy."""
    reach = max(abs(o) for offset in offsets for o in offset)
    padded = functional.pad(x, [reach] * 6)
    nx, ny, nz = x.shape[-3:]
    starts = [[reach + o for o in offset] for offset in offsets]
    return [padded[..., i : i + nx, j : j + ny, k : k + nz] for i, j, k in starts]
