"""The soft maximum over all reparametrisations of each pair of a batch, and its gradient, as operators of torch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.curves.dynamic_programming import Lattice, blocks, check_pairs, check_values, folded
from manifoldnet.curves.lattice import bounds

LOWEST_EXPONENT = -80.0  # exp of less is subnormal in float32, which is slow and adds nothing
# written out: torch cannot read them off functions that the tests have wrapped with type checks
_SOFT = "(Tensor gram, Tensor cells, int slopes, float? band, float smoothing) -> (Tensor, Tensor)"
_SOFT_BACKWARD = (
    "(Tensor gram, Tensor cells, Tensor tables, Tensor grad, int slopes, float? band, float smoothing) -> Tensor"
)


def soft_value(
    gram: Float[Tensor, "batch n m"],
    cells: Int[Tensor, "batch 2"],
    slopes: int,
    band: int | float | None,
    smoothing: int | float,
) -> Float[Tensor, "batch"]:
    """gamma log sum exp(value / gamma) over all paths, with gamma = ``smoothing`` and gram = <q0_i, q1_j>.

    It counts all segments, coprime or not (after Cuturi and Blondel 2017): without a band its exponential is then
    a sum of products of exp <segment of q0, segment of q1>, a positive definite kernel of the two curves. The
    gradient is the mean of the paths' weights over their Gibbs distribution, and can be taken once.

    Raises:
        InputError: the slopes or the band allow no path, or gram is not finite.
    """
    limit = None if band is None else float(band)
    return _soft(gram, cells, slopes, limit, float(smoothing))[0]


@torch.library.custom_op("manifoldnet::soft_path", mutates_args=(), schema=_SOFT)
def _soft(gram: Tensor, cells: Tensor, slopes: int, band: float | None, smoothing: float) -> tuple[Tensor, Tensor]:
    batch, n, m = gram.shape
    check_pairs(gram, gram, cells, slopes)
    values, tables = gram.new_empty(batch), gram.new_empty(batch, n + slopes, m + slopes)
    for part in blocks(gram, slopes):
        lattice = _soft_lattice(gram, cells, slopes, band, part)
        table = lattice.sweep(partial(_soft_maximum, smoothing=smoothing))
        values[part], tables[part] = table[lattice.ends()], table.permute(2, 0, 1)
    check_values(values, cells)
    return values, tables


@_soft.register_fake
def _(gram: Tensor, cells: Tensor, slopes: int, band: float | None, smoothing: float) -> Any:
    batch, n, m = gram.shape
    return gram.new_empty(batch), gram.new_empty(batch, n + slopes, m + slopes)


@torch.library.custom_op("manifoldnet::soft_path_backward", mutates_args=(), schema=_SOFT_BACKWARD)
def _soft_backward(
    gram: Tensor, cells: Tensor, tables: Tensor, grad: Tensor, slopes: int, band: float | None, smoothing: float
) -> Tensor:
    """grad times the mean weights of the paths, by the sweep run backwards."""
    expected = torch.empty_like(gram)
    for part in blocks(gram, slopes):
        lattice = _soft_lattice(gram, cells, slopes, band, part)
        values = tables[part].permute(1, 2, 0).contiguous()
        expected[part] = _expected_weights(lattice, values, smoothing, grad[part]).permute(2, 0, 1)
    return expected


@_soft_backward.register_fake
def _(
    gram: Tensor, cells: Tensor, tables: Tensor, grad: Tensor, slopes: int, band: float | None, smoothing: float
) -> Any:
    return torch.empty_like(gram)


def _soft_context(ctx: Any, inputs: Any, output: Any) -> None:
    gram, cells, slopes, band, smoothing = inputs
    ctx.save_for_backward(gram, cells, output[1])
    ctx.options = (slopes, band, smoothing)


def _soft_gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    gram, cells, tables = ctx.saved_tensors
    return _soft_backward(gram, cells, tables, grad, *ctx.options), None, None, None, None


_soft.register_autograd(_soft_gradient, setup_context=_soft_context)


def _soft_lattice(gram: Tensor, cells: Tensor, slopes: int, band: float | None, part: Tensor) -> Lattice:
    return Lattice(gram[part], cells[part], slopes, False, bounds(cells[part], gram.shape[1], slopes, band))


def _soft_maximum(candidates: Tensor, smoothing: float) -> Tensor:
    # not logsumexp: see LOWEST_EXPONENT
    top = candidates.amax(0)
    return top + smoothing * _relative(candidates, top, smoothing).sum(0).log()


def _relative(candidates: Tensor, top: Tensor, smoothing: float) -> Tensor:
    """exp((candidates - top) / smoothing), finite even where no path leads and all candidates are -inf."""
    base = torch.where(top.isneginf(), 0.0, top)
    return ((candidates - base) / smoothing).clamp_(min=LOWEST_EXPONENT).exp_()


def _expected_weights(lattice: Lattice, values: Tensor, smoothing: float, grad: Tensor) -> Tensor:
    R = lattice.slopes
    through = torch.zeros_like(values)  # grad times the probability that a path passes the node
    through[lattice.ends()] = grad
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


_soft.register_vmap(folded(_soft, 2))
_soft_backward.register_vmap(folded(_soft_backward, 4))
