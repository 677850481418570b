"""The cells of a curve as generators, and the curve that generators make, on every space with an action.

Between two samples the curve is read as the motion exp(t eta).c_i of a one-parameter subgroup (Celledoni, Eidnes and
Schmeding 2017). A Lie group can be acted on from either side; on another space the group acts from the left, and there
is only the generator seen from space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.manifolds import BuresWassersteinSPD, Group, LieGroup, Power, Product, Space


def increments(
    curve: Float[Tensor, "..."], group: Space, side: str = "left", mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*batch cells dim"]:
    """The increments log(c_i^-1 c_(i+1)) (left) or log(c_(i+1) c_i^-1) (right) of a curve on a Lie group.

    They are the steps of the path x(t) = integral of c^-1 c' (left) or c' c^-1 (right) in the Lie algebra, whose
    signature is that of the curve (Celledoni, Lystad and Tapia 2019). They do not change when the whole curve is
    multiplied by a fixed element from the named side. On a space that is no group they are
    :func:`generators` of the group that acts.

    Args:
        curve: (..., N, *point) with N >= 2. The principal logarithm is taken: a rotation by more than pi between
            two samples is aliased. Body rates w of a gyroscope in rad/s give the left increments w / rate directly.
        side: "left" or "right"; without meaning where the space is no group.
        mask: (..., N), which samples are present, for curves of different lengths in one batch. A cell with an absent
            end has the increment 0, whatever (NaN included) the curve holds there; nothing flows back to it.

    Returns:
        (..., N-1, dim), exactly 0 between equal samples.

    Raises:
        InputError: the curve has no cell or the wrong point shape, side is unknown, the mask has another length, the
            space has no coordinates of shape (dim,), or :func:`generators` refuses it.
    """
    check_side(side)
    axis = -(group.ndim + 1)
    if curve.dim() <= group.ndim or curve.shape[axis] < 2:
        raise InputError(f"curve: wanted shape (..., N, *point) with N >= 2 samples, got {tuple(curve.shape)}")
    batch, point = curve.shape[: curve.dim() - group.ndim - 1], tuple(curve.shape[curve.dim() - group.ndim :])
    if group.point_shape is not None and point != tuple(group.point_shape):
        raise InputError(f"curve: wanted points of shape {tuple(group.point_shape)}, got {point}")
    cells = curve.shape[axis] - 1
    start, end = curve.narrow(axis, 0, cells), curve.narrow(axis, 1, cells)
    if mask is not None:
        present = present_cells(mask, batch, cells)
        batch = present.shape[:-1]
        # the logarithm's derivative at a padded sample may be NaN, and NaN times 0 is NaN
        absent = ~present[(...,) + (None,) * group.ndim]
        origin = group.origin(*point, dtype=curve.dtype).to(curve.device)
        start, end = torch.where(absent, origin, start), torch.where(absent, origin, end)
    v = generators(group, start, end, side)
    if v.dim() != len(batch) + 2:
        raise InputError(f"group: wanted coordinates of shape (dim,), got {tuple(v.shape[len(batch) + 1 :])}")
    # rounding would leave 1e-16 of a repeated sample, which a square root turns into 1e-8
    equal = start == end
    at_rest = equal.all(tuple(range(-group.ndim, 0))) if group.ndim else equal
    return torch.where(at_rest.unsqueeze(-1), 0.0, v)


def generators(
    space: Space, start: Float[Tensor, "..."], end: Float[Tensor, "..."], side: str = "right"
) -> Float[Tensor, "..."]:
    """The generator eta that moves ``start`` to ``end`` in unit time, exp(eta).start = end.

    On a Lie group it is the principal logarithm: log(end start^-1) for the side "right", and log(start^-1 end) for
    "left", with which start exp(eta) = end. On another space it is the horizontal lift of ``space.logmap``, exact
    because the space's geodesics are motions of its group; ``side`` is not used. On the sphere in R^3 it is the
    rotation vector (angle / |p x p'|) p x p', finite at antipodes, where ``logmap`` chooses one of the half turns.

    |eta| is the length of the geodesic on spheres, Stiefel and Grassmann manifolds and SPD(n) with the log-Euclidean
    or log-Cholesky metric. The algebras of GL(n) and of the Lorentz group have no invariant norm: with the
    affine-invariant metric and on hyperbolic space |eta| also depends on where the geodesic lies.

    Args:
        start, end: (..., *point); batches broadcast.

    Returns:
        (..., dim), coordinates in the algebra of the acting group; those of a Product or Power factor by factor.

    Raises:
        InputError: the geodesics of the space are no motions, as those of the Bures-Wasserstein metric are not.
    """
    if isinstance(space, LieGroup):
        if side == "left":
            return space.log(space.compose(space.inverse(start), end))
        return space.log(space.compose(end, space.inverse(start)))
    if isinstance(space, Product):
        factors = zip(space.spaces, space.split(start), space.split(end), strict=True)
        return torch.cat([generators(*factor) for factor in factors], -1)
    if isinstance(space, Power):
        return generators(space.space, start, end).flatten(-2)
    if isinstance(space, BuresWassersteinSPD):
        raise InputError(
            f"group: the geodesics of {space.name} are not motions exp(t eta).c, so that its lift would not lead from "
            "sample to sample; wanted a Lie group or a space whose geodesics are"
        )
    return space.lift(start, space.logmap(start, end))


def develop(
    space: Space, eta: Float[Tensor, "*batch cells dim"], start: Float[Tensor, "..."], side: str = "right"
) -> Float[Tensor, "..."]:
    """The curve from ``start`` with these generators, c_(i+1) = exp(eta_i).c_i, or c_i exp(eta_i) on the left.

    Args:
        eta: (..., cells, dim) as :func:`generators` gives them.
        start: (..., *point); broadcasts against the batch of eta.

    Returns:
        (..., cells + 1, *point).
    """
    if isinstance(space, LieGroup):
        products = running_products(space, eta, side)
        first = start.unsqueeze(-(space.ndim + 1))
        rest = space.compose(first, products) if side == "left" else space.compose(products, first)
    elif isinstance(space, Product):
        etas = eta.split([coordinates(factor) for factor in space.spaces], -1)
        factors = zip(space.spaces, etas, space.split(start), strict=True)
        return space.join([develop(*factor) for factor in factors])
    elif isinstance(space, Power):
        copies = develop(space.space, eta.unflatten(-1, (space.n, -1)).transpose(-2, -3), start)
        return copies.transpose(-(space.ndim + 1), -space.ndim)
    else:
        first = start.unsqueeze(-(space.ndim + 1))
        rest = space.action.act(running_products(space.action.group, eta), first)
    axis = rest.dim() - space.ndim - 1
    shape = list(rest.shape)
    shape[axis] = 1
    return torch.cat([first.expand(shape), rest], axis)


def running_products(group: Group, eta: Float[Tensor, "*batch cells dim"], side: str = "right") -> Float[Tensor, "..."]:
    """exp(eta_i) ... exp(eta_0), or exp(eta_0) ... exp(eta_i) for the side "left"; shape (..., cells, *element)."""
    products = group.exp(eta)
    axis, cells = eta.dim() - 2, eta.shape[-2]
    # by doubling: log2(cells) batched products, not one for each cell
    reach = 1
    while reach < cells:
        earlier, later = products.narrow(axis, 0, cells - reach), products.narrow(axis, reach, cells - reach)
        longer = group.compose(earlier, later) if side == "left" else group.compose(later, earlier)
        products = torch.cat([products.narrow(axis, 0, reach), longer], axis)
        reach *= 2
    return products


def coordinates(space: Space) -> int:
    """Number of coordinates of a generator of the group that acts on the space.

    Raises:
        InputError: the space does not know its size.
    """
    dim = space.dim if isinstance(space, LieGroup) else space.action.group.dim
    if dim is None:
        raise InputError(f"group: wanted every factor with a known size, got {space.name}")
    return dim


def check_side(side: str) -> None:
    """Raises InputError unless the side is "left" or "right"."""
    if side not in ("left", "right"):
        raise InputError(f'side: wanted "left" or "right", got {side!r}')


def present_cells(mask: Tensor, batch: Sequence[int], cells: int) -> Tensor:
    """Whether both ends of a cell are present, (..., cells) with the common batch of mask and curve."""
    if mask.dtype != torch.bool or not mask.dim() or mask.shape[-1] != cells + 1:
        raise InputError(f"mask: wanted bool of shape (..., {cells + 1}), got {mask.dtype} of {tuple(mask.shape)}")
    try:
        shape = torch.broadcast_shapes(mask.shape[:-1], batch)
    except RuntimeError:
        came = tuple(mask.shape[:-1])
        raise InputError(f"mask: wanted a batch that broadcasts with the curve's {tuple(batch)}, got {came}") from None
    return (mask[..., 1:] & mask[..., :-1]).expand(*shape, cells)
