"""The method of successive approximations: training by Pontryagin's principle, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifoldnet.curves.quasi_newton import lbfgs
from manifoldnet.errors import InputError
from manifoldnet.training.layers import Layers, ModuleLayer, Parameters, layers_of

INNER_ITERATIONS = 10

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Parameters (L, size) of L layers -> their augmented Hamiltonians (L,) and the gradients (L, size)."""

Argmin = Callable[[Evaluate, Tensor], Tensor]
"""(evaluate, parameters (L, size) at the start) -> parameters (L, size) with smaller augmented Hamiltonians."""


class Sweep(NamedTuple):
    """What the forward and the backward sweep leave at the steps of L layers of m steps.

    Attributes:
        x, following: (L, m, *batch, *point), the states before and after each step.
        p, p_following: the costates there, the gradients of the loss in these states.
    """

    x: Tensor
    following: Tensor
    p: Tensor
    p_following: Tensor


def msa(
    flow: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: Sequence[Tensor] | Iterable[Sequence[Tensor]],
    rho: float = 1.0,
    iterations: int = 20,
    *,
    argmin: Argmin | None = None,
) -> list[float]:
    """Minimise ``loss(flow(x), target)`` in place by the extended method of successive approximations.

    An iteration takes one batch, runs the states x forward and the costates p backward, and then gives every layer
    the parameters that minimise its own augmented Hamiltonian (Li, Chen, Tai and E 2018, algorithm 2)

        sum_k h_k mean_i [<p, F> + rho/2 |v - F|^2 + rho/2 |q + d_x <p, F>|^2],

    where the sum is over the steps k of the layer, the mean over the samples i, F = (Phi_k(x^k, theta) - x^k) / h_k
    is f of Euler's method, p = p^{k+1} is the gradient of the sample's own loss, v = (x^{k+1} - x^k) / h_k and
    q = (p^{k+1} - p^k) / h_k. All layers are independent of each other. With rho = 0 this is the basic method, which
    rarely converges; above some rho that depends on the problem the loss of a fixed batch never rises.

    Args:
        flow: a :class:`manifoldnet.nn.Flow`, or an ``nn.Sequential`` of flows and other modules, each of which is a
            layer with h = 1, also those without parameters. The layers of a flow are the intervals of a field with
            time="piecewise-constant" if no step sees two of them, as those of "euler" and "midpoint" do not;
            else it is one layer with all its parameters.
        loss: (output, target) -> the mean of the samples' losses, which gives rho its scale.
        data: one batch (x, target), or batches that can be gone through again and again; x is (samples, ...).
        rho: weight of the augmentation, at least 0.
        iterations: number of batches.
        argmin: what takes the place of the default: the closed form for ``nn.Linear``, ten iterations of L-BFGS
            elsewhere. See :func:`gradient_step`.

    Returns:
        The loss of every iteration's batch, before the iteration changes the parameters.

    Raises:
        InputError: if the network is none of these, its steps are adaptive or learned, it returns a trajectory,
            parameters lie on a manifold, rho < 0, rho = 0 for ``nn.Linear``, whose Hamiltonian then has no
            minimum, iterations < 1, there are no data, or the loss is not finite.
    """
    if not rho >= 0:
        raise InputError(f"rho: wanted at least 0, got {rho}")
    if iterations < 1:
        raise InputError(f"iterations: wanted at least 1, got {iterations}")
    losses: list[float] = []
    for _, (x, target) in zip(range(iterations), _batches(data), strict=False):
        layers = layers_of(flow, x)
        value, sweeps = _sweep(layers, loss, x, target)
        losses.append(float(value))
        if not math.isfinite(losses[-1]):
            raise InputError(f"loss: is not finite at iteration {len(losses)}; wanted finite, try a larger rho")
        for part, sweep in zip(layers, sweeps, strict=True):
            if part.theta:
                part.store(_minimised(part, sweep, rho, argmin))
    return losses


def gradient_step(lr: float) -> Argmin:
    """One gradient step on H, for ``argmin``: with it, an iteration of :func:`msa` is a step of SGD."""

    def step(evaluate: Evaluate, start: Tensor) -> Tensor:
        return start - lr * evaluate(start)[1]

    return step


