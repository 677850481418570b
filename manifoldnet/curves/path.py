"""Paths through the lattice of two transforms: the cells they cross and the reparametrisation they stand for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Pieces(NamedTuple):
    """Parts of a path inside one cell of the lattice each, padded with parts of weight 0.

    Attributes:
        i, j: (batch, n + m + 1), the cell.
        weight: the same shape, float64; the value of the path is the sum of weight <q0_i, q1_j>.
    """

    i: Int[Tensor, "batch pieces"]
    j: Int[Tensor, "batch pieces"]
    weight: Float[Tensor, "batch pieces"]


def pieces(nodes: Int[Tensor, "batch steps 2"], n: int, m: int) -> Pieces:
    """Cut paths, as :func:`manifoldnet.curves.best_path.best_path` gives them, at the borders of the cells.

    On a piece of the path that is di rows long and dj columns high the integral of sqrt(phi') over q0's time is
    sqrt(di dj). With the pieces held fixed the value of the path has the gradient of the best value (the envelope
    theorem, Danskin 1967), at a tie that of one of the best paths.
    """
    rows, columns = nodes.flip(1).unbind(-1)
    i = torch.cat([_grid(rows, n), interpolated(columns, rows, m)], 1).sort(1).values
    j = torch.cat([interpolated(rows, columns, n), _grid(columns, m)], 1).sort(1).values
    weight = (i.diff(dim=1) * j.diff(dim=1)).sqrt()
    cell_i, cell_j = ((0.5 * (x[:, 1:] + x[:, :-1])).floor().long() for x in (i, j))
    return Pieces(cell_i.clamp(max=n - 1), cell_j.clamp(max=m - 1), weight)


def interpolated(
    x: Int[Tensor, "batch steps"], y: Int[Tensor, "batch steps"], last: int
) -> Float[Tensor, "batch grid"]:
    """y (float64) at x = 0..last on the polygons with ascending nodes (x, y), padded in front with (0, 0).

    Past the last node it stays at the last y.
    """
    grid = _grid(x, last)
    after = torch.searchsorted(x.contiguous(), grid.long()).clamp(min=1)
    x0, x1 = x.gather(1, after - 1), x.gather(1, after)
    y0, y1 = y.gather(1, after - 1), y.gather(1, after)
    # two padding nodes may stand around 0
    return y0 + (grid - x0) * (y1 - y0) / (x1 - x0).clamp(min=1).double()


def _grid(x: Tensor, last: int) -> Tensor:
    return torch.minimum(torch.arange(last + 1, device=x.device), x[:, -1:]).double()
