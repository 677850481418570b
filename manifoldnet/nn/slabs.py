"""Functions of volumes found slab by slab, in pieces that stay in the caches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PIECE = 2**17  # voxels: of 32 channels 16 MiB
# torch leaves convolutions of one volume of up to 20480 / channels by the first two sides to code that is ten times
# slower
SIDES = 1024


def slabwise(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "b c x y z"], reach: int
) -> Float[Tensor, "b d x y z"]:
    """``function(x)``, found for some planes of the first axis at a time.

    Args:
        function: of volumes to volumes of their size, whose values depend on those of planes no further than ``reach``.
        x: volumes.
        reach: in voxels.
    """
    nx, ny, nz = x.shape[2:]
    planes = max(PIECE // (ny * nz), math.ceil(SIDES / ny))
    count = max(1, nx // planes)
    starts = [nx * i // count for i in range(count + 1)]
    parts = []
    for low, high in itertools.pairwise(starts):
        first = max(0, low - reach)
        parts.append(function(x[:, :, first : high + reach])[:, :, low - first : high - first])
    return torch.cat(parts, 2)
