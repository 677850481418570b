"""The Riemannian Gaussian distribution, sampled exactly by rejection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from manifoldnet.manifolds.volume import log_sinhc

if TYPE_CHECKING:
    from manifoldnet.manifolds.base import Space

# candidates for one sample before its standard deviation counts as too large, and the most that are drawn at once
MOST_CANDIDATES = 1 << 17
MOST_AT_ONCE = 1 << 20
# points of tangency among which the best Gaussian bound is sought
TANGENCIES = 65


def random_normal(
    space: Space, mean: Tensor, std: Tensor | float, size: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    """Points of density proportional to exp(-dist(mean, x)^2 / (2 std^2)), shape (*size, *batch, *point).

    See :meth:`Space.random_normal`. In the tangent space at the mean the density is J(u) exp(-|u|^2 / (2 std^2)) with
    the volume density J of the exponential map. With curvature >= 0 J <= 1 is the probability with which a normal
    vector is accepted; otherwise log J <= N L(k |u|^2) for L(s) = log(sinh(sqrt s) / sqrt s), N and k of
    :meth:`Space._volume_bound` (Bishop and Crittenden 1964). L is concave, as L(s) = sum_m log(1 + s / (m pi)^2), so
    its tangents bound it by a Gaussian, of which the best one is taken. On compact spaces a large std is met by
    uniformly distributed candidates, accepted with the probability exp(-dist^2 / (2 std^2)).
    """
    scale = torch.as_tensor(std, dtype=mean.dtype, device=mean.device)
    if not bool(((scale > 0) & scale.isfinite()).all()):
        raise ValueError(f"std: wanted positive and finite numbers, got {std}")
    batch = torch.broadcast_shapes(mean.shape[: mean.dim() - space.ndim], scale.shape)
    point = mean.shape[mean.dim() - space.ndim :]
    means = mean.expand((*size, *batch, *point)).reshape(-1, *point)
    scales = scale.expand((*size, *batch)).reshape(-1)
    result = torch.empty_like(means)
    pending = torch.arange(len(means), device=mean.device)
    tried, copies = 0, 1
    while len(pending):
        if tried >= MOST_CANDIDATES:
            raise ValueError(
                f"std: {space.name} accepts less than one of {tried} candidates with a standard deviation of up to "
                f"{float(scales[pending].max()):.3g}; take a smaller one"
            )
        candidates, log_accept = _candidates(space, means[pending], scales[pending], copies, generator)
        uniform = torch.rand(log_accept.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        accepted = uniform.log() < log_accept
        first = accepted.to(torch.uint8).argmax(0)
        done = accepted.any(0)
        columns = torch.arange(len(pending), device=mean.device)
        result[pending[done]] = candidates[first, columns][done]
        pending = pending[~done]
        tried += copies
        copies = min(2 * copies, max(1, MOST_AT_ONCE // max(1, len(pending) * point.numel())))
    return result.reshape(*size, *batch, *point)


def _candidates(
    space: Space, means: Tensor, scales: Tensor, copies: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Candidates (copies, k, *point) and logarithms of the probability of accepting them, (copies, k)."""
    means = means.expand(copies, *means.shape)
    # the radius of a normal vector is about std sqrt(dim)
    radius = float(scales.max()) * math.sqrt(space.dim or 1)
    if space.is_compact and radius > 0.5 * float(space.injectivity_radius()):
        points = space.random(means.shape, dtype=means.dtype, device=means.device, generator=generator)
        return points, -0.5 * space.dist2(means, points) / scales.square()
    count, rate = space._volume_bound()
    slope, offset, wider = _gaussian_bound(scales, count, rate, space.dim or 1)
    u = wider[(...,) + (None,) * space.ndim] * space.random_tangent(means, generator=generator)
    points = space.expmap(means, u)
    squares = space.inner(means, u)
    log_accept = space.log_volume_density(means, u) - slope * squares - offset
    # beyond the cut locus the point is nearer than the vector is long
    tolerance = math.sqrt(torch.finfo(means.dtype).eps)
    shortest = space.dist2(means, points) >= squares * (1 - tolerance)
    return points, torch.where(shortest, log_accept, -math.inf)


def _gaussian_bound(scales: Tensor, count: int, rate: float, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """slope, offset and the wider standard deviation of the best bound N L(k r^2) <= slope r^2 + offset.

    Best is the one that leaves the least volume below exp(slope r^2 + offset - r^2 / (2 std^2)).
    """
    if count == 0 or rate == 0:
        zero = torch.zeros_like(scales)
        return zero, zero, scales
    shape = (TANGENCIES, *[1] * scales.dim())
    # at s = 0 and between: for a wide one the tangent must be flatter than 1 / (2 N k std^2), L'(s) < 1 / (2 sqrt s)
    furthest = 4 * (1 + rate * count * scales.square()).square()
    s = torch.linspace(0, 1, TANGENCIES, dtype=scales.dtype, device=scales.device).reshape(shape).square() * furthest
    with torch.enable_grad():
        leaf = s.detach().requires_grad_()
        value = log_sinhc(leaf)
        (derivative,) = torch.autograd.grad(value.sum(), leaf)
    slopes = count * rate * derivative
    offsets = count * (value.detach() - derivative * s)
    precision = 1 / scales.square() - 2 * slopes
    volume = torch.where(precision > 0, offsets - 0.5 * dim * precision.clamp_min(1e-30).log(), math.inf)
    best = volume.argmin(0, keepdim=True)
    slope, offset = slopes.gather(0, best).squeeze(0), offsets.gather(0, best).squeeze(0)
    return slope, offset, (1 / scales.square() - 2 * slope).rsqrt()
