"""The Gauss-Newton method from products of Jacobians and vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp

from manifoldnet.errors import InputError

LEAST_DAMPING, LARGEST_DAMPING = 1e-12, 1e12

Product = Callable[[Tensor], Tensor]


class GaussNewton:
    """Damped generalised Gauss-Newton steps for ``loss(model(x), target)``.

    A step solves (J' H J + damping I) d = -J' g by conjugate gradients, where J is the Jacobian of the outputs z in
    the parameters, g and H are the gradient and the Hessian of the loss in z (Schraudolph 2002), so that H is a
    multiple of the identity for squared losses and diag(s) - s s' of the softmax s for cross entropy. Products with J
    and J' come from forward and reverse differentiation; no matrix is formed. The step is taken if the loss falls, and
    the damping follows the ratio of the fall to that of the quadratic model (Levenberg, Marquardt; the rule of Nielsen
    1999).

    Args:
        model: its parameters that require gradients are changed in place.
        loss: (output, target) -> a number, convex and twice differentiable in the output.
        damping: at the start, in units of the loss over those of the parameters squared.
        iterations: largest number of conjugate gradient iterations of a step.
        tolerance: of the linear system's residual, relative to its right side.

    Attributes:
        damping: that of the next step.

    Raises:
        InputError: if damping is not positive or iterations < 1.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        damping: float = 1e-2,
        iterations: int = 100,
        tolerance: float = 1e-6,
    ) -> None:
        if not damping > 0:
            raise InputError(f"damping: wanted a positive number, got {damping}")
        if iterations < 1:
            raise InputError(f"iterations: wanted at least 1, got {iterations}")
        self.model = model
        self.loss = loss
        self.damping = damping
        self.iterations = iterations
        self.tolerance = tolerance
        self._growth = 2.0
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def direction(self, x: Tensor, target: Tensor) -> Float[Tensor, " size"]:
        """The step d of the present damping, the parameters flattened in the order of the module."""
        return self._solve(x, target)[1]

    def step(self, x: Tensor, target: Tensor) -> float:
        """Change the parameters if that lowers the loss of the batch, and the damping; return the loss then.

        Raises:
            InputError: if the loss is not finite before the step.
        """
        value, change, fall = self._solve(x, target)
        if not torch.isfinite(value):
            raise InputError(f"loss: wanted a finite number before the step, got {float(value)}")
        flat = self._flat()
        with torch.no_grad():
            trial = self.loss(self._outputs(flat + change, x), target)
            ratio = float((value - trial) / fall)
            if ratio > 0:
                for name, moved in self._named(flat + change).items():
                    self._parameters[name].copy_(moved)
                self.damping = max(self.damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), LEAST_DAMPING)
                self._growth = 2.0
                return float(trial)
        # a loss that is not finite ends here too
        self.damping = min(self.damping * self._growth, LARGEST_DAMPING)
        self._growth *= 2
        return float(value)

    def _solve(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the step, and the fall of the loss that the quadratic model promises for it."""
        flat = self._flat()

        def outputs(flat: Tensor) -> Tensor:
            return self._outputs(flat, x)

        z, pull = vjp(outputs, flat)  # type: ignore[misc]  # no auxiliary output
        slope, curved = vjp(grad(lambda z: self.loss(z, target)), z)  # type: ignore[misc]

        def product(v: Tensor) -> Tensor:
            return pull(curved(jvp(outputs, (flat,), (v,))[1])[0])[0]

        (gradient,) = pull(slope)
        change = conjugate_gradients(
            lambda v: product(v) + self.damping * v, -gradient, self.iterations, self.tolerance
        )
        fall = -gradient @ change - 0.5 * change @ product(change)
        return self.loss(z, target), change, fall

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self._parameters.values()])

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        pieces = flat.split([p.numel() for p in self._parameters.values()])
        return {name: piece.view_as(p) for (name, p), piece in zip(self._parameters.items(), pieces, strict=True)}

    def _outputs(self, flat: Tensor, x: Tensor) -> Tensor:
        return functional_call(self.model, self._named(flat), (x,))


def conjugate_gradients(
    product: Product, right: Float[Tensor, " size"], iterations: int, tolerance: float
) -> Float[Tensor, " size"]:
    """x with A x = right for a symmetric positive definite A given by its products (Hestenes and Stiefel 1952).

    Args:
        product: v -> A v.
        iterations: largest number of products.
        tolerance: stop at |A x - right| <= tolerance |right|.
    """
    x, residual = torch.zeros_like(right), right
    direction, square = residual, residual @ residual
    least = tolerance**2 * square
    for _ in range(iterations):
        if not square > least:  # nor where it is not a number
            break
        moved = product(direction)
        length = square / (direction @ moved)
        x, residual = x + length * direction, residual - length * moved
        before, square = square, residual @ residual
        direction = residual + square / before * direction
    return x
