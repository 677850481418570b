"""Elastic distances of transformed curves: the same at whatever speed each curve is run through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from manifoldnet.curves.dynamic_programming import best_paths, best_value, pairs_per_block
from manifoldnet.errors import InputError
from manifoldnet.linalg import safe_sqrt


def elastic_distance(
    q0: Float[Tensor, "*left n dim"],
    q1: Float[Tensor, "*right m _dim"],
    slopes: int = 6,
    band: int | float | None = None,
    smoothing: int | float | None = None,
) -> Float[Tensor, "..."]:
    """Distance up to reparametrisation, d^2 = inf over phi of the integral of |q0 - sqrt(phi') q1 o phi|^2.

    The infimum (Srivastava, Klassen, Joshi and Jermyn 2011) is over the piecewise linear phi with nodes on
    the two grids and slopes (b/m) / (a/n), 1 <= a, b <= slopes, and found by dynamic programming. The
    distance is symmetric to the last bit and not scale free: d^2 has the unit of length. Where d^2 is within
    rounding of 0, at d below a few sqrt(eps) times the norms of q0 and q1, it is 0.

    Args:
        q0, q1: (..., n, dim) and (..., m, dim) as :func:`srvt` gives them with dt=None (multiply a density
            made with dt by sqrt(dt) first). Leading dimensions broadcast; n and m may differ up to the factor
            ``slopes``.
        slopes: R, the largest step. Over random pairs of 100 white-noise cells the mean distance is 0.3 %
            (R = 6) or 1.4 % (R = 4) above that of R = 10; between smooth curves refining the grid helps more.
        band: allow only nodes with |i/n - j/m| <= band / max(n, m), at most ``band`` cells of the finer grid
            off the diagonal. 0 with n = m is the distance without reparametrisation.
        smoothing: gamma > 0, in units of d^2. Replaces the largest product over paths by the soft one,
            P = gamma log sum exp(. / gamma), and d^2 by P(q0, q0) + P(q1, q1) - 2 P(q0, q1): 0 at q0 = q1,
            not negative (if there is no band), and d^2 in the limit gamma -> 0.

    Returns:
        (...), in the dtype of q0 and q1. The gradient is that of the best path (twice differentiable), or of
        the soft value (once), and 0 where d = 0.

    Raises:
        InputError: q0 and q1 differ in dim, dtype or device, are not finite float32 or float64, or do not
            broadcast; an option is out of range; the slopes or the band allow no path.
    """
    _check_options(slopes, band)
    if smoothing is not None and not smoothing > 0:
        raise InputError(f"smoothing: wanted a positive number or None, got {smoothing}")
    _check_transform(q0, "q0")
    _check_transform(q1, "q1", q0)
    norms = [_self_product(q, slopes, band, smoothing) for q in (q0, q1)]
    shape, first, second = _paired(q0, q1)
    product = best_value(_gram(*_ordered(first, second)[:2]), slopes, band, smoothing).view(shape)
    return _distance(norms[0], norms[1], product, q0.shape[-2] + q1.shape[-2])


def pairwise_elastic_distance(
    qs: Float[Tensor, "k n dim"] | Sequence[Float[Tensor, "_n _dim"]],
    others: Float[Tensor, "l m _dim"] | Sequence[Float[Tensor, "_n _dim"]] | None = None,
    slopes: int = 6,
    band: int | float | None = None,
    progress: bool = False,
) -> Float[Tensor, "_k _l"]:
    """Matrix of :func:`elastic_distance` between all curves of two collections, in blocks of bounded memory.

    Args:
        qs: (k, n, dim), or a sequence of k tensors (n_i, dim) of any lengths within the factor ``slopes``.
        others: the same, or None for the distances within ``qs``: a symmetric matrix with zeros on the
            diagonal, for which each pair is computed once.
        slopes, band: as in :func:`elastic_distance`.
        progress: show a bar on the terminal.

    Returns:
        (k, l), without gradient.

    Raises:
        InputError: as :func:`elastic_distance`, or a collection is empty.
    """
    _check_options(slopes, band)
    rows = _groups(qs, "qs", None)
    columns = rows if others is None else _groups(others, "others", rows[0].curves)
    sizes = [sum(len(group.places) for group in groups) for groups in (rows, columns)]
    matrix = rows[0].curves.new_zeros(sizes)
    blocks = list(_blocks(rows, columns, others is None, slopes))
    with torch.no_grad():
        for left, right, i, j in track(blocks, "elastic distances", disable=not progress):
            first, second = left.curves[i], right.curves[j]
            product = best_value(_gram(*_ordered(first, second)[:2]), slopes, band)
            norms = [_self_product(q, slopes, band, None) for q in (first, second)]
            distance = _distance(norms[0], norms[1], product, first.shape[1] + second.shape[1])
            matrix[left.places[i], right.places[j]] = distance
    return matrix + matrix.mT if others is None else matrix


def align(
    q0: Float[Tensor, "*left n dim"], q1: Float[Tensor, "*right m _dim"], slopes: int = 6
) -> Float[Tensor, "..."]:
    """The reparametrisation phi of q1 that brings sqrt(phi') q1 o phi closest to q0.

    Args:
        q0, q1, slopes: as in :func:`elastic_distance`.

    Returns:
        phi(i / n) for i = 0..n, shape (..., n + 1), strictly increasing from exactly 0 to exactly 1. phi is
        linear between the samples, so that nothing is lost; swapping the curves gives its inverse. No
        gradient.

    Raises:
        InputError: as :func:`elastic_distance`.
    """
    _check_options(slopes, None)
    _check_transform(q0, "q0")
    _check_transform(q1, "q1", q0)
    shape, first, second = _paired(q0.detach(), q1.detach())
    n, m = first.shape[1], second.shape[1]
    first, second, swapped = _ordered(first, second)
    gram = _gram(first, second)
    block = pairs_per_block(gram, slopes)
    phi = []
    for part, swap in zip(gram.split(block, -1), swapped.split(block), strict=True):
        path = best_paths(part, slopes)
        rows, columns = torch.where(swap, path.columns, path.rows), torch.where(swap, path.rows, path.columns)
        phi.append(_interpolated(rows.mT.flip(1), columns.mT.flip(1), n) / m)
    return torch.cat(phi).to(q0.dtype).view(*shape, n + 1)


def _interpolated(rows: Tensor, columns: Tensor, n: int) -> Tensor:
    """Columns (float64) at rows 0..n of polygons with ascending nodes (batch, nodes), padded with (0, 0)."""
    grid = torch.arange(n + 1, device=rows.device).expand(len(rows), n + 1).contiguous()
    after = torch.searchsorted(rows.contiguous(), grid).clamp(min=1)
    i0, i1 = rows.gather(1, after - 1), rows.gather(1, after)
    j0, j1 = columns.gather(1, after - 1), columns.gather(1, after)
    # two padding nodes may stand around row 0
    return j0 + (grid - i0) * (j1 - j0) / (i1 - i0).clamp(min=1).double()


def _distance(self0: Tensor, self1: Tensor, product: Tensor, terms: int) -> Tensor:
    """sqrt(self0 + self1 - 2 product); 0, with gradient 0, where the difference is rounding."""
    square = self0 + self1 - 2 * product
    # measured at q0 = q1: a running sum of n products is off by 0.5 sqrt(n) eps of the whole
    rounding = 2 * torch.finfo(square.dtype).eps * terms**0.5 * (self0 + self1).detach().abs()
    return safe_sqrt(torch.where(square > rounding, square, 0.0))


def _self_product(q: Tensor, slopes: int, band: int | float | None, smoothing: int | float | None) -> Tensor:
    """Value of the best path of q against itself, the diagonal with |q|^2, or the soft value; shape (...)."""
    if smoothing is None:
        return q.square().sum((-2, -1))
    flat = q.reshape(-1, *q.shape[-2:])
    return best_value(_gram(flat, flat), slopes, band, smoothing).view(q.shape[:-2])


def _gram(q0: Tensor, q1: Tensor) -> Tensor:
    """Products of all cells, (n, m, batch), of (batch, n, dim) and (batch, m, dim)."""
    return torch.bmm(q0, q1.mT).permute(1, 2, 0).contiguous()


def _ordered(q0: Tensor, q1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each pair in an order that does not depend on which came first, and the mask (batch,) of those swapped.

    A matrix product need not round a sum and its transpose alike. In one order the distance is symmetric to
    the last bit, and so is the choice between tied paths. Fewer cells come first, then smaller values.
    """
    n, m = q0.shape[1], q1.shape[1]
    if n != m:
        swapped = torch.full((len(q0),), n > m, device=q0.device)
        return (q1, q0, swapped) if n > m else (q0, q1, swapped)
    flat0, flat1 = q0.detach().flatten(1), q1.detach().flatten(1)
    differs = (flat0 != flat1).to(torch.uint8).argmax(1, keepdim=True)
    swapped = flat0.gather(1, differs) > flat1.gather(1, differs)
    mask = swapped[..., None]
    return torch.where(mask, q1, q0), torch.where(mask, q0, q1), swapped.squeeze(1)


def _paired(q0: Tensor, q1: Tensor) -> tuple[torch.Size, Tensor, Tensor]:
    """Broadcast batch shape, and both transforms as (batch, cells, dim)."""
    batch0, batch1 = q0.shape[:-2], q1.shape[:-2]
    try:
        shape = torch.broadcast_shapes(batch0, batch1)
    except RuntimeError:
        raise InputError(f"q1: wanted a batch that broadcasts with q0's {tuple(batch0)}, got {tuple(batch1)}") from None
    first, second = (q.expand(*shape, *q.shape[-2:]).reshape(-1, *q.shape[-2:]) for q in (q0, q1))
    return shape, first, second


class _Group(NamedTuple):
    """Curves of one length: their places in the collection, and (curves, cells, dim)."""

    places: Tensor
    curves: Tensor


def _groups(qs: Tensor | Sequence[Tensor], name: str, like: Tensor | None) -> list[_Group]:
    """The curves of a collection by number of cells."""
    if isinstance(qs, Tensor):
        if qs.dim() != 3 or not len(qs):
            raise InputError(f"{name}: wanted shape (curves >= 1, cells, dim), got {tuple(qs.shape)}")
        _check_transform(qs, name, like)
        return [_Group(torch.arange(len(qs)), qs)]
    if not qs:
        raise InputError(f"{name}: wanted at least one curve, got none")
    places: dict[int, list[int]] = {}
    for k, q in enumerate(qs):
        if q.dim() != 2:
            raise InputError(f"{name}[{k}]: wanted shape (cells, dim), got {tuple(q.shape)}")
        _check_transform(q, f"{name}[{k}]", qs[0] if like is None else like)
        places.setdefault(len(q), []).append(k)
    return [_Group(torch.tensor(at), torch.stack([qs[k] for k in at])) for at in places.values()]


def _blocks(
    rows: list[_Group], columns: list[_Group], symmetric: bool, slopes: int
) -> Iterator[tuple[_Group, _Group, Tensor, Tensor]]:
    """Two groups and the pairs (i, j) of curves in them to compute, a bounded number at a time."""
    for r, left in enumerate(rows):
        for c, right in enumerate(columns):
            if symmetric and r > c:
                continue
            pairs = torch.cartesian_prod(torch.arange(len(left.places)), torch.arange(len(right.places)))
            if symmetric and r == c:
                pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            n, m = left.curves.shape[1], right.curves.shape[1]
            for part in pairs.split(pairs_per_block(left.curves.new_empty(n, m, 0), slopes)):
                yield left, right, part[:, 0], part[:, 1]


def _check_options(slopes: int, band: int | float | None) -> None:
    if isinstance(slopes, bool) or not isinstance(slopes, int) or slopes < 1:
        raise InputError(f"slopes: wanted an integer >= 1, got {slopes!r}")
    if band is not None and not band >= 0:
        raise InputError(f"band: wanted a number of cells >= 0 or None, got {band}")


def _check_transform(q: Tensor, name: str, like: Tensor | None = None) -> None:
    if q.dim() < 2 or q.shape[-2] < 1:
        raise InputError(f"{name}: wanted shape (..., cells >= 1, dim), got {tuple(q.shape)}")
    if q.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{name}: wanted float32 or float64, got {q.dtype}")
    if like is not None and (q.shape[-1], q.dtype, q.device) != (like.shape[-1], like.dtype, like.device):
        raise InputError(
            f"{name}: wanted {like.shape[-1]} coordinates in {like.dtype} on {like.device} like the other "
            f"curves, got {q.shape[-1]} in {q.dtype} on {q.device}"
        )
    if not bool(q.isfinite().all()):
        raise InputError(f"{name}: wanted finite values, got NaN or infinity")
