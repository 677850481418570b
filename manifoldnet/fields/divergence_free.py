"""Divergence-free fields, as sums of parts whose flows keep volume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from manifoldnet.fields.activations import Activation, activation_of
from manifoldnet.fields.in_time import InTime, Time
from manifoldnet.fields.layer_field import Structure
from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import spread
from manifoldnet.manifolds import Action, Euclidean

Kind = Literal["shears", "pairs", "skew"]


class DivergenceFree(nn.Module):
    """A field on R^dim, dim >= 2, with div f = 0, learned.

    * "shears": f_i = sum_k c_ik sigma(a_ik . x + b_ik), a_ik without its i-th entry: f_i does not depend on x_i.
    * "pairs": the sum of dim - 1 planar Hamiltonian fields, x_i' = dH_i/dx_{i+1}, x_{i+1}' = -dH_i/dx_i with
      H_i = sum_k c_ik gamma(a_ik . x + b_ik): all divergence-free fields are such sums (Feng and Shang 1995).
    * "skew": f_i = sum_j d_j S_ij with the skew S = sum_k C_k gamma(a_k . x + b_k), that is
      f = sum_k (C_k a_k) sigma(a_k . x + b_k): a learned basis of ridge shears, C_k a_k being any vector at right
      angles to a_k.

    "lie-trotter" and "strang" run the ``parts`` one after the other, each by a map of Jacobian determinant 1: a shear,
    or the implicit midpoint rule in one plane. Runge-Kutta methods do not keep the volume of such fields.

    Args:
        dim: number of features.
        kind: see above.
        width: number of terms for every coordinate or plane, or in all for "skew"; 2 dim when None.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        time, knots, t1: how parameters change with time; see :class:`InTime`.
        generator: source of the initial parameters.

    Attributes:
        a: (n, width, dim) with n = dim, dim - 1 or 1, or (knots, ...).
        b: (n, width), or (knots, ...).
        c: (n, width), or (width, dim) for "skew", or (knots, ...).

    Raises:
        ValueError: for an unknown kind or dim < 2.
    """

    def __init__(
        self,
        dim: int,
        kind: Kind = "shears",
        width: int | None = None,
        activation: str | Activation = "tanh",
        *,
        time: Time = "constant",
        knots: int | None = None,
        t1: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("shears", "pairs", "skew"):
            raise ValueError(f"kind: wanted 'shears', 'pairs' or 'skew', got {kind!r}")
        if dim < 2:
            raise ValueError(f"dim: wanted at least 2, got {dim}")
        width = 2 * dim if width is None else width
        self.dim = dim
        self.kind = kind
        self.activation = activation_of(activation)
        self.in_time = InTime(time, knots, t1)
        self.space = Euclidean(1)
        n = {"shears": dim, "pairs": dim - 1, "skew": 1}[kind]
        self.a = self.in_time.parameter((n, width, dim), dim**-0.5, generator)
        self.b = self.in_time.parameter((n, width), 0.1, generator)
        self.c = self.in_time.parameter((width, dim) if kind == "skew" else (n, width), width**-0.5, generator)

    @property
    def preserves(self) -> Structure:
        """Volume."""
        return "volume"

    def _inner(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """a(t), masked, and a . y + b: (..., n, width)."""
        a = self.in_time.at(self.a, t)
        if self.kind == "shears":
            a = a * (1 - torch.eye(self.dim, dtype=a.dtype, device=a.device))[:, None, :]
        return a, (a @ y[..., None, :, None]).squeeze(-1) + self.in_time.at(self.b, t)

    def _directions(self, t: Tensor) -> Tensor:
        """(..., width, dim): the vectors C_k a_k, c_k less its part along a_k."""
        a, c = self.in_time.at(self.a, t).squeeze(-3), self.in_time.at(self.c, t)
        square = a.square().sum(-1, keepdim=True)
        return c - a * ((a * c).sum(-1, keepdim=True) / torch.where(square == 0, 1.0, square))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        a, inner = self._inner(t, y)
        slopes = self.activation.sigma(inner)
        if self.kind == "skew":
            return (slopes @ self._directions(t)).squeeze(-2)
        weighted = self.in_time.at(self.c, t) * slopes
        if self.kind == "shears":
            return weighted.sum(-1)
        # row i of the gradient of H_i: its entries i and i + 1 are what moves i + 1 and i
        gradient = (weighted[..., None, :] @ a).squeeze(-2)
        below, above = gradient.diagonal(0, -2, -1), gradient.diagonal(1, -2, -1)
        zero = torch.zeros_like(y[..., :1])
        return torch.cat([above, zero], -1) - torch.cat([zero, below], -1)

    @property
    def parts(self) -> list[Part]:
        """The parts of a splitting: one for every coordinate, plane or ridge."""
        kinds: dict[str, Callable[[DivergenceFree, int], Part]]
        kinds = {"shears": CoordinateShear, "pairs": PlanarPart, "skew": RidgeShear}
        count = self.a.shape[-2] if self.kind == "skew" else self.a.shape[-3]
        return [kinds[self.kind](self, index) for index in range(count)]


class Part(ABC):
    """One part of a :class:`DivergenceFree` field, with a flow that keeps volume."""

    def __init__(self, field: DivergenceFree, index: int) -> None:
        self.field = field
        self.index = index

    def _terms(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """a_k(t) and sigma(a_k . y + b_k) of the terms of this part."""
        field = self.field
        a, b = (field.in_time.at(p, t).movedim(-axis, 0)[self._row] for p, axis in ((field.a, 3), (field.b, 2)))
        return a, field.activation.sigma((a @ y[..., None]).squeeze(-1) + b)

    @property
    def _row(self) -> int:
        return self.index

    @abstractmethod
    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """This part of the field."""

    def flow(self, t: Tensor, h: Tensor, y: Tensor, action: Action) -> Tensor:
        """The point at t + h: exact for parameters constant in time, else those of the middle."""
        return y + spread(h, action) * self(t + 0.5 * h, y)


class CoordinateShear(Part):
    """Moves coordinate i by what it sees of the others."""

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        field, i = self.field, self.index
        unit = torch.eye(field.dim, dtype=y.dtype, device=y.device)[i]
        _, slopes = self._terms(t, y * (1 - unit))
        weights = field.in_time.at(field.c, t)[..., i, :]
        return (weights * slopes).sum(-1, keepdim=True) * unit


class RidgeShear(Part):
    """Moves along a vector at right angles to a_k, by what it sees of a_k . y."""

    @property
    def _row(self) -> int:
        return 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        _, slopes = self._terms(t, y)
        return slopes[..., self.index, None] * self.field._directions(t)[..., self.index, :]


class PlanarPart(Part):
    """The Hamiltonian field of H_i in the plane of the coordinates i and i + 1."""

    def _velocity(self, t: Tensor, y: Tensor) -> Tensor:
        i = self.index
        a, slopes = self._terms(t, y)
        weighted = self.field.in_time.at(self.field.c, t)[..., i, :] * slopes
        gradient = (weighted[..., None, :] @ a[..., i : i + 2]).squeeze(-2)
        return torch.stack([gradient[..., 1], -gradient[..., 0]], -1)

    def _moved(self, y: Tensor, d: Tensor) -> Tensor:
        i = self.index
        return torch.cat([y[..., :i], y[..., i : i + 2] + d, y[..., i + 2 :]], -1)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return self._moved(torch.zeros_like(y), self._velocity(t, y))

    def flow(self, t: Tensor, h: Tensor, y: Tensor, action: Action) -> Tensor:
        """The point at t + h by the implicit midpoint rule, which is symplectic in the plane."""
        middle, scale = t + 0.5 * h, spread(h, action)

        def image(d: Tensor) -> Tensor:
            return scale * self._velocity(middle, self._moved(y, 0.5 * d))

        return self._moved(y, solve_stages(image, torch.zeros_like(y[..., :2]), 1))
