"""Matrices of elastic distances too large for one machine, as blocks that dask computes wherever it runs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.errors import InputError


def elastic_distance_array(
    qs: Any,
    others: Any = None,
    slopes: int = 6,
    band: int | float | None = None,
    chunk: int = 500,
    *,
    refine: int | None = None,
    scale: str | None = None,
) -> Any:
    """Matrix of elastic distances between all curves of two collections, in lazy blocks.

    A block is one call of :func:`manifoldnet.curves.pairwise_elastic_distance` and depends on two chunks of curves,
    never on a whole collection. Within one collection, a block below the diagonal is the transpose of the one above
    it, which is computed once. Workers use as many torch threads as they are set to; a worker process that dask
    starts with its nanny is set to one. On several cores within one process call ``torch.set_num_threads(1)`` first.

    Curves of a tensor or list travel to the scheduler with the graph. For many, let the workers hold or load them,
    and give the collection as a bag, whose partitions are the chunks::

        from dask import bag, delayed, distributed
        from manifoldnet.curves.distributed import elastic_distance_array

        client = distributed.Client("tcp://scheduler:8786")  # or LocalCluster(threads_per_worker=1)
        chunks = client.scatter([qs[k : k + 500] for k in range(0, len(qs), 500)])
        curves = bag.from_delayed([delayed(chunk) for chunk in chunks])
        distances = elastic_distance_array(curves)
        distances.to_zarr("distances.zarr")  # block by block: the matrix is never in one place

    ``dask.array.store(distances, target)`` writes into whatever takes ``target[rows, columns] = block`` and pickles.
    A numpy memory map will do for threads of one process; other processes would get a copy of it.

    Args:
        qs: (k, n, dim), a sequence of k tensors (n_i, dim) of any lengths within the factor ``slopes``, or a
            ``dask.bag.Bag`` of such tensors. A bag is computed once at once, to count its partitions. Let no partition
            be a list of views into one tensor: each of them is pickled with the whole tensor.
        others: the same, or None for the distances within ``qs``.
        slopes, band, refine, scale: as in :func:`manifoldnet.curves.elastic_distance`.
        chunk: number of curves of a chunk of a tensor or sequence.

    Returns:
        A ``dask.array.Array`` (k, l) with chunks of that many curves, of the dtype of the curves.

    Raises:
        InputError: dask is not installed, chunk is below 1, or a collection is empty; when it is computed, as
            :func:`manifoldnet.curves.pairwise_elastic_distance`.
    """
    try:
        from dask.array import Array
        from dask.highlevelgraph import HighLevelGraph
    except ImportError:
        raise InputError("dask: wanted it installed, got no such package: pip install manifoldnet[cluster]") from None

    name = f"elastic-distance-{uuid4().hex}"
    rows, heights, dtype = _chunks(qs, "qs", chunk)
    columns, widths, _ = (rows, heights, dtype) if others is None else _chunks(others, "others", chunk)
    compute = partial(_block, slopes=slopes, band=band, refine=refine, scale=scale)
    graph: dict[Any, Any] = {}
    for (i, left), (j, right) in product(enumerate(rows), enumerate(columns)):
        if others is None and i > j:
            graph[name, i, j] = (np.transpose, (name, j, i))
        elif others is None and i == j:
            graph[name, i, j] = (compute, left.key)
        else:
            graph[name, i, j] = (compute, left.key, right.key)
    chunks = rows if others is None else [*rows, *columns]
    layers = HighLevelGraph.from_collections(name, graph, dependencies=chunks)
    return Array(layers, name, (heights, widths), dtype=dtype)


def _block(qs: Iterable[Tensor], others: Iterable[Tensor] | None = None, **options: Any) -> np.ndarray:
    """One block, from the partitions of a bag or chunks of a collection."""
    columns = None if others is None else _held(others)
    return pairwise_elastic_distance(_held(qs), columns, **options).cpu().numpy()


def _held(part: Iterable[Tensor]) -> Tensor | list[Tensor]:
    """A partition of a bag may be an iterator."""
    return part if isinstance(part, Tensor) else list(part)


def _chunks(qs: Any, name: str, chunk: int) -> tuple[list[Any], tuple[int, ...], np.dtype]:
    """Chunks as delayed curves, their numbers of curves, and the curves' dtype."""
    from dask import compute, delayed
    from dask.bag import Bag

    if isinstance(qs, Bag):
        parts = qs.to_delayed()
        # not Bag.compute, which starts processes of its own where there is no cluster
        about = compute(*[delayed(_about)(part) for part in parts])
    else:
        if chunk < 1:
            raise InputError(f"chunk: wanted a number of curves >= 1, got {chunk}")
        slices = [qs[k : k + chunk] for k in range(0, len(qs), chunk)]
        # a view would be pickled with all that it is a view into
        copies = [part.clone() if isinstance(part, Tensor) else [q.clone() for q in part] for part in slices]
        parts = [delayed(part, traverse=False, name=f"curves-{uuid4().hex}") for part in copies]
        about = tuple(map(_about, copies))
    # an empty partition has no rows in the matrix
    full = [(part, *known) for part, known in zip(parts, about, strict=True) if known[0]]
    if not full:
        raise InputError(f"{name}: wanted at least one curve, got none")
    delayeds, counts, dtypes = zip(*full, strict=True)
    return list(delayeds), counts, np.result_type(*dtypes)


def _about(part: Iterable[Tensor]) -> tuple[int, np.dtype | None]:
    """The number of curves in a partition, and their dtype."""
    curves = _held(part)
    return len(curves), torch.empty(0, dtype=curves[0].dtype).numpy().dtype if len(curves) else None
