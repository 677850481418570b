"""Fields whose steps are projected onto the positive orthant."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, vertex_bound

Kind = Literal["transposed", "non-negative", "general"]


class ProjectedField(LayerField):
    """The inclusion f(t, x) - x' in the normal cone of the orthant x >= 0, f = -A_2 relu(A_1 x + b_1) + b_2.

    The residual networks of Zhang and Schaeffer (2020) (Celledoni et al. 2021, equation 15), x+ = relu(x + h f(x)):
    "euler" projects its step, and the strong-stability-preserving methods each of their Euler steps, so features stay
    non-negative and the projection, being non-expansive, adds to no difference.

    Args:
        dim: number of features.
        width: rows of A_1; dim when None.
        kind: "transposed" for A_2 = A_1' and b_2 = 0, a gradient field whose flow and steps h <= 2 / |A_1|^2 do not
            expand; "non-negative" for A_2 >= 0 entry by entry, by which 0 <= x(t) <= x(0) + the integral of
            max(b_2, 0); "general".
        options: see :class:`FieldOptions`.

    Attributes:
        A1: (width, dim), or (knots, width, dim).
        b1: (width,), or (knots, width).
        B2: (dim, width), or (knots, dim, width), where kind is not "transposed"; A_2 is its absolute value for
            "non-negative".
        b2: (dim,), or (knots, dim), likewise.
    """

    def __init__(
        self, dim: int, width: int | None = None, kind: Kind = "transposed", **options: Unpack[FieldOptions]
    ) -> None:
        super().__init__("relu", **options)
        if kind not in ("transposed", "non-negative", "general"):
            raise ValueError(f"kind: wanted 'transposed', 'non-negative' or 'general', got {kind!r}")
        width = dim if width is None else width
        self.kind = kind
        self.A1 = self._map(width, dim)
        self.b1 = self._bias(width)
        self.B2: nn.Parameter | None = None if kind == "transposed" else self._map(dim, width)
        self.b2: nn.Parameter | None = None if kind == "transposed" else self._bias(dim)

    @property
    def A2(self) -> Tensor:
        """(dim, width), or (knots, dim, width)."""
        if self.B2 is None:
            return self.maps.transposed(self.A1)
        return self.B2.abs() if self.kind == "non-negative" else self.B2

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        hidden = self.activation.sigma(self._affine(self.A1, self.b1, t, x))
        fall = -self.maps.apply(self.in_time.at(self.A2, t), hidden)
        return fall if self.b2 is None else self.maps.add_bias(fall, self.in_time.at(self.b2, t))

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the orthant."""
        return torch.relu(x)

    def one_sided_lipschitz(self) -> Constant:
        if self.kind == "transposed":
            return Constant(self._norm(self.A1).new_zeros(()), True)
        if self.in_time.kind == "piecewise-linear":  # a product of two that move has its extremes between the knots
            return Constant(self.lipschitz(), False)
        return vertex_bound(self.maps, self.activation, -self._over_knots(self.A2), self._over_knots(self.A1))

    def cocoercivity(self) -> Tensor:
        """nu_bar = -1 / |A_1|^2 where A_2 = A_1'.

        Raises:
            ValueError: for the other kinds, which have none.
        """
        if self.kind != "transposed":
            raise ValueError(f"cocoercivity: wanted kind='transposed', got {self.kind!r}")
        return -1 / self._norm(self.A1).square()

    def lipschitz(self) -> Tensor:
        return self._norm(self.A1) * self._norm(self.A2)


class ProjectedFieldConv2d(Conv2d, ProjectedField):
    """Twin of :class:`ProjectedField` on images (channels, H, W); see :class:`Conv2d`."""
