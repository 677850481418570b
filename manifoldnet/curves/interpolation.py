"""Blending of two motions: corresponding phases are found by elastic alignment and interpolated on the group."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.curves.elastic import align
from manifoldnet.curves.shape_space import fractional_index, invert_warp, uniform_grid
from manifoldnet.curves.srvt import inverse_srvt, srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import LieGroup


def interpolate_motions(
    curve0: Float[Tensor, "..."],
    curve1: Float[Tensor, "..."],
    s: int | float | Float[Tensor, "*times"],
    group: LieGroup,
    slopes: int = 6,
    side: str = "left",
    norm: str = "joint",
    timing: str = "first",
) -> Float[Tensor, "..."]:
    """A motion between two, at the share s of the way along the geodesic of their shapes.

    curve1 is run through at the speed phi that brings it closest to curve0; the transforms of the two are then
    interpolated by a straight line (Celledoni, Eslitzbichler and Schmeding 2016) and the starts by
    start0 exp(s log(start0^-1 start1)). All this is done on the union of the samples of curve0 and the moved
    samples of curve1, where both are exact, so that nothing is lost at either end:

    * s = 0 is curve0;
    * s = 1 is curve1 o phi, or with timing="blended" curve1 itself, at the times of the samples.

    Moving both motions by one element from the named side moves the result by it.

    Args:
        curve0, curve1: (..., N, *point) and (..., M, *point), at least two samples; leading dimensions broadcast.
        s: number or tensor that broadcasts against the batch; (times, 1) for every time of every pair.
        group, side, norm: as in :func:`srvt`.
        slopes: as in :func:`elastic_distance`.
        timing: "first" runs every result through at the speed of curve0. "blended" gives the phase that curve0
            reaches at t and curve1 at phi(t) the time (1 - s) t + s phi(t), for 0 <= s <= 1.

    Returns:
        (..., N, *point), at N equal steps of time. The gradient holds phi fixed.

    Raises:
        InputError: as :func:`srvt` and :func:`elastic_distance`, timing is unknown, or s is out of range.
    """
    if timing not in ("first", "blended"):
        raise InputError(f'timing: wanted "first" or "blended", got {timing!r}')
    share = torch.as_tensor(s, dtype=curve0.dtype, device=curve0.device)
    if timing == "blended" and not bool(((share >= 0) & (share <= 1)).all()):
        raise InputError('s: wanted numbers from 0 to 1 with timing "blended"')
    q0, q1 = srvt(curve0, group, side, norm), srvt(curve1, group, side, norm)
    phi = align(q0, q1, slopes)
    try:
        torch.broadcast_shapes(share.shape, phi.shape[:-1])
    except RuntimeError:
        raise InputError(
            f"s: wanted a shape that broadcasts with {tuple(phi.shape[:-1])}, got {tuple(share.shape)}"
        ) from None
    time0, time1 = _merged_grid(phi, q1.shape[-2])
    fine0, fine1 = _refined(q0, time0), _refined(q1, time1)
    weight = share[..., None]
    start0, start1 = (curve.select(-(group.ndim + 1), 0) for curve in (curve0, curve1))
    start = group.compose(start0, group.exp(weight * group.log(group.compose(group.inverse(start0), start1))))
    q = (1 - weight[..., None]) * fine0 + weight[..., None] * fine1
    curve = inverse_srvt(q, group, start, side=side, norm=norm)
    time = (1 - weight) * time0 + weight * time1 if timing == "blended" else time0.expand(*q.shape[:-2], -1)
    return _sampled(curve, fractional_index(time, uniform_grid(q0.shape[-2], time)), group)


def _merged_grid(phi: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Times t of the nodes i / n and the preimages of j / m in order, and phi(t), both (..., n + m).

    Nodes may coincide, which makes a cell of length 0.
    """
    n = phi.shape[-1] - 1
    first = uniform_grid(n, phi).expand_as(phi)
    second = uniform_grid(m, phi)[1:-1].expand(*phi.shape[:-1], m - 1)
    time0, order = torch.cat([first, invert_warp(phi, m)[..., 1:-1]], -1).sort(dim=-1, stable=True)
    # where phi(i / n) is rounding above j / m, the preimage of j / m may round to i / n and come second
    return time0, torch.cat([phi, second], -1).gather(-1, order).cummax(-1).values


def _refined(q: Tensor, time: Tensor) -> Tensor:
    """The step function q on the cells between the times, none of which reaches over two cells of q."""
    cells = q.shape[-2]
    x = cells * time
    index = ((x[..., 1:] + x[..., :-1]) / 2).long().clamp(max=cells - 1)
    q = q.expand(*index.shape[:-1], *q.shape[-2:])
    return torch.take_along_dim(q, index[..., None], -2) * x.diff(dim=-1).sqrt()[..., None]


def _sampled(curve: Tensor, position: Tensor, group: LieGroup) -> Tensor:
    """Points at fractional positions (..., points) of the chain of one-parameter subgroups through the samples."""
    axis = -(group.ndim + 1)
    index = position.detach().long().clamp(max=curve.shape[axis] - 2)
    step = (position - index)[..., None]
    index = index[(...,) + (None,) * group.ndim]
    below, above = (torch.take_along_dim(curve, index + k, axis) for k in (0, 1))
    return group.compose(below, group.exp(step * group.log(group.compose(group.inverse(below), above))))
