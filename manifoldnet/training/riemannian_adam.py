"""Adam on manifolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from manifoldnet.errors import InputError
from manifoldnet.training.moves import move_along, squared_lengths
from manifoldnet.training.stacks import RiemannianOptimizer, Stack, eager, evaluated, number

FIRST, SECOND, LARGEST = "exp_avg", "exp_avg_sq", "max_exp_avg_sq"


class RiemannianAdam(RiemannianOptimizer):
    """torch.optim.Adam and AdamW for parameters on manifolds, mixed with plain ones; geoopt's signature.

    The variant of Bécigneul and Ganea (2019): the second moment is that of the length of the gradient, one number for
    each factor of the space, not for each coordinate, which would depend on the coordinates. With g = grad f(x),

        m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) <g, g>_x,    M <- max(M, v) if amsgrad,
        d  = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),   with M for v if amsgrad,
        (x, m) <- (R_x(-lr d), T m along -lr d)

    for the retraction R and its vector transport T. The factors are those of our products and powers and of geoopt's
    products, and every matrix or vector of a batch; numbers are factors of their own, so that Euclidean space and
    circles have the usual coordinatewise moments. v is kept with the shape of the parameter, as geoopt does.

    Weight decay adds -weight_decay log_x(anchor) to the gradient g. If it is decoupled (Loshchilov and Hutter 2019) it
    leaves the moments alone and adds lr weight_decay log_x(anchor) to the step -lr d instead.

    Plain parameters and those on Euclidean space are moved by torch's own function, so that they are
    torch.optim.Adam's or AdamW's to the last bit. The others are stacked: all of equal spaces, shapes, types and
    devices take one call of every map. Gradients are never changed.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of them and options of their own.
        lr: length of a step, not negative; a number or a 1-element tensor.
        betas: decay of the first and the second moment, in [0, 1).
        eps: added to the root of the second moment, not negative.
        weight_decay: strength of the pull towards the anchor; a space without ``logmap`` has none.
        amsgrad: divide by the largest second moment so far (Reddi, Kale and Kumar 2018).
        stabilize: after how many steps parameters are projected to their manifolds, or None for never.
        maximize: ascend.
        foreach: None and True stack curved parameters, False moves them one by one; torch's option for plain ones.
        capturable: count steps on the device, for CUDA graphs.
        decoupled_weight_decay: AdamW's weight decay instead of Adam's.
        retraction: "retr" for the spaces' retractions, "expmap" for exponential maps and the transport along them.
        anchor: the point to decay to, which broadcasts against every parameter of the group; None is the space's
            ``origin``: 0 for plain parameters, an identity matrix, or a unit vector.

    Raises:
        InputError: for an option out of range, curved parameters in half precision, or, when stepping, a sparse
            gradient or weight decay on a manifold that has no logarithm.
    """

    vectors = (FIRST,)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        stabilize: int | None = None,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        decoupled_weight_decay: bool = False,
        retraction: str = "retr",
        anchor: Tensor | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "stabilize": stabilize,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "retraction": retraction,
            "anchor": anchor,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # geoopt counts in plain numbers
        for group in self.param_groups:
            for own in (self.state[p] for p in group["params"] if "step" in self.state.get(p, {})):
                if not isinstance(own["step"], Tensor):
                    own["step"] = torch.tensor(float(own["step"]), dtype=torch.float32)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise InputError(f"betas: wanted two numbers of at least 0 and below 1, got {group['betas']}")
        if group["eps"] < 0:
            raise InputError(f"eps: wanted at least 0, got {group['eps']}")

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
            names = ("step", FIRST, SECOND, LARGEST) if group["amsgrad"] else ("step", FIRST, SECOND)
            self._begin(group, names)
            params, grads, together = self._gather(group, names)
            if together.flat:
                self._step_flat(group, [params[k] for k in together.flat], [grads[k] for k in together.flat])
            for stack in together.stacks:
                _step_stack(group, stack, stack.gradients(grads, group["maximize"]))
            self._count(group)
        return loss

    def _begin(self, group: dict[str, Any], names: tuple[str, ...]) -> None:
        """Zeros for the state of parameters at their first step."""
        for p in group["params"]:
            if p.grad is not None and len(self.state[p]) < len(names):
                state = self.state[p]
                device = p.device if group["capturable"] else "cpu"
                state.setdefault("step", torch.zeros((), dtype=torch.float32, device=device))
                for name in names[1:]:
                    state.setdefault(name, torch.zeros_like(p, memory_format=torch.preserve_format))

    def _step_flat(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        states = [self.state[p] for p in params]
        (adamw if group["decoupled_weight_decay"] else adam)(
            params,
            grads,
            [state[FIRST] for state in states],
            [state[SECOND] for state in states],
            [state[LARGEST] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            foreach=group["foreach"],
            capturable=group["capturable"],
            has_complex=any(p.is_complex() for p in params),
            amsgrad=group["amsgrad"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )


def _step_stack(group: dict[str, Any], stack: Stack, gradient: Tensor) -> None:
    space, (beta1, beta2), weight_decay, lr = stack.space, group["betas"], group["weight_decay"], number(group["lr"])
    x = stack.points()
    g = space.egrad2rgrad(x, gradient)
    pull = weight_decay * stack.pull(x, group["anchor"]) if weight_decay != 0 else None
    if pull is not None and not group["decoupled_weight_decay"]:
        g = g - pull
    rows = stack.rows
    rows["step"] += 1
    rows[FIRST].lerp_(g, 1 - beta1)
    rows[SECOND].mul_(beta2).add_(squared_lengths(space, x, g), alpha=1 - beta2)
    second = torch.maximum(rows[LARGEST], rows[SECOND], out=rows[LARGEST]) if group["amsgrad"] else rows[SECOND]
    # parameters may have taken different numbers of steps; in single precision 1 - beta2^t loses four digits at first
    t = rows["step"].double()[(...,) + (None,) * (x.dim() - 1)]
    correction1, correction2 = ((1 - beta**t).to(x) for beta in (beta1, beta2))
    step = -lr * (rows[FIRST] / correction1 / ((second / correction2).sqrt() + group["eps"]))
    if pull is not None and group["decoupled_weight_decay"]:
        step = step + lr * pull
    y, moved = move_along(space, x, step, rows[FIRST], group["retraction"])
    stack.put(y)
    rows[FIRST].copy_(moved)
