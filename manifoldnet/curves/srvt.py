"""Square-root velocity transform of curves on Lie groups and its exact inverse."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.manifolds import LieGroup, Power


def srvt(
    curve: Float[Tensor, "..."],
    group: LieGroup,
    side: str = "left",
    norm: str = "joint",
    dt: int | float | Tensor | None = None,
) -> Float[Tensor, "*batch cells dim"]:
    """Square-root velocity transform q = eta / sqrt|eta| of a curve on a Lie group.

    After Celledoni, Eslitzbichler and Schmeding (2016). The curve is read as a chain of one-parameter
    subgroups: on cell i it has the constant velocity eta_i = v_i / dt_i with v_i = log(c_i^-1 c_(i+1)) (left)
    or log(c_(i+1) c_i^-1) (right). q does not change when the whole curve is multiplied by a fixed element
    from the named side.

    Args:
        curve: (..., N, *point) with N >= 2. The principal logarithm is taken, so that a rotation by more than
            pi between two samples is aliased; see :func:`srvt_of_increments`.
        group: the Lie group of the points.
        side: "left" is the velocity seen from the body, which a gyroscope measures; "right" the one seen from
            space.
        norm: "joint" takes |eta| over all coordinates, the transform of the product group; "perfactor" (only
            on a Power) takes it in each factor alone, so that squared distances are sums over the factors.
        dt: length of a cell, a number or (..., N-1), positive. With None q = v / sqrt|v|, whose sums of
            products over cells are integrals over time as they stand; with dt q is a density, to be weighted
            by dt.

    Returns:
        (..., N-1, dim). A cell at rest gives exactly 0, with gradient 0.

    Raises:
        InputError: the curve has no cell or the wrong point shape, side or norm is unknown, the group has no
            equal factors or no coordinates of shape (dim,), or dt is not positive.
    """
    axis = -(group.ndim + 1)
    _check_side(side)
    if curve.dim() <= group.ndim or curve.shape[axis] < 2:
        raise InputError(f"curve: wanted shape (..., N, *point) with N >= 2 samples, got {tuple(curve.shape)}")
    point = tuple(curve.shape[curve.dim() - group.ndim :])
    if group.point_shape is not None and point != tuple(group.point_shape):
        raise InputError(f"curve: wanted points of shape {tuple(group.point_shape)}, got {point}")
    cells = curve.shape[axis] - 1
    start, end = curve.narrow(axis, 0, cells), curve.narrow(axis, 1, cells)
    if side == "left":
        v = group.log(group.compose(group.inverse(start), end))
    else:
        v = group.log(group.compose(end, group.inverse(start)))
    if v.dim() != curve.dim() - group.ndim + 1:
        raise InputError(f"group: wanted coordinates of shape (dim,), got {tuple(v.shape[curve.dim() - group.ndim :])}")
    return srvt_of_increments(v, dt, factors=_factors(group, norm))


def srvt_of_increments(
    v: Float[Tensor, "*batch cells dim"], dt: int | float | Tensor | None = None, factors: int = 1
) -> Float[Tensor, "*batch cells dim"]:
    """The transform from logarithmic increments, without the curve.

    A gyroscope that samples the body velocity w gives the left increments v = w / rate of the attitude: it
    need not be integrated, its start need not be known, and a step may turn by more than pi.

    Args:
        v: (..., cells, dim), increments log(c_i^-1 c_(i+1)) or log(c_(i+1) c_i^-1).
        dt: as in :func:`srvt`.
        factors: number of equal blocks of coordinates with a norm of their own; 1 is the joint norm.

    Returns:
        (..., cells, dim), exactly 0 where |v| / dt is below eps^2 of the dtype.

    Raises:
        InputError: dim is not a multiple of ``factors``, or dt is not positive.
    """
    if factors < 1 or v.shape[-1] % factors:
        raise InputError(f"factors: wanted a divisor of the {v.shape[-1]} coordinates, got {factors}")
    eta = _blocks(v if dt is None else v / _cell_lengths(dt, v), factors)
    square = eta.square().sum(-1, keepdim=True)
    # the derivative of |eta|^(-1/2) overflows at 0, and below eps^2 in float32
    moving = square > torch.finfo(v.dtype).eps ** 4
    return (eta * torch.where(moving, torch.where(moving, square, 1.0) ** -0.25, 0.0)).flatten(-2)


def inverse_srvt(
    q: Float[Tensor, "*batch cells dim"],
    group: LieGroup,
    start: Float[Tensor, "..."],
    dt: int | float | Tensor | None = None,
    side: str = "left",
    norm: str = "joint",
) -> Float[Tensor, "..."]:
    """The curve through ``start`` with transform q: c_(i+1) = c_i exp(dt |q_i| q_i), or exp(...) c_i (right).

    Args:
        q: (..., cells, dim) as :func:`srvt` gives it for the same side, norm and dt.
        start: (..., *point), the first sample; broadcasts against the batch of q.

    Returns:
        (..., cells + 1, *point); the inverse of :func:`srvt` to rounding. The gradient at q = 0 is 0.

    Raises:
        InputError: as :func:`srvt`.
    """
    _check_side(side)
    parts = _blocks(q, _factors(group, norm))
    v = (parts * torch.linalg.vector_norm(parts, dim=-1, keepdim=True)).flatten(-2)
    products = group.exp(v if dt is None else v * _cell_lengths(dt, v))
    axis = -(group.ndim + 1)
    cells = q.shape[-2]
    # products of the first k cells by doubling: log2(cells) batched products, not one for each cell
    reach = 1
    while reach < cells:
        earlier, later = products.narrow(axis, 0, cells - reach), products.narrow(axis, reach, cells - reach)
        longer = group.compose(earlier, later) if side == "left" else group.compose(later, earlier)
        products = torch.cat([products.narrow(axis, 0, reach), longer], axis)
        reach *= 2
    first = start.unsqueeze(axis)
    rest = group.compose(first, products) if side == "left" else group.compose(products, first)
    shape = list(rest.shape)
    shape[axis] = 1
    return torch.cat([first.expand(shape), rest], axis)


def _blocks(v: Tensor, factors: int) -> Tensor:
    return v.unflatten(-1, (factors, v.shape[-1] // factors))


def _check_side(side: str) -> None:
    if side not in ("left", "right"):
        raise InputError(f'side: wanted "left" or "right", got {side!r}')


def _factors(group: LieGroup, norm: str) -> int:
    if norm == "joint":
        return 1
    if norm != "perfactor":
        raise InputError(f'norm: wanted "joint" or "perfactor", got {norm!r}')
    if not isinstance(group, Power):
        raise InputError(f'norm: "perfactor" needs a Power of a group, got {group.name}')
    return group.n


def _cell_lengths(dt: int | float | Tensor, v: Tensor) -> Tensor:
    """dt as (..., cells, 1) or (1,), beside v of shape (..., cells, dim)."""
    lengths = torch.as_tensor(dt, dtype=v.dtype, device=v.device)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise InputError("dt: wanted positive, finite lengths of the cells")
    if lengths.dim() and lengths.shape[-1] != v.shape[-2]:
        raise InputError(f"dt: wanted a number or one for each of the {v.shape[-2]} cells, got {tuple(lengths.shape)}")
    return lengths[..., None]
