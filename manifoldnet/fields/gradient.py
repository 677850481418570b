"""Gradient fields of convex potentials: the non-expansive layers of the paper."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField

SUBDIVISIONS = 64


class GradientField(LayerField):
    """f(t, x) = -A(t)' sigma(A(t) x + b(t)) = -grad V (Celledoni et al. 2021, equation 16).

    With slopes of the activation in [alpha, L_sigma], by theorem 2.1 with the sharp constant,
    <df, dx> <= nu |dx|^2 with nu = -alpha mu^2, mu^2 = min_t lambda_min(A'A), and <df, dx> <= nu_bar |df|^2 with
    nu_bar = -1 / (L_sigma |A|^2). So ReLU, tanh and sigmoid give non-expansive flows (nu = 0), and activations with
    alpha > 0 contractive ones if A has full column rank. V falls along the flow where A and b are constant.

    Args:
        dim: number of features.
        width: rows of A; dim when None.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        A: (width, dim), or (knots, width, dim).
        b: (width,), or (knots, width).
    """

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        activation: str | Activation = "tanh",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(activation, **options)
        width = dim if width is None else width
        self.A = self._map(width, dim)
        self.b = self._bias(width)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return -self._adjoint(self.A, t, self.activation.sigma(self._affine(self.A, self.b, t, x)))

    def potential(self, t: Tensor, x: Tensor) -> Tensor:
        """V(t, x) = 1' gamma(A x + b), of the shape of the batch."""
        return self._total(self.activation.gamma(self._affine(self.A, self.b, t, x)))

    def one_sided_lipschitz(self) -> Constant:
        """-alpha mu^2: exact for constant matrices; otherwise a bound from above."""
        is_exact = self.in_time.kind != "piecewise-linear" and self.maps.ndim == 1
        return Constant(0.0 - self.activation.least_slope * self._least_gram(), is_exact)

    def cocoercivity(self) -> Tensor:
        """nu_bar = -1 / (L_sigma max |A(t)|^2) < 0, such that <df, dx> <= nu_bar |df|^2."""
        return -1 / (self.activation.greatest_slope * self.operator_norm().square())

    def operator_norm(self) -> Tensor:
        """max_t |A(t)|_2; an upper bound within about 1 % for convolutions."""
        return self._norm(self.A)

    def lipschitz(self) -> Tensor:
        return self.activation.greatest_slope * self.operator_norm().square()

    def _least_gram(self) -> Tensor:
        """A lower bound of min_t lambda_min(A'A); where A moves, its singular values move no faster than |dA|."""
        A = self._over_knots(self.A)
        if self.in_time.kind != "piecewise-linear":
            return self.maps.least_gram(A).amin()
        share = torch.linspace(0, 1, SUBDIVISIONS + 1).to(A).reshape(-1, *(1,) * A.dim())
        between = torch.lerp(A[:-1], A[1:], share)
        slack = self.maps.norm(A.diff(dim=0)) / (2 * SUBDIVISIONS)
        return (self.maps.least_gram(between).sqrt() - slack).clamp_min(0.0).amin().square()


class GradientFieldConv2d(Conv2d, GradientField):
    """Twin of :class:`GradientField` on images (channels, H, W); see :class:`Conv2d`."""


class ParabolicField(GradientField):
    """The same field as a semidiscrete heat equation x' = -K' sigma(K x + b) (Ruthotto and Haber 2020)."""


class ParabolicFieldConv2d(Conv2d, ParabolicField):
    """Twin of :class:`ParabolicField` on images (channels, H, W); see :class:`Conv2d`."""
