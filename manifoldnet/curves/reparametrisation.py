"""Diffeomorphisms of [0, 1] with free parameters: whatever the parameters, they increase and keep both ends."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifoldnet.errors import InputError

# layers with slopes down to 1/4 reached full precision within 10 steps in both dtypes; with slopes down to 1e-6 many
# steps are bisections, and 40 were enough
NEWTON_STEPS, BISECTION_STEPS = 12, 50


class SineReparametrisation(nn.Module):
    """Residual network of sines, phi = phi_L o ... o phi_1, smooth and invertible by construction.

    After Celledoni, Glöckner, Riseth and Schmeding (2022), with layers

        phi_l(x) = x + sum_n w_ln sin(n pi x) / (n pi),    phi_l'(x) = 1 + sum_n w_ln cos(n pi x),

    which increase if |w_l|_1 < 1. There w is projected onto that ball; here it is a smooth function onto an open
    ball of free parameters a,

        w_l = r a_l / sum_n sqrt(a_ln^2 + 1/K^2),    r = 1 - min_slope^(1/L),

    so that phi' > min_slope for all a. It starts as the identity, a = 0.

    Args:
        layers: L >= 1.
        terms: K >= 1.
        batch: shape of a batch of independent maps, one for each pair of curves.
        min_slope: in (0, 1); what phi' always exceeds.

    Attributes:
        free: a, (*batch, L, K).

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, layers: int = 20, terms: int = 20, batch: tuple[int, ...] = (), min_slope: float = 1e-3) -> None:
        super().__init__()
        _check_positive(layers, "layers")
        _check_positive(terms, "terms")
        _check_slope(min_slope)
        self.radius = 1 - min_slope ** (1 / layers)
        self.free = nn.Parameter(torch.zeros(*batch, layers, terms))

    @property
    def weights(self) -> Float[Tensor, "*batch layers terms"]:
        """w, with |w_l|_1 < 1 - min_slope^(1/L) in each layer."""
        terms = self.free.shape[-1]
        size = torch.hypot(self.free, self.free.new_tensor(1 / terms)).sum(-1, keepdim=True)
        return self.radius * self.free / size

    def forward(self, x: Float[Tensor, "*left points"]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """phi(x) and phi'(x) in closed form.

        Args:
            x: (..., points) in [0, 1]; leading dimensions broadcast with the batch.

        Returns:
            Two tensors (..., points). phi(0) = 0 and phi(1) = 1 exactly. Outside [0, 1] phi continues by
            phi(-x) = -phi(x) and phi(x + 2) = phi(x) + 2.
        """
        slope = torch.ones_like(x)
        for w in self.weights.unbind(-2):
            sines, cosines = _waves(x, w.shape[-1])
            slope = slope * (1 + _sum(cosines, w))
            x = x + _sum(sines, w / _frequencies(w))
        return x, slope

    def value(self, x: Float[Tensor, "*left points"]) -> Float[Tensor, "..."]:
        """phi(x) alone, for half of the work."""
        for w in self.weights.unbind(-2):
            x = _layer(x, w)
        return x

    def inverse(self, y: Float[Tensor, "*left points"]) -> Float[Tensor, "..."]:
        """x with phi(x) = y, for y in [0, 1], by Newton's method with bisection as its safeguard, layer by layer.

        Returns:
            (..., points). First derivatives, with respect to y and to the parameters, are those of the inverse
            function.
        """
        steps = NEWTON_STEPS if self.radius <= 0.75 else BISECTION_STEPS
        for w in reversed(self.weights.unbind(-2)):
            with torch.no_grad():
                x = _layer_inverse(y, w, steps)
                slope = 1 + _sum(_waves(x, w.shape[-1])[1], w)
            # one more Newton step has the derivative (dy - dphi(x)) / phi'(x) of the root
            y = x - (_layer(x, w) - y) / slope
        return y


class SoftmaxReparametrisation(nn.Module):
    """Polygon with n free increments, phi(i/n) = sum over j < i of p_j with p = softmax(a).

    It starts as the identity, a = 0. It can follow every polygon on its grid whose slopes exceed ``min_slope``,
    being p = min_slope / n + (1 - min_slope) softmax(a).

    Args:
        cells: n >= 1.
        batch: shape of a batch of independent maps, one for each pair of curves.
        min_slope: in (0, 1); what phi' always exceeds.

    Attributes:
        free: a, (*batch, n).

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, cells: int, batch: tuple[int, ...] = (), min_slope: float = 1e-3) -> None:
        super().__init__()
        _check_positive(cells, "cells")
        _check_slope(min_slope)
        self.min_slope = min_slope
        self.free = nn.Parameter(torch.zeros(*batch, cells))

    @classmethod
    def through(cls, phi: Float[Tensor, "*batch nodes"], min_slope: float = 1e-3) -> SoftmaxReparametrisation:
        """The map with the samples phi (..., n + 1), in their dtype, as far as their slopes exceed ``min_slope``.

        Raises:
            InputError: phi does not increase strictly from 0 to 1, or min_slope is out of range.
        """
        check_samples(phi, "phi")
        increments = phi.detach().diff(dim=-1)
        model = cls(increments.shape[-1], tuple(increments.shape[:-1]), min_slope).to(increments)
        floor = min_slope / increments.shape[-1]
        # a logarithm near that of 0 would never move again
        model.free.data = (increments - floor).clamp(min=0.1 * floor).log()
        return model

    @property
    def samples(self) -> Float[Tensor, "*batch nodes"]:
        """phi(i/n) for i = 0..n, strictly increasing from exactly 0 to exactly 1."""
        increments = self.free.softmax(-1) * (1 - self.min_slope) + self.min_slope / self.free.shape[-1]
        ends = increments.cumsum(-1)
        return torch.cat([torch.zeros_like(ends[..., :1]), ends / ends[..., -1:]], -1)

    def forward(self, x: Float[Tensor, "*left points"]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """phi(x) and phi'(x), that of the cell to the right at a node.

        Args:
            x: (..., points) in [0, 1]; leading dimensions broadcast with the batch.

        Returns:
            Two tensors (..., points).
        """
        cells = self.free.shape[-1]
        samples, place = _expanded(self.samples, x * cells)
        cell = place.detach().floor().long().clamp(0, cells - 1)
        below, above = samples.gather(-1, cell), samples.gather(-1, cell + 1)
        return torch.lerp(below, above, place - cell), (above - below) * cells

    def value(self, x: Float[Tensor, "*left points"]) -> Float[Tensor, "..."]:
        """phi(x) alone."""
        return self(x)[0]

    def inverse(self, y: Float[Tensor, "*left points"]) -> Float[Tensor, "..."]:
        """x with phi(x) = y, for y in [0, 1]; (..., points)."""
        cells = self.free.shape[-1]
        samples, y = _expanded(self.samples, y)
        inner = samples[..., 1:-1].detach().contiguous()
        cell = torch.searchsorted(inner, y.detach().contiguous(), right=True)
        below, above = samples.gather(-1, cell), samples.gather(-1, cell + 1)
        return (cell + (y - below) / (above - below)) / cells


def _frequencies(like: Tensor) -> Tensor:
    """n pi for n = 1..terms, (terms,)."""
    return math.pi * torch.arange(1, like.shape[-1] + 1, dtype=like.dtype, device=like.device)


def _waves(x: Tensor, terms: int) -> tuple[Tensor, Tensor]:
    """sin(n pi x) and cos(n pi x), (..., points, terms), to full precision at both ends and exact there."""
    upper = (x > 0.5)[..., None]
    angle = torch.where(upper, 1 - x[..., None], x[..., None]) * _frequencies(x.new_empty(terms))
    parity = 1 - 2 * (torch.arange(1, terms + 1, device=x.device) % 2).to(x.dtype)
    return angle.sin() * torch.where(upper, -parity, 1.0), angle.cos() * torch.where(upper, parity, 1.0)


def _sum(waves: Tensor, w: Tensor) -> Tensor:
    """Sum over the terms, (..., points)."""
    return (waves @ w[..., None]).squeeze(-1)


def _layer(x: Tensor, w: Tensor) -> Tensor:
    return x + _sum(_waves(x, w.shape[-1])[0], w / _frequencies(w))


def _layer_inverse(y: Tensor, w: Tensor, steps: int) -> Tensor:
    """x in [0, 1] with x + sum_n w_n sin(n pi x) / (n pi) = y."""
    x = y + torch.zeros_like(w[..., :1])
    low, high, last = torch.zeros_like(x), torch.ones_like(x), torch.ones_like(x)
    rounding = 4 * torch.finfo(x.dtype).eps
    for _ in range(steps):
        sines, cosines = _waves(x, w.shape[-1])
        excess = x + _sum(sines, w / _frequencies(w)) - y
        low, high = torch.where(excess <= 0, x, low), torch.where(excess >= 0, x, high)
        newton = x - excess / (1 + _sum(cosines, w))
        step = (newton - x).abs()
        # inside the bracket alone Newton's method can run in circles, and near the root rounding moves it about
        trusted = (newton >= low) & (newton <= high) & (step <= last / 2) | (excess.abs() <= rounding)
        following = torch.where(trusted, newton, (low + high) / 2)
        last = (following - x).abs()
        x = following
    return x


def _expanded(samples: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the same leading dimensions."""
    shape = torch.broadcast_shapes(samples.shape[:-1], x.shape[:-1])
    return samples.expand(*shape, samples.shape[-1]), x.expand(*shape, x.shape[-1])


def _check_positive(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: wanted an integer >= 1, got {value!r}")


def _check_slope(min_slope: float) -> None:
    if not 0 < min_slope < 1:
        raise InputError(f"min_slope: wanted a number between 0 and 1, got {min_slope}")


def check_samples(phi: Float[Tensor, "..."], name: str) -> None:
    """Raise :class:`InputError` unless phi (..., n + 1) increases strictly from 0 to 1."""
    if phi.dim() < 1 or phi.shape[-1] < 2:
        raise InputError(f"{name}: wanted shape (..., n + 1) with n >= 1, got {tuple(phi.shape)}")
    tolerance = 16 * torch.finfo(phi.dtype).eps
    ends = (phi[..., 0].abs() <= tolerance) & ((phi[..., -1] - 1).abs() <= tolerance)
    if not bool((ends & (phi.diff(dim=-1) > 0).all(-1)).all()):
        raise InputError(f"{name}: wanted values that increase strictly from 0 to 1")
