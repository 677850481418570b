"""The best reparametrisation of each pair of a batch, as an operator of torch.

On the CPU it comes from the compiled kernel of :mod:`manifoldnet.curves.sweep`, on other devices from the rows of
:mod:`manifoldnet.curves.dynamic_programming`. Both are opaque to torch.compile and have a rule for vmap.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.curves.dynamic_programming import Lattice, blocks, check_pairs, check_values, folded
from manifoldnet.curves.lattice import bounds

CELLS_PER_THREAD = 200_000  # below this many products starting a thread costs more than it saves
# written out: torch cannot read it off functions that the tests have wrapped with type checks
_PAIRS = "(Tensor q0, Tensor q1, Tensor cells, int slopes, float? band, int? refine)"


@torch.library.custom_op("manifoldnet::best_path", mutates_args=(), schema=_PAIRS + " -> (Tensor, Tensor)")
def best_path(
    q0: Tensor, q1: Tensor, cells: Tensor, slopes: int, band: float | None, refine: int | None
) -> tuple[Tensor, Tensor]:
    """The path of largest value for each pair.

    Args:
        q0, q1: (batch, n, dim) and (batch, m, dim).
        cells: (batch, 2), how many cells of each transform count.
        slopes, band, refine: as in elastic_distance.

    Returns:
        The values (batch,), and the nodes (batch, min(n, m) + 1, 2) from the last one back to (0, 0), padded with
        (0, 0). No gradient: see :func:`manifoldnet.curves.path.pieces`.

    Raises:
        InputError: the slopes or the band allow no path, or q0 or q1 is not finite.
    """
    return _best(q0, q1, cells, slopes, band, refine, True)


@best_path.register_fake
def _(q0: Tensor, q1: Tensor, cells: Tensor, slopes: int, band: float | None, refine: int | None) -> Any:
    batch, n, m = len(q0), q0.shape[1], q1.shape[1]
    return q0.new_empty(batch), cells.new_empty(batch, torch.sym_min(n, m) + 1, 2)


@torch.library.custom_op("manifoldnet::best_value", mutates_args=(), schema=_PAIRS + " -> Tensor")
def best_value(q0: Tensor, q1: Tensor, cells: Tensor, slopes: int, band: float | None, refine: int | None) -> Tensor:
    """The values of :func:`best_path` alone; swapping q0 and q1 does not change a bit."""
    return _best(q0, q1, cells, slopes, band, refine, False)[0]


@best_value.register_fake
def _(q0: Tensor, q1: Tensor, cells: Tensor, slopes: int, band: float | None, refine: int | None) -> Any:
    return q0.new_empty(len(q0))


def _best(
    q0: Tensor, q1: Tensor, cells: Tensor, slopes: int, band: float | None, refine: int | None, path: bool
) -> tuple[Tensor, Tensor]:
    check_pairs(q0, q1, cells, slopes)
    values = q0.new_empty(len(q0))
    nodes = cells.new_empty(len(q0) if path else 0, min(q0.shape[1], q1.shape[1]) + 1, 2)
    if q0.device.type == "cpu":
        cells0, cells1 = cells.T.contiguous()
        pairs = np.arange(len(q0)).repeat(2).reshape(-1, 2)
        solve_pairs(q0, q1, cells0, cells1, pairs, slopes, band, refine, values, nodes, torch.get_num_threads())
    else:
        solve_by_rows(q0, q1, cells, slopes, band, values, nodes)
    check_values(values, cells)
    return values, nodes


def solve_by_rows(
    q0: Float[Tensor, "batch n dim"],
    q1: Float[Tensor, "batch m dim"],
    cells: Int[Tensor, "batch 2"],
    slopes: int,
    band: float | None,
    values: Float[Tensor, "batch"],
    nodes: Int[Tensor, "some steps 2"],
) -> None:
    """Fill in the values, and the nodes if there is room for any, on the device of the transforms."""
    first, second, cells, swapped = ordered(q0, q1, cells)
    gram = torch.bmm(first, second.mT)
    for part in blocks(gram, slopes):
        lattice = Lattice(gram[part], cells[part], slopes, True, bounds(cells[part], gram.shape[1], slopes, band))
        table = lattice.sweep(lambda candidates: candidates.amax(0))
        values[part] = table[lattice.ends()]
        if len(nodes):
            path = lattice.backtrack(table)
            nodes[part] = torch.where(swapped[part, None, None], path.flip(-1), path)


def ordered(q0: Tensor, q1: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each pair in an order that does not depend on which came first, and the mask (batch,) of those swapped.

    A sum and that of its transpose need not be rounded alike. In one order the distance is symmetric to the
    last bit, and so is the choice between tied paths. Fewer cells come first, then smaller values.
    """
    n, m = q0.shape[1], q1.shape[1]
    if n != m:
        swapped = torch.full((len(q0),), n > m, device=q0.device)
        return (q1, q0, cells.flip(1), swapped) if n > m else (q0, q1, cells, swapped)
    flat0, flat1 = q0.detach().flatten(1), q1.detach().flatten(1)
    differs = (flat0 != flat1).to(torch.uint8).argmax(1, keepdim=True)
    larger = (flat0.gather(1, differs) > flat1.gather(1, differs)).squeeze(1)
    swapped = torch.where(cells[:, 0] == cells[:, 1], larger, cells[:, 0] > cells[:, 1])
    mask = swapped[:, None, None]
    cells = torch.where(swapped[:, None], cells.flip(1), cells)
    return torch.where(mask, q1, q0), torch.where(mask, q0, q1), cells, swapped


def solve_pairs(
    q0: Float[Tensor, "k n dim"],
    q1: Float[Tensor, "l m dim"],
    cells0: Int[Tensor, "k"],
    cells1: Int[Tensor, "l"],
    pairs: Int[np.ndarray, "pairs 2"],
    slopes: int,
    band: float | None,
    refine: int | None,
    values: Float[Tensor, "pairs"],
    nodes: Int[Tensor, "some steps 2"],
    threads: int,
) -> None:
    """Run the compiled kernel on CPU tensors, on at most so many threads; see :func:`sweep.solve`."""
    from manifoldnet.curves import sweep  # with numba, whose import would delay every command

    curves = q0.detach().contiguous().numpy(), q1.detach().contiguous().numpy()
    counts = cells0.numpy(), cells1.numpy()
    table = sweep.tables(slopes, "float32" if q0.dtype == torch.float32 else "float64")
    limits = -1.0 if band is None else float(band), -1 if refine is None else refine
    value, node = values.numpy(), nodes.numpy()

    def run(part: slice) -> None:
        sweep.solve(*curves, *counts, pairs[part], table, *limits, value[part], node[part])

    work = len(pairs) * q0.shape[1] * q1.shape[1]
    threads = max(1, min(threads, len(pairs), work // CELLS_PER_THREAD))
    parts = [slice(k * len(pairs) // threads, (k + 1) * len(pairs) // threads) for k in range(threads)]
    if threads == 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, parts))


best_path.register_vmap(folded(best_path, 3))
best_value.register_vmap(folded(best_value, 3))
