"""Values of all monotone paths through the products of two transforms, row by row, in torch.

The value of a path is the sum of the weights W of its segments (see :mod:`manifoldnet.curves.lattice`). The best
value of a path to a node (Mio, Srivastava and Joshi 2007),

    P[i, j] = max over (a, b) of P[i - a, j - b] + W,

looks at earlier rows only, so that all columns and all pairs of a batch advance together, with one matrix product
(stencils times windows of gram) for each row. The batch is the last dimension of all tables: a shift by one column
is then a shift of one contiguous block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.curves.lattice import Bounds, check_cells, segments, stencils
from manifoldnet.errors import InputError

CPU_ROW_BYTES = 2**19  # candidates of one row that stay in a core's second-level cache
DEVICE_BYTES = 2**28  # windows of one block where memory, not cache, is the limit


class Lattice:
    """Nodes, segments and weights of one batch of pairs.

    Tables have padding in front, so that every node has a whole window before it: node (i, j) is at
    [i + slopes - 1, j + slopes - 1] of a table of values.
    """

    def __init__(self, gram: Tensor, cells: Tensor, slopes: int, coprime: bool, limits: Bounds) -> None:
        self.batch, self.n, self.m = gram.shape
        self.cells, self.slopes, self.limits = cells, slopes, limits
        lowest, highest = limits.lowest.amin(0).tolist(), limits.highest.amax(0).tolist()
        self.columns = [range(lo, hi + 1) for lo, hi in zip(lowest, highest, strict=True)]
        self.uniform = bool((cells == cells[:1]).all())
        self.stencils = stencils(slopes, coprime).to(gram).flatten(1)
        self.a, self.b = torch.tensor(segments(slopes, coprime), device=gram.device).unbind(1)
        padded = torch.nn.functional.pad(gram.permute(1, 2, 0), (0, 0, slopes - 1, 0, slopes - 1, 0))
        # windows[i - 1 + x, u, j - 1] is gram at cell (i - slopes + x, j - slopes + u), for x, u < slopes
        self.windows = padded.unfold(1, self.m, 1).movedim(-1, 2).contiguous()

    def rows(self) -> Iterator[tuple[int, range]]:
        """Rows 1..n that have columns."""
        return ((i, columns) for i, columns in enumerate(self.columns) if i and columns)

    def candidates(self, values: Tensor, i: int, columns: range) -> Tensor:
        """Value over each segment into each of the nodes (i, columns); shape (segments, columns, batch)."""
        R, first, size = self.slopes, columns.start - 1, len(columns)
        window = self.windows[i - 1 : i - 1 + R].view(R * R, -1)
        window = window[:, first * self.batch : (first + size) * self.batch]
        sources = values[i - 1 : i - 1 + R].unfold(1, size, 1)[:, first : first + R].movedim(-1, 2)
        start = sources[R - self.a, R - self.b].flatten(1)
        return torch.addmm(start, self.stencils, window).view(len(self.a), size, self.batch)

    def sweep(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Table of values, -inf where no path leads; ``reduce`` joins the candidates, dimension 0."""
        R = self.slopes
        values = self.windows.new_full((self.n + R, self.m + R, self.batch), -math.inf)
        values[R - 1, R - 1] = 0
        for i, columns in self.rows():
            row = reduce(self.candidates(values, i, columns))
            if not self.uniform:
                column = torch.arange(columns.start, columns.stop, device=row.device)[:, None]
                inside = (column >= self.limits.lowest[:, i]) & (column <= self.limits.highest[:, i])
                row = torch.where(inside, row, -math.inf)
            values[i + R - 1, columns.start + R - 1 : columns.stop + R - 1] = row
        return values

    def ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index of the last node of each pair in a table of values."""
        i, j = (self.cells + self.slopes - 1).unbind(1)
        return i, j, torch.arange(self.batch, device=i.device)

    def backtrack(self, values: Tensor) -> Tensor:
        """Nodes (batch, min(n, m) + 1, 2); weights are computed again, so that no table of choices is kept."""
        R = self.slopes
        pair = torch.arange(self.batch, device=values.device)
        offset = torch.arange(R, device=values.device)[:, None]
        nodes = [self.cells]
        for _ in range(min(self.n, self.m)):
            i, j = (nodes[-1] - 1).unbind(1)
            # a path that has arrived waits at (0, 0)
            window = self.windows[(i.clamp(min=0) + offset)[:, None], offset, j.clamp(min=0), pair].flatten(0, 1)
            source = values[(i + R - self.a[:, None]).clamp(min=0), (j + R - self.b[:, None]).clamp(min=0), pair]
            best = torch.addmm(source, self.stencils, window).argmax(0)
            step = torch.stack([self.a[best], self.b[best]], 1)
            nodes.append(torch.where(i[:, None] < 0, 0, nodes[-1] - step))
        return torch.stack(nodes, 1)


def pairs_per_block(gram: Float[Tensor, "_batch n m"], slopes: int) -> int:
    """How many pairs to sweep at once in torch: what the cache (CPU) or a bounded piece of memory (else) holds."""
    _, n, m = gram.shape
    if gram.device.type == "cpu":
        return max(8, CPU_ROW_BYTES // (gram.element_size() * m * len(segments(slopes, True))))
    return max(8, DEVICE_BYTES // (gram.element_size() * n * m * slopes))


def blocks(gram: Float[Tensor, "_batch n m"], slopes: int) -> tuple[Tensor, ...]:
    """The pairs of a batch, as many at a time as :func:`pairs_per_block` says."""
    pairs = torch.arange(len(gram), device=gram.device)
    return pairs.split(pairs_per_block(gram, slopes)) if len(gram) else ()


def check_pairs(q0: Tensor, q1: Tensor, cells: Tensor, slopes: int) -> None:
    """Raise InputError where the slopes allow no path, or a transform is not finite."""
    check_cells(cells, slopes)
    if not bool(q0.isfinite().all()) or not bool(q1.isfinite().all()):
        raise InputError("q0, q1: wanted finite values, got NaN or infinity")


def check_values(values: Float[Tensor, "batch"], cells: Int[Tensor, "batch 2"]) -> None:
    """Raise InputError where no path was found."""
    missing = values.isneginf()
    if bool(missing.any()):
        n, m = cells[missing][0].tolist()
        raise InputError(f"band: too narrow for any path from start to end of {n} x {m} cells")


def folded(operator: Any, batched: int) -> Callable[..., Any]:
    """The rule of vmap for an operator whose first ``batched`` arguments have the batch in front."""

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        size = info.batch_size
        flat = [
            (x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(args[:batched], in_dims[:batched], strict=True)
        ]
        out = operator(*flat, *args[batched:])
        parts = [x.unflatten(0, (size, -1)) for x in (out if isinstance(out, tuple) else (out,))]
        return (tuple(parts), (0,) * len(parts)) if isinstance(out, tuple) else (parts[0], 0)

    return rule
