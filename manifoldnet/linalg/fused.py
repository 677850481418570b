"""Differentiable maps of small matrices whose value and first derivative are one kernel each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manifoldnet.linalg.kernel import Kernel, closed_form_pays
from manifoldnet.linalg.rows import Entries, to_rows


@dataclass(frozen=True, eq=False)
class Fused:
    """A map (x_1, ..., x_m) -> y that runs as kernels on batches for which that is faster.

    Args:
        reference: the same map made of differentiable operations, for every size and every order of derivative;
            the kernels stand in for it and for its first derivative.
        value: entries of each x to those of y.
        vjp: entries of the cotangent of y and of each x to those of the cotangent of each x.
        inputs: number of point dimensions of each x.
        output: number of point dimensions of y.

    Calling it broadcasts the batches of the arguments.
    """

    reference: Callable[..., Tensor]
    value: Kernel
    vjp: Kernel
    inputs: tuple[int, ...]
    output: int

    def __call__(self, *xs: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(*(x.shape[: x.dim() - d] for x, d in zip(xs, self.inputs, strict=True)))
        if not closed_form_pays(batch, xs[0]) or (self.inputs[0] == 2 and xs[0].shape[-1] not in (2, 3)):
            return self.reference(*xs)
        xs = tuple(x.expand(*batch, *x.shape[x.dim() - d :]) for x, d in zip(xs, self.inputs, strict=True))
        if not torch.compiler.is_compiling():
            return _ValueForward.apply(*xs, self)
        # without gradients torch.compile calls a function of any number of arguments wrongly
        recorded = torch.is_grad_enabled() and any(x.requires_grad for x in xs)
        return _Value.apply(*xs, self) if recorded else _Value.forward(*xs, self)

    def pull(self, g: Tensor, *xs: Tensor) -> tuple[Tensor, ...]:
        """The reference's vector-Jacobian product."""
        pulled: tuple[Tensor, ...] = torch.func.vjp(self.reference, *xs)[1](g)
        return pulled

    def shaped(self, y: Tensor, batch: tuple[int, ...]) -> Tensor:
        """y of shape (N, entries) as a batch of points."""
        entries = y.shape[1]
        n = ((), (entries,), (round(entries**0.5),) * 2)[self.output]
        return y.view((*batch, *n))


def smooth(entries: Callable[[Entries], list[Tensor]], point: int, output: int) -> Fused:
    """The map of points with ``point`` dimensions whose entries are made by differentiable operations.

    Its first derivative comes from the same operations, so it must be finite wherever the map is.
    """

    def reference(x: Tensor) -> Tensor:
        rows = to_rows(x, point).unbind(0)
        return op.shaped(torch.stack(entries(rows), -1), tuple(x.shape[: x.dim() - point]))

    def vjp(g: Entries, x: Entries) -> tuple[Entries]:
        return (torch.func.vjp(lambda *x: entries(x), *x)[1](list(g)),)

    op = Fused(reference, Kernel(lambda x: (entries(x),)), Kernel(vjp), (point,), output)
    return op


class _Value(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        *xs, op = arguments
        batch = tuple(xs[0].shape[: xs[0].dim() - op.inputs[0]])
        (y,) = op.value(*(to_rows(x, d) for x, d in zip(xs, op.inputs, strict=True)))
        return op.shaped(y, batch)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *xs, ctx.op = inputs
        ctx.save_for_backward(*xs)
        ctx.save_for_forward(*xs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        pull = _Pullback.forward if torch.compiler.is_compiling() else _Pullback.apply
        return *pull(g, *ctx.saved_tensors, ctx.op), None


class _Pullback(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        g, *xs, op = arguments
        rows = [to_rows(x, d) for x, d in zip(xs, op.inputs, strict=True)]
        pulled = op.vjp(to_rows(g, op.output), *rows)
        return tuple(p.view(x.shape) for p, x in zip(pulled, xs, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.op = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gs: Tensor) -> tuple[Tensor | None, ...]:
        return *torch.func.vjp(ctx.op.pull, *ctx.saved_tensors)[1](gs), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        return _push(ctx.op.pull, ctx.saved_tensors, tangents[:-1])


# torch.compile traces no function that has a forward-mode rule
class _ValueForward(_Value):
    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return _push(ctx.op.reference, ctx.saved_tensors, tangents[:-1])


def _push(f: Callable[..., Any], primals: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...]) -> Any:
    """Jacobian-vector product as the derivative of the vector-Jacobian product: torch nests no forward modes."""
    filled = tuple(torch.zeros_like(x) if t is None else t for x, t in zip(primals, tangents, strict=True))
    linear = torch.func.vjp(f, *primals)
    value, pull = linear[0], linear[1]
    zero = torch.zeros_like(value) if isinstance(value, Tensor) else tuple(map(torch.zeros_like, value))
    return torch.func.vjp(pull, zero)[1](filled)[0]
