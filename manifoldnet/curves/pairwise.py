"""All elastic distances within a collection of curves, or between two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from manifoldnet.curves.best_path import best_value, solve_pairs
from manifoldnet.curves.dynamic_programming import check_values
from manifoldnet.curves.elastic import check_options, check_transform, distance
from manifoldnet.curves.lattice import check_cells
from manifoldnet.curves.srvt import unit_length
from manifoldnet.errors import InputError

TILE = 64  # curves on a side of the block that one thread does at a time


def pairwise_elastic_distance(
    qs: Float[Tensor, "k n dim"] | Sequence[Float[Tensor, "_n _dim"]],
    others: Float[Tensor, "l m _dim"] | Sequence[Float[Tensor, "_n _dim"]] | None = None,
    slopes: int = 6,
    band: int | float | None = None,
    progress: bool = False,
    *,
    refine: int | None = None,
    scale: str | None = None,
) -> Float[Tensor, "_k _l"]:
    """Matrix of :func:`elastic_distance` between all curves of two collections.

    On the CPU it runs on as many threads as ``torch.get_num_threads()``, in blocks of 64 by 64 curves; memory
    beyond the curves and the matrix does not depend on how many there are. For more curves than one machine takes
    see :func:`manifoldnet.curves.distributed.elastic_distance_array`.

    Args:
        qs: (k, n, dim), or a sequence of k tensors (n_i, dim) of any lengths within the factor ``slopes``.
        others: the same, or None for the distances within ``qs``: a symmetric matrix with zeros on the
            diagonal, for which each pair is computed once.
        slopes, band, refine, scale: as in :func:`elastic_distance`.
        progress: show a bar on the terminal.

    Returns:
        (k, l), without gradient.

    Raises:
        InputError: as :func:`elastic_distance`, or a collection is empty.
    """
    check_options(slopes, band, refine, scale)
    rows = _collection(qs, "qs", None)
    columns = rows if others is None else _collection(others, "others", rows.curves)
    if scale is not None:
        rows, columns = (c._replace(curves=unit_length(c.curves)) for c in (rows, columns))
    worst = [(int(rows.cells.max()), int(columns.cells.min())), (int(rows.cells.min()), int(columns.cells.max()))]
    check_cells(torch.tensor(worst), slopes)
    matrix = rows.curves.new_zeros(len(rows.cells), len(columns.cells))
    norms = [c.curves.square().sum((-2, -1)) for c in (rows, columns)]
    terms = rows.curves.shape[1] + columns.curves.shape[1]
    limit = None if band is None else float(band)
    inference = torch.is_inference_mode_enabled()

    # the mode of the caller, which is another thread
    @torch.inference_mode(inference)
    def fill(pairs: Tensor) -> None:
        i, j = pairs.unbind(1)
        cells = torch.stack([rows.cells[i], columns.cells[j]], 1)
        if matrix.device.type == "cpu":
            product = matrix.new_empty(len(pairs))
            nodes = cells.new_empty(0, 1, 2)
            solve_pairs(
                rows.curves,
                columns.curves,
                rows.cells,
                columns.cells,
                pairs.numpy(),
                slopes,
                limit,
                refine,
                product,
                nodes,
                1,
            )
            check_values(product, cells)
        else:
            product = best_value(rows.curves[i], columns.curves[j], cells, slopes, limit, refine)
        matrix[i, j] = distance(norms[0][i], norms[1][j], product, terms, scale)
        if others is None:
            matrix[j, i] = matrix[i, j]

    blocks = list(_blocks(len(rows.cells), len(columns.cells), others is None))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        work = pool.map(lambda block: fill(_pairs(block, matrix.device)), blocks)
        for _ in track(work, "elastic distances", total=len(blocks), disable=not progress):
            pass
    return matrix


class _Collection(NamedTuple):
    """Curves padded with zeros to one length (curves, cells, dim), and how many cells of each count."""

    curves: Tensor
    cells: Int[Tensor, "curves"]


def _collection(qs: Tensor | Sequence[Tensor], name: str, like: Tensor | None) -> _Collection:
    if isinstance(qs, Tensor):
        if qs.dim() != 3 or not len(qs):
            raise InputError(f"{name}: wanted shape (curves >= 1, cells, dim), got {tuple(qs.shape)}")
        check_transform(qs, name, like)
        curves, cells = qs.detach(), torch.full((len(qs),), qs.shape[1], device=qs.device)
    else:
        if not len(qs):
            raise InputError(f"{name}: wanted at least one curve, got none")
        for k, q in enumerate(qs):
            if q.dim() != 2:
                raise InputError(f"{name}[{k}]: wanted shape (cells, dim), got {tuple(q.shape)}")
            check_transform(q, f"{name}[{k}]", qs[0] if like is None else like)
        curves = torch.nn.utils.rnn.pad_sequence([q.detach() for q in qs], batch_first=True)
        cells = torch.tensor([len(q) for q in qs], device=curves.device)
    if not bool(curves.isfinite().all()):
        raise InputError(f"{name}: wanted finite values, got NaN or infinity")
    return _Collection(curves.contiguous(), cells)


class _Block(NamedTuple):
    """Rows and columns of the matrix, and whether only the pairs above the diagonal are wanted."""

    rows: range
    columns: range
    above: bool


def _blocks(rows: int, columns: int, symmetric: bool) -> Iterator[_Block]:
    for i in range(0, rows, TILE):
        for j in range(i if symmetric else 0, columns, TILE):
            yield _Block(range(i, min(i + TILE, rows)), range(j, min(j + TILE, columns)), symmetric and i == j)


def _pairs(block: _Block, device: torch.device) -> Int[Tensor, "pairs 2"]:
    i, j = (torch.arange(places.start, places.stop, device=device) for places in block[:2])
    pairs = torch.cartesian_prod(i, j)
    return pairs[pairs[:, 0] < pairs[:, 1]] if block.above else pairs
