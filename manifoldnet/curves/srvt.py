"""Square-root velocity transform of curves on Lie groups and homogeneous spaces, and its exact inverse."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.curves.homogeneous import check_side, coordinates, develop, increments, present_cells
from manifoldnet.errors import InputError
from manifoldnet.manifolds import Power, Product, Space


def srvt(
    curve: Float[Tensor, "..."],
    group: Space,
    side: str = "left",
    norm: str = "joint",
    dt: int | float | Tensor | None = None,
    mask: Bool[Tensor, "..."] | None = None,
    weights: Float[Tensor, "_k"] | None = None,
) -> Float[Tensor, "*batch cells dim"]:
    """Square-root velocity transform q = eta / sqrt|eta| of a curve on a Lie group or a homogeneous space.

    After Celledoni, Eslitzbichler and Schmeding (2016), and Celledoni, Eidnes and Schmeding (2017). The curve is read
    as a chain of one-parameter subgroups: on cell i it has the constant velocity eta_i = v_i / dt_i with
    v_i = log(c_i^-1 c_(i+1)) (left) or log(c_(i+1) c_i^-1) (right). q does not change when the whole curve is
    multiplied by a fixed element from the named side.

    On a space that is no group, v_i is the horizontal lift of the geodesic, exp(v_i).c_i = c_(i+1), in the algebra of
    the group that acts; for unit vectors in R^3 it is the angle times c_i x c_(i+1) / |c_i x c_(i+1)|. Under a fixed
    element g, q becomes Ad_g q, so that rotations leave all |q_i| and inner products of q as they are.

    Args:
        curve: (..., N, *point) with N >= 2. The principal logarithm is taken, so that a rotation by more than
            pi between two samples is aliased; see :func:`srvt_of_increments`.
        group: the space of the points.
        side: "left" is the velocity seen from the body, which a gyroscope measures; "right" the one seen from
            space. Where the space is no group (a Product with one such factor included) both mean the latter.
        norm: "joint" takes |eta| over all coordinates, the transform of the product group; "perfactor" (only
            on a Power or Product) takes it in each factor alone, so that squared distances are sums over the factors.
        dt: length of a cell, a number or (..., N-1), positive. With None q = v / sqrt|v|, whose sums of
            products over cells are integrals over time as they stand; with dt q is a density, to be weighted
            by dt.
        mask: (..., N), which samples are present, for curves of different lengths in one batch. A cell with an absent
            end is at rest, whatever (NaN included) curve and dt hold there; nothing flows back to it.
        weights: the inner product of the algebra is sum_k w_k u_k v_k instead of the sum of products: positive, one
            for each factor of a Power or Product, or one for each coordinate. q is sqrt(w) eta / sqrt|sqrt(w) eta|,
            with |.| and inner products the standard ones again, so that all functions of q hold unchanged. Weights
            can be learned, as the exponential of a parameter.

    Returns:
        (..., N-1, dim), |q_i|^2 in the unit of v (radians on rotations; radians per unit of dt). A cell at rest, one
        between equal samples, gives exactly 0, with gradient 0.

    Raises:
        InputError: the curve has no cell or the wrong point shape, side or norm is unknown, the group has no factors
            or no coordinates of shape (dim,), its geodesics are no motions of its group (Bures-Wasserstein), the mask
            has another length, weights another number, or dt or weights are not positive (unchecked in a tensor when
            compiled).
    """
    v = increments(curve, group, side, mask)
    if mask is not None and isinstance(dt, Tensor):
        dt = torch.where(present_cells(mask, v.shape[:-2], v.shape[-2]), dt, 1.0)
    return srvt_of_increments(v, dt, norm_sizes(group, norm, v.shape[-1]), _per_coordinate(weights, group, v.shape[-1]))


def srvt_of_increments(
    v: Float[Tensor, "*batch cells dim"],
    dt: int | float | Tensor | None = None,
    factors: int | Sequence[int] = 1,
    weights: Float[Tensor, "_k"] | None = None,
) -> Float[Tensor, "*batch cells dim"]:
    """The transform from logarithmic increments, without the curve.

    A gyroscope that samples the body velocity w in rad/s gives the left increments v = w / rate of the attitude: it
    need not be integrated, its start need not be known, and a step may turn by more than pi.

    Args:
        v: (..., cells, dim), increments log(c_i^-1 c_(i+1)) or log(c_(i+1) c_i^-1).
        dt: as in :func:`srvt`.
        factors: blocks of coordinates with a norm of their own, as the number of equal ones or as the size of each;
            1 is the joint norm.
        weights: as in :func:`srvt`, one for each block or each coordinate.

    Returns:
        (..., cells, dim), exactly 0 where |v| / dt is below eps^2 of the dtype.

    Raises:
        InputError: the blocks do not fill dim, the number of weights fits neither, or dt or weights are not positive.
    """
    sizes = _block_sizes(factors, v.shape[-1])
    eta = v if dt is None else v / _cell_lengths(dt, v)
    return _per_block(_over_root, eta if weights is None else eta * _root_of(weights, sizes), sizes)


def inverse_srvt(
    q: Float[Tensor, "*batch cells dim"],
    group: Space,
    start: Float[Tensor, "..."],
    dt: int | float | Tensor | None = None,
    side: str = "left",
    norm: str = "joint",
    weights: Float[Tensor, "_k"] | None = None,
) -> Float[Tensor, "..."]:
    """The curve through ``start`` with transform q: c_(i+1) = c_i exp(dt |q_i| q_i), or exp(...).c_i (right).

    Args:
        q: (..., cells, dim) as :func:`srvt` gives it for the same side, norm, dt and weights.
        start: (..., *point), the first sample; broadcasts against the batch of q.

    Returns:
        (..., cells + 1, *point); the inverse of :func:`srvt` to rounding. The curve stays where q = 0, with gradient
        0, so that one made with a mask stays at its last sample present.

    Raises:
        InputError: as :func:`srvt`.
    """
    check_side(side)
    dim = q.shape[-1]
    v = increments_of_srvt(q, dt, norm_sizes(group, norm, dim), _per_coordinate(weights, group, dim))
    return develop(group, v, start, side)


def increments_of_srvt(
    q: Float[Tensor, "*batch cells dim"],
    dt: int | float | Tensor | None = None,
    factors: int | Sequence[int] = 1,
    weights: Float[Tensor, "_k"] | None = None,
) -> Float[Tensor, "*batch cells dim"]:
    """v = dt |q| q, the inverse of :func:`srvt_of_increments` with the same options; the gradient at q = 0 is 0."""
    sizes = _block_sizes(factors, q.shape[-1])
    eta = _per_block(lambda part: part * torch.linalg.vector_norm(part, dim=-1, keepdim=True), q, sizes)
    v = eta if dt is None else eta * _cell_lengths(dt, q)
    return v if weights is None else v / _root_of(weights, sizes)


def unit_length(
    q: Float[Tensor, "*batch cells dim"], dt: int | float | Tensor | None = None
) -> Float[Tensor, "*batch cells dim"]:
    """q / |q|, of curves of length 1, for comparisons that are free of scale; |q|^2 = sum dt |q_i|^2 is the length.

    The chord |p - q| of two such transforms is 2 sin(a / 2) for the angle a = arccos <p, q> between them. On a vector
    space it is the transform of the curve scaled by 1 / |q|^2.

    Args:
        q: (..., cells, dim) as :func:`srvt` gives it for this dt.

    Returns:
        (..., cells, dim); a curve at rest, with |q| below eps^2 of the dtype, gives 0 with gradient 0.
    """
    squares = q.square() if dt is None else q.square() * _cell_lengths(dt, q)
    length = squares.sum((-2, -1), keepdim=True)
    moving = length > torch.finfo(q.dtype).eps ** 4
    return torch.where(moving, q / torch.where(moving, length, 1.0).sqrt(), 0.0)


def norm_sizes(group: Space, norm: str, dim: int) -> tuple[int, ...]:
    """Sizes of the blocks of the dim coordinates that have a norm of their own.

    Raises:
        InputError: the norm is unknown, or "perfactor" on what has no factors.
    """
    if norm == "joint":
        return (dim,)
    if norm != "perfactor":
        raise InputError(f'norm: wanted "joint" or "perfactor", got {norm!r}')
    if not isinstance(group, Power | Product):
        raise InputError(f'norm: "perfactor" needs a Power or a Product, got {group.name}')
    return _factor_sizes(group, dim)


def _factor_sizes(group: Space, dim: int) -> tuple[int, ...]:
    if isinstance(group, Product):
        return tuple(coordinates(factor) for factor in group.spaces)
    n = group.n if isinstance(group, Power) else 1
    return (dim // n,) * n


def _per_coordinate(weights: Tensor | None, group: Space, dim: int) -> Tensor | None:
    return None if weights is None else _spread(weights, _factor_sizes(group, dim))


def _spread(weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """The weights of blocks or of coordinates, one for each coordinate."""
    dim, blocks = sum(sizes), len(sizes)
    if weights.dim() != 1 or len(weights) not in (blocks, dim):
        raise InputError(f"weights: wanted shape ({blocks},) or ({dim},), got {tuple(weights.shape)}")
    if len(weights) == dim:
        return weights
    block = [k for k, size in enumerate(sizes) for _ in range(size)]
    return weights[torch.tensor(block, device=weights.device)]


def _root_of(weights: Tensor, sizes: Sequence[int]) -> Tensor:
    _check_positive(weights, "weights: wanted positive, finite scales of the inner product")
    return _spread(weights, sizes).sqrt()


def _block_sizes(factors: int | Sequence[int], dim: int) -> tuple[int, ...]:
    if isinstance(factors, int):
        if factors < 1 or dim % factors:
            raise InputError(f"factors: wanted a divisor of the {dim} coordinates, got {factors}")
        return (dim // factors,) * factors
    sizes = tuple(factors)
    if sum(sizes) != dim or min(sizes, default=0) < 1:
        raise InputError(f"factors: wanted sizes of blocks that fill the {dim} coordinates, got {sizes}")
    return sizes


def _per_block(f: Callable[[Tensor], Tensor], v: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """f of each block of coordinates, the last dimension."""
    if len(set(sizes)) == 1:
        return f(v.unflatten(-1, (len(sizes), sizes[0]))).flatten(-2)
    return torch.cat([f(part) for part in v.split(sizes, -1)], -1)


def _over_root(eta: Tensor) -> Tensor:
    """eta / sqrt|eta| over the last dimension."""
    square = eta.square().sum(-1, keepdim=True)
    # the derivative of |eta|^(-1/2) overflows at 0, and below eps^2 in float32
    moving = square > torch.finfo(eta.dtype).eps ** 4
    return eta * torch.where(moving, torch.where(moving, square, 1.0) ** -0.25, 0.0)


def _check_positive(value: Tensor, message: str) -> None:
    # a graph has no branch on the values of a tensor
    if not torch.compiler.is_compiling() and not bool(((value > 0) & value.isfinite()).all()):
        raise InputError(message)


def _cell_lengths(dt: int | float | Tensor, v: Tensor) -> float | Tensor:
    """dt as a number, or as (..., cells, 1) or (1,) beside v of shape (..., cells, dim)."""
    message = "dt: wanted positive, finite lengths of the cells"
    if not isinstance(dt, Tensor):
        if not 0 < dt < math.inf:
            raise InputError(f"{message}, got {dt}")
        return float(dt)
    if dt.dim() and dt.shape[-1] != v.shape[-2]:
        raise InputError(f"dt: wanted a number or one for each of the {v.shape[-2]} cells, got {tuple(dt.shape)}")
    _check_positive(dt, message)
    return dt.to(v)[..., None]
