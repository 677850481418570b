"""Hopfield's continuous network."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, vertex_bound


class Hopfield(LayerField):
    """f(t, x) = -x + W sigma(x) + b with symmetric W (Hopfield 1984).

    E(x) = -v'Wv / 2 - b'v + sum_i (x_i v_i - gamma(x_i)), v = sigma(x), falls along the flow for non-decreasing sigma
    and constant W and b: dE/dt = -sum_i sigma'(x_i) f_i^2. The last sum is that of the integrals of sigma^-1 up to v_i.

    Args:
        dim: number of features.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        S: (dim, dim), or (knots, dim, dim); W = (S + S') / 2.
        b: (dim,), or (knots, dim).
    """

    def __init__(
        self,
        dim: int,
        activation: str | Activation = "tanh",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(activation, **options)
        self.S = self._map(dim, dim)
        self.b = self._bias(dim)

    @property
    def W(self) -> Tensor:
        """(S + S') / 2."""
        return 0.5 * (self.S + self.maps.transposed(self.S))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self._affine(self.W, self.b, t, self.activation.sigma(x)) - x

    def energy(self, t: Tensor, x: Tensor) -> Tensor:
        """E(x), of the shape of the batch."""
        v = self.activation.sigma(x)
        pull = self.maps.add_bias(0.5 * self.maps.apply(self.in_time.at(self.W, t), v), self.in_time.at(self.b, t))
        return self._total((x - pull) * v - self.activation.gamma(x))

    def one_sided_lipschitz(self) -> Constant:
        W = self._over_knots(self.W)
        eye = torch.eye(W.shape[-1]).to(W).expand_as(W) if self.maps.ndim == 1 else None
        if eye is None:
            norm = self.activation.greatest_slope * self.maps.norm(W).amax()
            return Constant(norm - 1.0, False)
        return vertex_bound(self.maps, self.activation, W, eye, shift=-1.0)

    def lipschitz(self) -> Tensor:
        return 1 + self.activation.greatest_slope * self._norm(self.W)


class HopfieldConv2d(Conv2d, Hopfield):
    """Twin of :class:`Hopfield` on images (channels, H, W); see :class:`Conv2d`."""
