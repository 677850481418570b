"""Elastic distance of closed curves, which have no first point: Diff(S^1) instead of Diff([0, 1])."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from manifoldnet.curves.best_path import best_value, ordered
from manifoldnet.curves.elastic import align, check_options, check_transform, elastic_distance
from manifoldnet.errors import InputError


class ClosedAlignment(NamedTuple):
    """Where to open two closed curves, and the reparametrisation after that.

    Attributes:
        start0, start1: (...), the cells from which q0 and q1 are run through; one of them is 0.
        phi: (..., n + 1), as :func:`align` gives it, between the opened transforms.
    """

    start0: Int[Tensor, "..."]
    start1: Int[Tensor, "..."]
    phi: Float[Tensor, "..."]


def closed_elastic_distance(
    q0: Float[Tensor, "*batch n dim"],
    q1: Float[Tensor, "*_batch m _dim"],
    slopes: int = 6,
    stride: int = 1,
    *,
    scale: str | None = None,
) -> Float[Tensor, "..."]:
    """The elastic distance with the infimum also over the point at which the curves start.

    A reparametrisation of the circle is a shift and one of the interval (Srivastava, Klassen, Joshi and Jermyn
    2011). All shifts of either curve by whole cells are tried, as one batch; the distance is symmetric to the last
    bit.

    Args:
        q0, q1: (..., n, dim) and (..., m, dim), with dt=None, of closed curves and with one batch shape.
        slopes, scale: as in :func:`elastic_distance`.
        stride: try every so many starts, then all of those around the best one.

    Returns:
        (...). The gradient is that of the best start and path.

    Raises:
        InputError: as :func:`elastic_distance`, the batch shapes differ, or ``stride`` is below 1.
    """
    start0, start1 = _starts(q0, q1, slopes, stride, scale)
    return elastic_distance(opened(q0, start0), opened(q1, start1), slopes, scale=scale)


def align_closed(
    q0: Float[Tensor, "*batch n dim"], q1: Float[Tensor, "*_batch m _dim"], slopes: int = 6, stride: int = 1
) -> ClosedAlignment:
    """The starts and the reparametrisation that attain :func:`closed_elastic_distance`; no gradient."""
    start0, start1 = _starts(q0, q1, slopes, stride, None)
    return ClosedAlignment(start0, start1, align(opened(q0, start0), opened(q1, start1), slopes))


def opened(q: Float[Tensor, "*batch n dim"], start: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch n dim"]:
    """The cells of a closed curve in the order in which they follow cell ``start``."""
    cells = (start[..., None] + torch.arange(q.shape[-2], device=q.device)) % q.shape[-2]
    return torch.take_along_dim(q, cells[..., None], -2)


@torch.no_grad()
def _starts(q0: Tensor, q1: Tensor, slopes: int, stride: int, scale: str | None) -> tuple[Tensor, Tensor]:
    """The starts with the best value; one of each pair is 0."""
    check_options(slopes, None, None, scale)
    check_transform(q0, "q0")
    check_transform(q1, "q1", q0)
    if q0.shape[:-2] != q1.shape[:-2]:
        raise InputError(f"q1: wanted the batch {tuple(q0.shape[:-2])} of q0, got {tuple(q1.shape[:-2])}")
    if stride < 1:
        raise InputError(f"stride: wanted a number of cells >= 1, got {stride}")
    batch, n, m = q0.shape[:-2], q0.shape[-2], q1.shape[-2]
    cells = torch.tensor([n, m], device=q0.device).expand(q0[..., 0, 0].numel(), 2)
    # of two starts of nearly one value the rounding must not choose by which curve came first
    first, second, cells, swapped = ordered(q0.reshape(len(cells), n, -1), q1.reshape(len(cells), m, -1), cells)
    n, m = first.shape[1], second.shape[1]
    # a path of the torus need not visit row 0, nor column 0: only with both families is the distance symmetric
    shifts0 = torch.arange(0, n, stride, device=q0.device).expand(len(first), -1)
    shifts1 = torch.arange(0, m, stride, device=q0.device).expand(len(first), -1)
    value0, start0 = _best_start(second, first, shifts0, slopes)
    value1, start1 = _best_start(first, second, shifts1, slopes)
    if stride > 1:
        around = torch.arange(1 - stride, stride, device=q0.device)
        value0, start0 = _best_start(second, first, (start0[:, None] + around) % n, slopes)
        value1, start1 = _best_start(first, second, (start1[:, None] + around) % m, slopes)
    other = value1 > value0
    start0, start1 = torch.where(other, 0, start0), torch.where(other, start1, 0)
    return torch.where(swapped, start1, start0).view(batch), torch.where(swapped, start0, start1).view(batch)


def _best_start(fixed: Tensor, shifted: Tensor, shifts: Tensor, slopes: int) -> tuple[Tensor, Tensor]:
    """Best value over the shifts (pairs, shifts) of the second curve, and the shift that attains it."""
    pairs, count = shifts.shape
    moved = opened(shifted[:, None].expand(-1, count, -1, -1), shifts).flatten(0, 1)
    still = fixed[:, None].expand(-1, count, -1, -1).flatten(0, 1)
    cells = torch.tensor([fixed.shape[1], shifted.shape[1]], device=shifts.device).expand(pairs * count, 2)
    value, best = best_value(still, moved, cells, slopes, None, None).view(pairs, count).max(1)
    return value, shifts.gather(1, best[:, None]).squeeze(1)
