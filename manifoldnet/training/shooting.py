"""Newton's method for Pontryagin's equations, all at once or by shooting, for small problems."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, grad_and_value, jacrev

from manifoldnet.errors import InputError
from manifoldnet.manifolds import Euclidean
from manifoldnet.nn import Flow
from manifoldnet.training.layers import Parameters, Steps
from manifoldnet.training.pontryagin import Extremal, Loss, sweeps

LARGEST = 2048
"""More unknowns than this are refused: the matrix of Newton's method has their number squared."""
ROWS_AT_ONCE = 256
HALVINGS = 30
SUFFICIENT = 1e-4


class ShootingError(RuntimeError):
    """Newton's method found no solution of Pontryagin's equations."""


def solve_pontryagin(
    flow: Flow,
    loss: Loss,
    x0: Float[Tensor, "*batch"],
    *,
    shots: int | None = None,
    iterations: int = 100,
    tolerance: float = 1e-10,
) -> Extremal:
    """A solution of Pontryagin's equations (9) to (12), discretised by the flow's steps, near the flow's parameters.

    The unknowns are the parameters and the states and costates at the ends of ``shots`` intervals of the flow's
    steps; between them run the sweeps. The equations are the gradient of the Lagrangian

        loss(X_S) + sum_j <P_{j+1}, Phi_j(X_j, theta) - X_{j+1}>,    X_0 = x0,

    Phi_j being the steps of interval j. Newton's method solves them from the states and costates of the flow as it
    is, with a line search, and with the Hessian in states and parameters shifted where it is not positive, so that it
    looks for a minimum of the loss. Where the minima are not isolated the convergence may be slow.

    A running cost r(t, x, theta) is one more component c' = r of the state, c(0) = 0, that the loss adds (Mayer's
    form). The flow itself is not changed; store ``theta`` in it by ``flow.field.load_state_dict(theta, strict=False)``.

    Args:
        flow: of explicit steps of one-step methods on a vector space.
        loss: of the final states (*batch, *point), twice differentiable; samples share theta.
        shots: number of intervals: all steps (None) is the all-at-once method, 1 is single shooting.
        iterations: largest number of Newton steps.
        tolerance: of the largest residual.

    Returns:
        States, costates and parameters at all steps.

    Raises:
        InputError: if the space is curved, the steps are adaptive or learned, shots is not between 1 and their
            number, or there are more than 2048 unknowns.
        ShootingError: if the residual does not reach the tolerance.
    """
    if not isinstance(flow.space, Euclidean):
        raise InputError(f"flow: wanted a vector space, got {flow.space.name}")
    _, guess = sweeps(flow, loss, x0)
    count = len(guess.x) - 1
    shots = count if shots is None else shots
    if not 1 <= shots <= count:
        raise InputError(f"shots: wanted 1 to {count}, the number of steps, got {shots}")
    ends = [round(j * count / shots) for j in range(shots + 1)]
    unknowns = _Unknowns(guess, ends)
    z = unknowns.pack(guess)
    if len(z) > LARGEST:
        raise InputError(f"flow, x0: wanted at most {LARGEST} unknowns, got {len(z)}")
    steps, intervals = Steps(flow), flow.intervals(x0)

    def lagrangian(z: Tensor) -> Tensor:
        X, P, theta = unknowns.unpack(z)
        total = loss(X[-1])
        for j, (first, last) in enumerate(itertools.pairwise(ends)):
            x = X[j - 1] if j else x0
            for t, h in intervals[first:last]:
                x = steps.with_parameters(theta, t, h, x)
            total = total + (P[j] * (x - X[j])).sum()
        return total

    X, P, theta = unknowns.unpack(_solved(lagrangian, z, unknowns.costates, iterations, tolerance))
    x: list[Tensor] = []
    p: list[Tensor] = []
    for j, (first, last) in enumerate(itertools.pairwise(ends)):
        points = [(X[j - 1] if j else x0).detach().requires_grad_()]
        for t, h in intervals[first:last]:
            points.append(steps.with_parameters(theta, t, h, points[-1]))
        p += torch.autograd.grad((P[j] * points[-1]).sum(), points[:-1])
        x += points[:-1]
    return Extremal(torch.stack([*x, X[-1]]).detach(), torch.stack([*p, P[-1]]), theta)


