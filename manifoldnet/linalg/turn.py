"""Columns turned by a rotation vector without forming its matrix, in a dozen operations."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg.kernel import LARGE_BATCH, is_transformed
from manifoldnet.linalg.rotation import rotation_expm, so3_dexp

_EMPTY = 1e-18  # a half angle below which sin(x) / x is 1 in every precision


def rotation_turn(v: Float[Tensor, "*#batch 3"], y: Float[Tensor, "*#batch 3 k"]) -> Float[Tensor, "*#batch 3 k"]:
    """exp(hat(v)) y for a rotation vector v in radians, as the quaternion of v would turn the columns of y.

    Steps of integrators on batches too small for kernels are made of it: there the number of operations is the cost.
    """
    compiling = torch.compiler.is_compiling()
    if not compiling and (is_transformed() or v.numel() >= 3 * LARGE_BATCH):
        return rotation_expm(v) @ y
    if v.dim() + 1 != y.dim():  # torch.linalg.cross broadcasts sizes, not dimensions
        dims = max(v.dim(), y.dim() - 1)
        v = v.reshape((1,) * (dims - v.dim()) + v.shape)
        y = y.reshape((1,) * (dims + 1 - y.dim()) + y.shape)
    if torch.is_grad_enabled() and (v.requires_grad or y.requires_grad):
        return (_Turn if compiling else _ForwardTurn).apply(v, y)
    return _turned(v, y)


def _turned(v: Tensor, y: Tensor) -> Tensor:
    """y + 2 (c u x y + u x (u x y)) with u = v sin(theta/2) / theta and c = cos(theta/2)."""
    theta = torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(2 * _EMPTY)
    half = 0.5 * theta
    u = (v * (half.sin() / theta)).unsqueeze(-1)
    w = torch.linalg.cross(u, y, dim=-2)
    return torch.add(y, torch.addcmul(torch.linalg.cross(u, w, dim=-2), half.cos().unsqueeze(-1), w), alpha=2)


def _transposed_dexp(v: Tensor, w: Tensor) -> Tensor:
    """dexp_{-v}(w), the transpose of dexp_v, not differentiable at 0.

    (theta - sin theta) / theta^3 loses digits at small angles, but its term is of the size theta^2 |w|.
    """
    theta = torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(2 * _EMPTY)
    half = 0.5 * theta
    k = half.sin() / theta
    square = theta * theta
    cross = torch.linalg.cross(v, w)
    second = torch.linalg.cross(v, cross) * ((1 - 2 * k * half.cos()) / square)
    return torch.addcmul(w + second, k * k, cross, value=-2)


def _sum_to(g: Tensor, shape: torch.Size) -> Tensor:
    """g with the dimensions summed along which ``shape`` was broadcast."""
    return g if g.shape == shape else g.sum_to_size(shape)


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(v: Tensor, y: Tensor) -> Tensor:
        return _turned(v, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        v, y = inputs
        ctx.save_for_backward(v, y, output)
        ctx.save_for_forward(v, y, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        v, y, turned = ctx.saved_tensors
        pulled_v = pulled_y = None
        if ctx.needs_input_grad[0]:
            recorded = torch.is_grad_enabled()  # derivatives of a saved output would be lost
            moment = torch.linalg.cross(rotation_turn(v, y) if recorded else turned, g, dim=-2).sum(-1)
            pulled_v = so3_dexp(-v, moment) if recorded else _transposed_dexp(v, moment)
            pulled_v = _sum_to(pulled_v, v.shape)
        if ctx.needs_input_grad[1]:
            pulled_y = _sum_to(rotation_turn(-v, g), y.shape)
        return pulled_v, pulled_y


# torch.compile traces no function that has a forward-mode rule
class _ForwardTurn(_Turn):
    @staticmethod
    def jvp(ctx: Any, dv: Tensor | None, dy: Tensor | None) -> Tensor:
        v, _, turned = ctx.saved_tensors
        moved = torch.zeros_like(turned) if dy is None else rotation_turn(v, dy).expand_as(turned)
        if dv is not None:
            moved = moved + torch.linalg.cross(so3_dexp(v, dv).unsqueeze(-1).expand_as(turned), turned, dim=-2)
        return moved
