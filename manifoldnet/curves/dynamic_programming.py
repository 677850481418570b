"""Best and soft-best monotone paths through the products of two transforms, for batches of pairs.

Two piecewise constant transforms q0 (n cells) and q1 (m cells) enter only through gram[i, j] = <q0_i, q1_j>.
A reparametrisation is a chain of segments between nodes (i, j) of the n x m grid. Segment (a, b) covers a
cells of q0 and b cells of q1, 1 <= a, b <= slopes. Its part of the integral of sqrt(phi') <q0, q1 o phi> is
exactly

    W = sqrt(a b) * sum over the crossed cells of (fraction of the segment in the cell) * gram[cell],

free of the dimension, and of both grid sizes when q is v / sqrt|v|. The best value of a path to a node (Mio,
Srivastava and Joshi 2007),

    P[i, j] = max over (a, b) of P[i - a, j - b] + W,

looks at earlier rows only, so that all columns and all pairs of a batch advance together, with one matrix
product (stencils times windows of gram) for each row.

The batch is the last dimension everywhere: a shift by one column is then a shift of one contiguous block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from manifoldnet.errors import InputError

CPU_ROW_BYTES = 2**19  # candidates of one row that stay in a core's second-level cache
DEVICE_BYTES = 2**28  # windows of one block where memory, not cache, is the limit
LOWEST_EXPONENT = -80.0  # exp of less is subnormal in float32, which is slow and adds nothing


class Path(NamedTuple):
    """Nodes of the path of each pair, from (n, m) back to (0, 0) and padded with (0, 0).

    Attributes:
        rows: (nodes, batch), i of each node.
        columns: (nodes, batch), j of each node.
        steps: (nodes - 1, batch), index of the segment that ends in the node; meaningless once the row is 0.
    """

    rows: Int[Tensor, "nodes batch"]
    columns: Int[Tensor, "nodes batch"]
    steps: Int[Tensor, "segments batch"]


@lru_cache(maxsize=64)
def segments(slopes: int, coprime: bool) -> tuple[tuple[int, int], ...]:
    """The segments (a, b).

    One with a common divisor passes through nodes and adds nothing to a maximum: ``coprime`` leaves it out,
    and puts the shortest segment first, which then wins ties. All of them come in the order of the cells of a
    window.
    """
    if not coprime:
        return tuple((a, b) for a in range(slopes, 0, -1) for b in range(slopes, 0, -1))
    pairs = [(a, b) for a in range(1, slopes + 1) for b in range(1, slopes + 1) if math.gcd(a, b) == 1]
    return tuple(sorted(pairs, key=sum))


@lru_cache(maxsize=64)
def _stencils(slopes: int, coprime: bool) -> Tensor:
    """Weights (segments, slopes, slopes) on the window of gram that ends with the last crossed cell."""
    steps = segments(slopes, coprime)
    stencils = torch.zeros(len(steps), slopes, slopes, dtype=torch.float64)
    for k, (a, b) in enumerate(steps):
        # in units of 1/(ab) crossings are integers, so that (b, a) is the exact transpose of (a, b)
        crossings = sorted({*range(0, a * b + 1, a), *range(0, a * b + 1, b)})
        for begin, end in pairwise(crossings):
            stencils[k, slopes - a + begin // b, slopes - b + begin // a] = (end - begin) / math.sqrt(a * b)
    return stencils


def reachable_columns(n: int, m: int, slopes: int, band: int | float | None) -> list[range]:
    """For rows i = 1..n the columns that the slopes and the band allow a path from (0, 0) to (n, m)."""
    rows = []
    for i in range(1, n + 1):
        left = n - i
        lo = max(-(-i // slopes), m - slopes * left)
        hi = min(slopes * i, m - -(-left // slopes))
        if band is not None:
            lo = max(lo, math.ceil((i * m - band * min(n, m)) / n))
            hi = min(hi, math.floor((i * m + band * min(n, m)) / n))
        rows.append(range(lo, hi + 1))
    return rows


class Lattice:
    """Nodes, segments and weights of one batch of pairs.

    Tables have padding in front, so that every node has a whole window before it: node (i, j) is at
    [i + slopes - 1, j + slopes - 1] of a table of values.
    """

    def __init__(self, gram: Tensor, slopes: int, band: int | float | None, coprime: bool) -> None:
        self.n, self.m, self.batch = gram.shape
        self.slopes = R = slopes
        fewer, more = sorted((self.n, self.m))
        if more > R * fewer:
            wanted = -(-more // fewer)
            raise InputError(f"slopes: {R} cannot match {fewer} cells with {more}, wanted at least {wanted}")
        self.columns = reachable_columns(self.n, self.m, R, band)
        self.stencils = _stencils(R, coprime).to(gram).flatten(1)
        self.a, self.b = torch.tensor(segments(R, coprime), device=gram.device).unbind(1)
        padded = torch.nn.functional.pad(gram, (0, 0, R - 1, 0, R - 1, 0))
        # windows[i - 1 + x, u, j - 1] is gram at cell (i - R + x, j - R + u), for x, u < R
        self.windows = padded.unfold(1, self.m, 1).movedim(-1, 2).contiguous()

    def rows(self) -> Iterator[tuple[int, range]]:
        """Rows 1..n that have columns."""
        return ((i, columns) for i, columns in enumerate(self.columns, 1) if columns)

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
            here = slice(columns.start + R - 1, columns.stop + R - 1)
            values[i + R - 1, here] = reduce(self.candidates(values, i, columns))
        if bool(values[-1, -1].isneginf().any()):
            raise InputError(f"band: too narrow for any path from start to end of {self.n} x {self.m} cells")
        return values

    def backtrack(self, values: Tensor) -> Path:
        """The best paths; weights are computed again on the way, so that no table of choices is kept."""
        R = self.slopes
        pair = torch.arange(self.batch, device=values.device)
        offset = torch.arange(R, device=values.device)[:, None]
        rows, columns = [torch.full_like(pair, self.n)], [torch.full_like(pair, self.m)]
        steps = []
        for _ in range(min(self.n, self.m)):
            i, j = rows[-1] - 1, columns[-1] - 1
            window = self.windows[(i + offset)[:, None], offset, j, pair].flatten(0, 1)
            source = values[i + R - self.a[:, None], j + R - self.b[:, None], pair]
            best = torch.addmm(source, self.stencils, window).argmax(0)
            steps.append(best)
            # a path that has arrived waits at (0, 0)
            rows.append(torch.where(i < 0, 0, i + 1 - self.a[best]))
            columns.append(torch.where(i < 0, 0, j + 1 - self.b[best]))
            if not bool(rows[-1].any()):
                break
        return Path(torch.stack(rows), torch.stack(columns), torch.stack(steps))


def best_value(
    gram: Float[Tensor, "n m batch"],
    slopes: int,
    band: int | float | None = None,
    smoothing: int | float | None = None,
) -> Float[Tensor, "batch"]:
    """Largest value of a path, or gamma log sum exp(value / gamma) over all paths with gamma = ``smoothing``.

    The largest value has the gradient of the best path with the path held fixed (the envelope theorem), at a
    tie that of one of the best paths; it is piecewise linear, and second derivatives are 0. The soft value
    (after Cuturi and Blondel 2017) counts all segments, coprime or not: without a band its exponential is
    then a sum of products of exp <segment of q0, segment of q1>, a positive definite kernel of the two
    curves. Its gradient is the mean over the Gibbs distribution of paths, and can be taken once.

    Raises:
        InputError: the slopes or the band allow no path.
    """
    parts = gram.split(pairs_per_block(gram, slopes), -1)
    if smoothing is None:
        return torch.cat([_Maximum.apply(part, slopes, band) for part in parts])
    return torch.cat([_SoftMaximum.apply(part, slopes, band, smoothing) for part in parts])


@torch.no_grad()
def best_paths(gram: Float[Tensor, "n m batch"], slopes: int) -> Path:
    """The path of largest value for each pair.

    Raises:
        InputError: the slopes allow no path.
    """
    lattice = Lattice(gram, slopes, None, coprime=True)
    return lattice.backtrack(lattice.sweep(_maximum))


def pairs_per_block(gram: Float[Tensor, "n m batch"], slopes: int) -> int:
    """How many pairs to sweep at once: what the cache (CPU) or a bounded piece of memory (else) holds."""
    n, m, _ = gram.shape
    if gram.device.type == "cpu":
        return max(8, CPU_ROW_BYTES // (gram.element_size() * m * len(segments(slopes, True))))
    return max(8, DEVICE_BYTES // (gram.element_size() * n * m * slopes))


def _maximum(candidates: Tensor) -> Tensor:
    return candidates.amax(0)


def _soft_maximum(candidates: Tensor, smoothing: float) -> Tensor:
    # not logsumexp: see LOWEST_EXPONENT
    top = candidates.amax(0)
    return top + smoothing * _relative(candidates, top, smoothing).sum(0).log()


def _relative(candidates: Tensor, top: Tensor, smoothing: float) -> Tensor:
    """exp((candidates - top) / smoothing), finite even where no path leads and all candidates are -inf."""
    base = torch.where(top.isneginf(), 0.0, top)
    return ((candidates - base) / smoothing).clamp_(min=LOWEST_EXPONENT).exp_()


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gram: Tensor, slopes: int, band: int | float | None) -> Tensor:
        lattice = Lattice(gram, slopes, band, coprime=True)
        values = lattice.sweep(_maximum)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(*lattice.backtrack(values))
            ctx.slopes, ctx.cells = slopes, (lattice.n, lattice.m)
        return values[-1, -1].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        n, m = ctx.cells
        return grad * _path_weights(Path(*ctx.saved_tensors), n, m, ctx.slopes, grad), None, None


def _path_weights(path: Path, n: int, m: int, slopes: int, like: Tensor) -> Tensor:
    """Derivative of the paths' values with respect to gram, (n, m, batch)."""
    R, batch = slopes, path.rows.shape[1]
    x = torch.arange(R, device=like.device)
    pair = torch.arange(batch, device=like.device)[:, None, None]
    ends = path.rows[:-1, :, None, None], path.columns[:-1, :, None, None]
    weights = _stencils(R, True).to(like)[path.steps]
    cell = ((ends[0] - 1 + x[:, None]) * (m + R - 1) + ends[1] - 1 + x) * batch + pair
    # all that a path adds after it has arrived falls into the padding
    padded = like.new_zeros((n + R - 1) * (m + R - 1) * batch)
    padded.scatter_add_(0, cell.clamp(min=0).flatten(), weights.flatten())
    return padded.view(n + R - 1, m + R - 1, batch)[R - 1 :, R - 1 :]


