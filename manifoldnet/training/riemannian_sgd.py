"""Stochastic gradient descent with momentum on manifolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from manifoldnet.errors import InputError
from manifoldnet.training.moves import move, move_along
from manifoldnet.training.stacks import RiemannianOptimizer, Stack, eager, evaluated, number

BUFFER = "momentum_buffer"


class RiemannianSGD(RiemannianOptimizer):
    """torch.optim.SGD for parameters on manifolds, mixed with plain ones; geoopt's signature.

    With g = grad f(x) - weight_decay log_x(anchor), the retraction R and its vector transport T (Bonnabel 2013;
    Absil, Mahony and Sepulchre 2008, section 8.1),

        b <- g at the first step, momentum b + (1 - dampening) g later,
        d  = g + momentum b if nesterov, else b,
        (x, b) <- (R_x(-lr d), T b along -lr d).

    ``geoopt.ManifoldParameter``s live on their manifold, ours or geoopt's; other tensors are plain. Plain parameters
    and those on Euclidean space are moved by torch's own function, so that they are torch.optim.SGD's to the last bit.
    The others are stacked: all of equal spaces, shapes, types and devices take one call of every map. Gradients are
    never changed.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of them and options of their own.
        lr: length of a step, not negative; a number or a 1-element tensor, as learning rate schedulers set it.
        momentum: share of the buffer that is kept, not negative.
        dampening: of the gradient from the second step on.
        weight_decay: strength of the pull towards the anchor, the gradient of weight_decay dist(x, anchor)^2 / 2,
            which on Euclidean space is torch's; a space without ``logmap`` has none.
        nesterov: wants momentum and no dampening.
        stabilize: after how many steps parameters are projected to their manifolds, or None for never. Retractions
            of our spaces do not drift; exponential maps and geoopt's manifolds may.
        maximize: ascend.
        foreach: None and True stack curved parameters, False moves them one by one; torch's option for plain ones.
        retraction: "retr" for the spaces' retractions, "expmap" for exponential maps and the transport along them.
        anchor: the point to decay to, which broadcasts against every parameter of the group; None is the space's
            ``origin``: 0 for plain parameters, an identity matrix, or a unit vector.

    In a CUDA graph nothing waits for the device where the maps of the space do not, if one step went before the
    capture; the learning rate must then be a tensor on the device to be changed.

    Raises:
        InputError: for an option out of range, curved parameters in half precision, or, when stepping, a sparse
            gradient or weight decay on a manifold that has no logarithm.
    """

    vectors = (BUFFER,)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        stabilize: int | None = None,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        retraction: str = "retr",
        anchor: Tensor | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "stabilize": stabilize,
            "maximize": maximize,
            "foreach": foreach,
            "retraction": retraction,
            "anchor": anchor,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if not group["momentum"] >= 0:
            raise InputError(f"momentum: wanted at least 0, got {group['momentum']}")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise InputError(
                f"nesterov: wanted momentum and no dampening, got {group['momentum']} and {group['dampening']}"
            )

    @eager
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient.

        Args:
            closure: evaluates the loss and its gradients; called once, before the step.

        Returns:
            What the closure returned, None without one.
        """
        loss = evaluated(closure)
        for group in self.param_groups:
            names = (BUFFER,) if group["momentum"] != 0 else ()
            params, grads, together = self._gather(group, names)
            if together.flat:
                self._step_flat(group, [params[k] for k in together.flat], [grads[k] for k in together.flat])
            fresh = [not stack.rows for stack in together.stacks]
            for stack in together.stacks:
                _step_stack(group, stack, stack.gradients(grads, group["maximize"]))
            if names and any(fresh) and not all(fresh):
                self._restack(group)
            self._count(group)
        return loss

    def _step_flat(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        if group["foreach"] and group["nesterov"]:
            # torch's foreach function adds the momentum to them in place
            grads = [g.clone() for g in grads]
        momentum, lr = group["momentum"], group["lr"]
        buffers = [self.state[p].get(BUFFER) for p in params] if momentum != 0 else []
        # the only function of torch's that does not read a learning rate back from the device
        fused = isinstance(lr, Tensor) and lr.is_cuda
        sgd(
            params,
            grads,
            buffers,
            foreach=False if fused else group["foreach"],
            fused=fused or None,
            weight_decay=group["weight_decay"],
            momentum=momentum,
            lr=lr,
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )
        for p, buffer in zip(params, buffers, strict=False):
            self.state[p][BUFFER] = buffer


def _step_stack(group: dict[str, Any], stack: Stack, gradient: Tensor) -> None:
    space, momentum, retraction, lr = stack.space, group["momentum"], group["retraction"], number(group["lr"])
    x = stack.points()
    g = space.egrad2rgrad(x, gradient)
    if group["weight_decay"] != 0:
        g = g - group["weight_decay"] * stack.pull(x, group["anchor"])
    if momentum == 0:
        stack.put(move(space, x, -lr * g, retraction))
        return
    if BUFFER in stack.rows:
        stack.rows[BUFFER].mul_(momentum).add_(g, alpha=1 - group["dampening"])
    else:
        stack.keep(BUFFER, g.clone())
    buffer = stack.rows[BUFFER]
    direction = g + momentum * buffer if group["nesterov"] else buffer
    y, moved = move_along(space, x, -lr * direction, buffer, retraction)
    stack.put(y)
    buffer.copy_(moved)