class _Unknowns:
    """The unknowns of shooting as one vector: states at the ends of intervals, parameters, costates at the ends."""

    def __init__(self, like: Extremal, ends: Sequence[int]) -> None:
        self.nodes = list(ends[1:])
        self.point = like.x.shape[1:]
        self.shapes = {name: value.shape for name, value in like.theta.items()}
        self.costates = len(self.nodes) * self.point.numel()
        self.sizes = [self.costates, *(shape.numel() for shape in self.shapes.values()), self.costates]

    def pack(self, extremal: Extremal) -> Tensor:
        parts = (extremal.x[self.nodes], *extremal.theta.values(), extremal.p[self.nodes])
        return torch.cat([part.flatten() for part in parts])

    def unpack(self, z: Tensor) -> tuple[Tensor, Tensor, Parameters]:
        X, *values, P = z.split(self.sizes)
        theta = {name: v.reshape(shape) for v, (name, shape) in zip(values, self.shapes.items(), strict=True)}
        return X.reshape(-1, *self.point), P.reshape(-1, *self.point), theta


def _solved(
    lagrangian: Callable[[Tensor], Tensor], z: Tensor, multipliers: int, iterations: int, tolerance: float
) -> Tensor:
    """A stationary point of the Lagrangian f + <P, c> by Newton's method, P being the last unknowns.

    The line search asks for a fall of the exact penalty f + weight |c|_1, for which the steps descend if weight is
    larger than all |P|, or of the residual to a half, which lets full steps pass near the solution.
    """
    evaluate, matrix = grad_and_value(lagrangian), jacrev(grad(lagrangian), chunk_size=ROWS_AT_ONCE)
    first = len(z) - multipliers
    residual, value = evaluate(z)
    shift = 0.0
    for _ in range(iterations):
        if residual.abs().max() <= tolerance:
            return z
        change, shift = _newton_step(matrix(z), residual, first, shift)
        weight = 2 * (z + change)[first:].abs().max()

        def penalty(z: Tensor, residual: Tensor, value: Tensor, weight: Tensor = weight) -> Tensor:
            return value - z[first:] @ residual[first:] + weight * residual[first:].abs().sum()

        merit = penalty(z, residual, value)
        # the constraints' own change along the step is -c
        slope = residual[:first] @ change[:first] - penalty(z, residual, torch.zeros_like(value))
        length = 1.0
        for _ in range(HALVINGS):
            trial = z + length * change
            trial_residual, trial_value = evaluate(trial)
            falls = penalty(trial, trial_residual, trial_value) <= merit + SUFFICIENT * length * slope
            if falls or trial_residual.norm() <= 0.5 * residual.norm():
                break
            length /= 2
        z, residual, value = trial, trial_residual, trial_value
    if residual.abs().max() <= tolerance:
        return z
    raise ShootingError(
        f"solve_pontryagin: the residual is {residual.abs().max():.3g} after {iterations} Newton steps, wanted "
        f"{tolerance}; train the flow first, or try other shots"
    )


def _newton_step(matrix: Tensor, residual: Tensor, first: int, shift: float) -> tuple[Tensor, float]:
    """The Newton step and the shift of the block before ``first`` that it took.

    The step descends if the matrix has as many positive eigenvalues as there are unknowns before ``first`` and as many
    negative ones as there are multipliers (Nocedal and Wright 2006, section 16.3); else a multiple of the identity is
    added to the block, growing from a quarter of the last one.
    """
    matrix = 0.5 * (matrix + matrix.mT)
    least = matrix.abs().max() * torch.finfo(matrix.dtype).eps ** 0.5
    block = torch.zeros_like(residual)
    block[:first] = 1.0
    used = 0.0
    while True:
        values, vectors = torch.linalg.eigh(matrix + used * torch.diag(block))
        # ascending: the negative ones are those of the multipliers
        if values[len(values) - first] > 1e-4 * least:
            return -vectors @ ((vectors.mT @ residual) / values), used
        used = max(4 * used, shift / 4, float(least))