class _SoftMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gram: Tensor, slopes: int, band: int | float | None, smoothing: float) -> Tensor:
        lattice = Lattice(gram, slopes, band, coprime=False)
        values = lattice.sweep(partial(_soft_maximum, smoothing=smoothing))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(gram, values)
            ctx.options = (slopes, band, smoothing)
        return values[-1, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        gram, values = ctx.saved_tensors
        slopes, band, smoothing = ctx.options
        lattice = Lattice(gram, slopes, band, coprime=False)
        return _expected_weights(lattice, values, smoothing, grad), None, None, None


def _expected_weights(lattice: Lattice, values: Tensor, smoothing: float, grad: Tensor) -> Tensor:
    """grad times the mean weights of the paths, (n, m, batch), by the sweep run backwards."""
    R = lattice.slopes
    through = torch.zeros_like(values)  # grad times the probability that a path passes the node
    through[-1, -1] = grad
    expected = values.new_zeros(lattice.n + R - 1, lattice.m + R - 1, lattice.batch)
    for i, columns in reversed(list(lattice.rows())):
        candidates = lattice.candidates(values, i, columns)
        share = _relative(candidates, candidates.amax(0), smoothing)
        # divided by their own sum, not by exp(value), which in float32 would drift away from 1
        share *= through[i + R - 1, columns.start + R - 1 : columns.stop + R - 1] / share.sum(0)
        cells = (lattice.stencils.mT @ share.flatten(1)).view(R, R, *share.shape[1:])
        share = share.view_as(cells)
        for u in range(R):
            source = (slice(i - 1, i - 1 + R), slice(columns.start - 1 + u, columns.stop - 1 + u))
            expected[source] += cells[:, u]
            through[source] += share[:, u]
    return expected[R - 1 :, R - 1 :]