def augmented_hamiltonian(layers: Layers, theta: Parameters, sweep: Sweep, rho: float) -> Float[Tensor, " L"]:
    """The augmented Hamiltonians of all L layers, as in :func:`msa`, up to a constant.

    Args:
        theta: (L, *shape) each.
    """
    x, count = sweep.x.detach().requires_grad_(rho > 0), sweep.x.shape[2]
    following = layers.maps(theta, x)
    energy = _total(sweep.p_following * following)
    if rho:
        (pulled,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        squares = _total((following - sweep.following).square()) / count + _total((pulled - sweep.p).square()) * count
        energy = energy + 0.5 * rho * squares / layers.lengths
    return energy.sum(1)


def affine_argmin(
    x: Float[Tensor, "rows into"], p: Float[Tensor, "rows out"], rho: float, samples: int, has_bias: bool
) -> tuple[Float[Tensor, "out into"], Float[Tensor, " out"]]:
    """The changes (D, d) of the map x -> W x + b that minimise its augmented Hamiltonian

        sum_i <p_i, D x_i + d> + rho / (2 samples) |D x_i + d|^2 + rho samples / 2 |D' p_i|^2.

    Without d, which is its own argmin, this is the equation G + rho (D C / samples + samples S D) = 0 of Sylvester
    with the symmetric matrices C of the (centred) inputs and S of the costates: diagonal in their eigenvectors.
    D has the least norm where it is not unique; d = 0 without bias.
    """
    mean = x.mean(0) if has_bias else torch.zeros_like(x[0])
    centred = x - mean
    inputs, U = torch.linalg.eigh(centred.mT @ centred / samples)
    costates, V = torch.linalg.eigh(p.mT @ p * samples)
    curvature = rho * (costates[:, None] + inputs)
    slope = V.mT @ (p.mT @ centred) @ U
    # a slope along directions without curvature is rounding
    least = torch.finfo(x.dtype).eps * len(curvature) * curvature.max()
    D = -V @ torch.where(curvature > least, slope / curvature.clamp(min=torch.finfo(x.dtype).tiny), 0.0) @ U.mT
    d = -samples / rho * p.mean(0) - D @ mean
    return D, d if has_bias else torch.zeros_like(d)


def _minimised(layers: Layers, sweep: Sweep, rho: float, argmin: Argmin | None) -> Parameters:
    if argmin is None and isinstance(layers, ModuleLayer) and type(layers.module) is nn.Linear:
        if not rho:
            raise InputError("rho: wanted more than 0 for nn.Linear, whose Hamiltonian has no minimum, got 0")
        x, p = sweep.x[0, 0].flatten(0, -2), sweep.p_following[0, 0].flatten(0, -2)
        change = affine_argmin(x, p, rho, sweep.x.shape[2], layers.module.bias is not None)
        return {name: value + c for (name, value), c in zip(layers.theta.items(), change, strict=False)}
    names = list(layers.theta)
    shapes = [layers.theta[name].shape for name in names]
    sizes = [value.flatten(1).shape[1] for value in layers.theta.values()]

    def unpacked(flat: Tensor) -> Parameters:
        pieces = flat.split(sizes, 1)
        return {name: piece.reshape(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}

    def evaluate(flat: Tensor) -> tuple[Tensor, Tensor]:
        flat = flat.detach().requires_grad_()
        values = augmented_hamiltonian(layers, unpacked(flat), sweep, rho)
        (gradient,) = torch.autograd.grad(values.sum(), flat)
        return values.detach(), gradient

    start = torch.cat([value.flatten(1) for value in layers.theta.values()], 1)
    return unpacked((argmin or _lbfgs)(evaluate, start))


def _lbfgs(evaluate: Evaluate, start: Tensor) -> Tensor:
    return lbfgs(evaluate, start, INNER_ITERATIONS)[0]


def _sweep(
    layers: Sequence[Layers], loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, target: Tensor
) -> tuple[Tensor, list[Sweep]]:
    points = [x.detach().requires_grad_()]
    ends = [0]
    for part in layers:
        points += part.run(points[-1])
        ends.append(len(points) - 1)
    value = loss(points[-1], target)
    costates = torch.autograd.grad(value, points)
    sweeps = []
    for part, first, last in zip(layers, ends[:-1], ends[1:], strict=True):
        at, after = slice(first, last), slice(first + 1, last + 1)
        pieces = [torch.stack([*each]) for each in (points[at], points[after], costates[at], costates[after])]
        sweeps.append(Sweep(*(piece.detach().unflatten(0, part.lengths.shape) for piece in pieces)))
    return value.detach(), sweeps


def _total(x: Tensor) -> Tensor:
    """Sum over samples and points, (L, m)."""
    return x.flatten(2).sum(2)


def _batches(data: Sequence[Tensor] | Iterable[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    is_batch = isinstance(data, Sequence) and all(isinstance(each, Tensor) for each in data)
    batches = cast(Iterable[Sequence[Tensor]], [data] if is_batch else data)
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if not count:
            raise InputError("data: wanted batches that can be gone through again, got none")
