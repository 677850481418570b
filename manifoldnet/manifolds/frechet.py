"""The weighted Fréchet mean, with derivatives from the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from manifoldnet.manifolds.base import Space

# gradient steps that reach rounding for points as far from their mean as the docstring of Space.frechet_mean says
ITERATIONS = {torch.float32: 14, torch.float64: 22}
# long steps need the exponential map, the short ones that follow a retraction that removes what rounding has added
LONG_STEPS = 8
LONGEST_STEP = 8.0


def frechet_mean(space: Space, points: Tensor, weights: Tensor) -> Tensor:
    """Minimiser of sum_i w_i dist(mean, x_i)^2 for points (..., n, *point) and weights (..., n, 1, ..., 1) of sum 1.

    The derivatives of every order are those of the solution of V = sum_i w_i log_mean(x_i) = 0: they need memory and
    time for a few evaluations of V, however many iterations have found the solution. Under torch.compile, which cannot
    trace that, they are those of the iterations, which converge to the same as fast as the mean itself.
    """
    if torch.compiler.is_compiling():
        return _minimise(space, points, weights)
    mean: Tensor = _Mean.apply(space, points, weights)
    return mean


def _minimise(space: Space, points: Tensor, weights: Tensor) -> Tensor:
    """Gradient steps whose lengths are Barzilai's and Borwein's (1988), as Iannazzo and Porcelli (2018) take them.

    The two lengths alternate; transported differences of gradients are measured in the newer point's tangent space.
    """
    axis = -(space.ndim + 1)
    mean = space._mean_guess(points, weights)
    old = mean
    shortest = length = torch.ones((), dtype=points.dtype, device=points.device)
    for k in range(ITERATIONS.get(points.dtype, ITERATIONS[torch.float64])):
        velocities = space.logmap(mean.unsqueeze(axis), points)
        ascent = (weights * velocities).sum(axis)
        if k == 0:
            shortest = length = _first_length(space, mean, velocities, weights)
        else:
            length = _next_length(space, mean, space.logmap(mean, old), ascent, length, k)
            length = torch.minimum(torch.maximum(length, 0.5 * shortest), LONGEST_STEP * shortest)
        # for derivatives the steps have given lengths: at convergence the lengths are ratios of rounding errors
        length = length.detach()
        old, mean = mean, (space.expmap if k < LONG_STEPS else space.retr)(mean, length * ascent)
    return mean


def _first_length(space: Space, mean: Tensor, velocities: Tensor, weights: Tensor) -> Tensor:
    """2 / (1 + a bound of the Hessian); 1 where no curvature is negative.

    With curvature at least -k^2 the Hessian of d^2 / 2 is at most c coth c <= sqrt(1 + c^2), c = k d (Karcher 1977).
    """
    axis = -(space.ndim + 1)
    lowest = min(space.curvature_bounds()[0], 0.0)
    squares = space.inner(mean.unsqueeze(axis), velocities, keepdim=True)
    return 2 / (1 + (weights * (1 - lowest * squares).sqrt()).sum(axis))


def _next_length(space: Space, mean: Tensor, back: Tensor, ascent: Tensor, length: Tensor, k: int) -> Tensor:
    """The length s.s / s.y or s.y / y.y for the last step s and the change y of the gradient along it."""
    change = -back / length - ascent
    along = -space.inner(mean, back, change, keepdim=True)
    tiny = torch.finfo(mean.dtype).tiny
    if k % 2:
        square = space.inner(mean, back, keepdim=True)
        proposed = square / along.clamp_min(tiny)
    else:
        square = space.inner(mean, change, keepdim=True)
        proposed = along.abs() / square.clamp_min(tiny)
    return torch.where(square > tiny, proposed, length)


class _Mean(torch.autograd.Function):
    """The mean as a function of points and weights, V(mean; points, weights) = 0.

    With the Hessian H = -dV/dmean the derivative is H^-1 dV, and a cotangent g at the mean becomes that of the scalar
    <H^-1 g, V> at a fixed mean. H is symmetric, and rows of it are gradients of the components of V.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(space: Space, points: Tensor, weights: Tensor) -> Tensor:
        return _minimise(space, points, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.space, points, weights = inputs
        ctx.save_for_backward(points, weights, output)
        ctx.save_for_forward(points, weights, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        points, weights, mean = ctx.saved_tensors
        space = ctx.space
        basis = _moving_basis(space, mean)
        solution = _solve(_hessian(space, points, weights, mean, basis), _dot(space, basis, _alone(space, g)))
        direction = (_scalars(space, solution) * basis).sum(-(space.ndim + 1))

        def component(points: Tensor, weights: Tensor) -> Tensor:
            return space.inner(mean, direction, _ascent(space, points, weights, mean))

        return None, *_gradients(component, points, weights)

    @staticmethod
    def jvp(ctx: Any, _: None, d_points: Tensor | None, d_weights: Tensor | None) -> Tensor:
        points, weights, mean = ctx.saved_tensors
        space = ctx.space
        basis = _moving_basis(space, mean)
        change = _change(space, points, weights, mean, basis, d_points, d_weights)
        solution = _solve(_hessian(space, points, weights, mean, basis), change)
        return (_scalars(space, solution) * basis).sum(-(space.ndim + 1))


def _ascent(space: Space, points: Tensor, weights: Tensor, mean: Tensor) -> Tensor:
    """V, half the negative gradient of the weighted squared distance."""
    axis = -(space.ndim + 1)
    return (weights * space.logmap(mean.unsqueeze(axis), points)).sum(axis)


def _moving_basis(space: Space, mean: Tensor) -> Tensor:
    """A basis that stays tangent when the mean moves, (..., dim, *point), orthonormal where it is."""
    return space.proju(_alone(space, mean), space.orthonormal_basis(mean.detach()))


def _hessian(space: Space, points: Tensor, weights: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Hessian (..., dim, dim) of sum_i w_i dist(., x_i)^2 / 2 at the mean, in the basis.

    Where V = 0 its derivative is the same in all coordinates, so no connection enters.
    """
    copies = _alone(space, mean).expand(basis.shape)
    axis = -(space.ndim + 2)

    def components(copies: Tensor) -> Tensor:
        ascent = _ascent(space, points.unsqueeze(axis), weights.unsqueeze(axis), copies)
        return space.inner(_alone(space, mean), basis, ascent)

    (rows,) = _gradients(components, copies)
    return -_dot(space, rows.unsqueeze(-(space.ndim + 1)), basis.unsqueeze(axis))


def _change(
    space: Space,
    points: Tensor,
    weights: Tensor,
    mean: Tensor,
    basis: Tensor,
    d_points: Tensor | None,
    d_weights: Tensor | None,
) -> Tensor:
    """Components (..., dim) of the derivative of V at a fixed mean along given changes of points and weights."""
    axis = -(space.ndim + 2)
    many = (*basis.shape[: basis.dim() - space.ndim], *points.shape[points.dim() - space.ndim - 1 :])

    def components(points: Tensor, weights: Tensor) -> Tensor:
        return space.inner(_alone(space, mean), basis, _ascent(space, points, weights, _alone(space, mean)))

    copies = points.unsqueeze(axis).expand(many)
    heavy = weights.unsqueeze(axis).expand(*many[: len(many) - space.ndim], *[1] * space.ndim)
    by_points, by_weights = _gradients(components, copies, heavy)
    total = by_points.new_zeros(())
    if d_points is not None:
        total = total + _dot(space, by_points, d_points.unsqueeze(axis)).sum(-1)
    if d_weights is not None:
        total = total + _dot(space, by_weights, d_weights.unsqueeze(axis)).sum(-1)
    return total


def _gradients(f: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the sum of f's values with respect to each input."""
    value, pull = torch.func.vjp(f, *inputs)[:2]
    gradients: tuple[Tensor, ...] = pull(torch.ones_like(value))
    return gradients


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve(matrix, right.unsqueeze(-1)).squeeze(-1)


def _alone(space: Space, x: Tensor) -> Tensor:
    """With a dimension of size 1 in front of the point."""
    return x.unsqueeze(-(space.ndim + 1))


def _scalars(space: Space, c: Tensor) -> Tensor:
    """Numbers that multiply points."""
    return c[(...,) + (None,) * space.ndim]


def _dot(space: Space, u: Tensor, v: Tensor) -> Tensor:
    """Sum of products over the entries of a point."""
    return space._sum(u * v, keepdim=False)
