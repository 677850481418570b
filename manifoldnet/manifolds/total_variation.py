"""Total variation of first and second order on grids of points of a manifold, minimised by cyclic proximal points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_expm, sym_from_vector, sym_logm, sym_to_vector
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.spd_log_euclidean import LogEuclideanSPD

FIRST_STEP = 1.0  # proximal steps are FIRST_STEP / k: their sum diverges, the sum of their squares does not
Move = Callable[..., tuple[Tensor, ...]]


def tv_denoise(
    space: Space,
    image: Float[Tensor, "..."],
    alpha: float | int,
    beta: float | int = 0.0,
    *,
    weights: Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
    ndim: int = 2,
    iterations: int = 200,
) -> Float[Tensor, "..."]:
    """The image x with the least energy, which trades nearness to the given image f for small differences.

        1/2 sum_i w_i d(x_i, f_i)^2 + alpha sum_(i, j) d(x_i, x_j) + beta sum_(i, j, k) 2 d(mid(x_i, x_k), x_j)

    over the pairs (i, j) of neighbours and the triples (i, j, k) of successive points along every axis of the grid; in
    a vector space the last summand is |x_i - 2 x_j + x_k|. Weinmann, Demaret & Storath (2014), "Total variation
    regularization for manifold-valued data"; Bacak, Bergmann, Steidl & Weinmann (2016), "A second order nonsmooth
    variational model for restoring manifold-valued images".

    Every iteration takes proximal steps of the summands one after the other, those that share no point at once. The
    steps of pairs are exact on every manifold. Those of triples are exact in flat spaces, also where angles wrap
    (Bergmann, Laus, Steidl & Weinmann 2014, "Second order differences of cyclic data and applications in variational
    denoising"); elsewhere a step along the Riemannian gradient, no longer than to the zero of its linearisation, takes
    their place, which is the same step where there is no curvature. On spaces of curvature <= 0 with infinite
    injectivity radius the energy with beta = 0 is convex and iterations approach its minimum; elsewhere a stationary
    point near f. Derivatives do not pass.

    Args:
        space: where the points live.
        image: (*batch, *grid, *point), with ``ndim`` grid dimensions.
        alpha: of first differences, in units of the distance, 0 or more.
        beta: of second differences, in the same units.
        weights: (*batch, *grid), 0 or more, what the points of ``image`` count; 1 when None. Iterations start at
            ``image`` and move a point by about alpha log(iterations), so one of weight 0 should not be far off.
        mask: (*batch, *grid) or (*grid), where there are points; the others take no part and come back as they were.
        ndim: number of grid dimensions, 1 or more.
        iterations: the remaining error is roughly proportional to 1 / iterations.

    Returns:
        As ``image``.

    Raises:
        InputError: for numbers, weights or shapes out of range.
    """
    _check(space, image, alpha, beta, ndim, iterations)
    grid = image.shape[: image.dim() - space.ndim]
    inside = _on_grid("mask", mask, grid, image, torch.bool)
    pull = _on_grid("weights", weights, grid, image, image.dtype)
    if weights is not None and not bool((weights >= 0).all()):
        raise InputError("weights: has negative values or NaN; wanted 0 or more")
    if not bool(inside.any()):
        return image.clone()
    with torch.no_grad():
        # what lies outside is replaced by some point of the image, so that no formula fails there
        chosen = inside[(...,) + (None,) * space.ndim]
        data = torch.where(chosen, image, image[inside][0])
        axes = range(len(grid) - ndim, len(grid))
        if isinstance(space, LogEuclideanSPD):  # the logarithm is an isometry, and it need not be taken every time
            logarithms = sym_to_vector(sym_logm(data))
            smooth = _minimise(Euclidean(1), logarithms, pull, inside, axes, alpha, beta, iterations)
            result = sym_expm(sym_from_vector(smooth))
        else:
            result = space.projx(_minimise(space, data, pull, inside, axes, alpha, beta, iterations))
        return torch.where(chosen, result, image)


def _minimise(
    space: Space, data: Tensor, pull: Tensor, inside: Tensor, axes: range, alpha: float, beta: float, iterations: int
) -> Tensor:
    """Cyclic proximal steps from the data."""
    x = data.clone()
    triple = _flat_triple if beta and space.curvature_bounds() == (0.0, 0.0) else _curved_triple
    for k in range(1, iterations + 1):
        step = FIRST_STEP / k
        x = space.geodesic(x, data, step * pull / (1 + step * pull))
        for axis in axes:
            if alpha:
                _sweep(space, x, inside, axis, 2, _pair, step * alpha)
            if beta:
                _sweep(space, x, inside, axis, 3, triple, step * beta)
    return x


def _sweep(space: Space, x: Tensor, inside: Tensor, axis: int, length: int, move: Move, step: float) -> None:
    """Move all runs of ``length`` successive points along the axis, in place and in as many parts as they overlap."""
    points, exists = x.movedim(axis, 0), inside.movedim(axis, 0)
    for first in range(length):
        count = (len(points) - first) // length
        if not count:
            continue
        runs = [slice(first + j, first + j + (count - 1) * length + 1, length) for j in range(length)]
        old = [points[run] for run in runs]
        whole = torch.stack([exists[run] for run in runs]).all(0)
        amount = torch.where(whole, step, 0.0).to(x.dtype)
        moved = move(space, *old, amount)
        for before, after in zip(old, moved, strict=True):
            before.copy_(torch.where(whole[(...,) + (None,) * space.ndim], after, before))


def _pair(space: Space, a: Tensor, b: Tensor, step: Tensor) -> tuple[Tensor, ...]:
    """Proximal step of d(a, b): both move towards each other by ``step``, at most to the midpoint."""
    along = space.logmap(a, b)
    t = (step / _positive(space.norm(a, along))).clamp_max(0.5)[(...,) + (None,) * space.ndim]
    return space.expmap(a, t * along), space.expmap(a, (1 - t) * along)


def _flat_triple(space: Space, a: Tensor, b: Tensor, c: Tensor, step: Tensor) -> tuple[Tensor, ...]:
    """Proximal step of |a - 2 b + c|; where space is periodic, of its shortest representative."""
    second = space.logmap(b, a) + space.logmap(b, c)
    second = space.logmap(b, space.expmap(b, second))
    size = space.norm(b, second)
    amount = torch.minimum(step, size / 6) / _positive(size)
    second = amount[(...,) + (None,) * space.ndim] * second
    first, last = (space.expmap(end, -space.transp(b, end, second)) for end in (a, c))
    return first, space.expmap(b, 2 * second), last


def _curved_triple(space: Space, a: Tensor, b: Tensor, c: Tensor, step: Tensor) -> tuple[Tensor, ...]:
    """Step of length ``step`` down the gradient of 2 d(mid(a, c), b), or to the zero of its linearisation."""
    points = [p.clone().requires_grad_() for p in (a, b, c)]
    with torch.enable_grad():
        value = 2 * space.dist(space.geodesic(points[0], points[2], 0.5), points[1])
        gradients = torch.autograd.grad(value.sum(), points)
    slopes = [space.egrad2rgrad(p, g) for p, g in zip((a, b, c), gradients, strict=True)]
    squared = torch.stack([space.inner(p, s) for p, s in zip((a, b, c), slopes, strict=True)]).sum(0)
    amount = torch.minimum(step, value.detach() / _positive(squared))[(...,) + (None,) * space.ndim]
    return tuple(space.expmap(p, -amount * s) for p, s in zip((a, b, c), slopes, strict=True))


def _positive(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(x.dtype).tiny)


def _on_grid(name: str, values: Tensor | None, grid: torch.Size, image: Tensor, dtype: torch.dtype) -> Tensor:
    """``values``, or ones, of the shape of the grid."""
    if values is None:
        return torch.ones(grid, dtype=dtype, device=image.device)
    try:
        return values.to(dtype).expand(grid)
    except RuntimeError:
        raise InputError(f"{name}: shape {tuple(values.shape)}; wanted that of the grid, {tuple(grid)}") from None


def _check(space: Space, image: Tensor, alpha: float, beta: float, ndim: int, iterations: int) -> None:
    if not (alpha >= 0 and beta >= 0):
        raise InputError(f"alpha, beta: {alpha}, {beta}; wanted 0 or more")
    if iterations < 1:
        raise InputError(f"iterations: {iterations}; wanted at least 1")
    if not 1 <= ndim <= image.dim() - space.ndim:
        held = image.dim() - space.ndim
        raise InputError(f"ndim: {ndim}; wanted 1 to {held}, the dimensions before the point in {tuple(image.shape)}")
