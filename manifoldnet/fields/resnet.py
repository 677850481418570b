"""The field of residual networks."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, vertex_bound


class ResNetField(LayerField):
    """f(t, x) = sigma(A(t) x + b(t)) (Celledoni et al. 2021, equation 8), whose Euler steps of length 1 are a ResNet.

    Args:
        dim: number of features.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        A: (dim, dim), or (knots, dim, dim).
        b: (dim,), or (knots, dim).
    """

    def __init__(
        self,
        dim: int,
        activation: str | Activation = "tanh",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(activation, **options)
        self.A = self._map(dim, dim)
        self.b = self._bias(dim)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.activation.sigma(self._affine(self.A, self.b, t, x))

    def one_sided_lipschitz(self) -> Constant:
        return vertex_bound(self.maps, self.activation, None, self._over_knots(self.A))

    def lipschitz(self) -> Tensor:
        return self.activation.greatest_slope * self._norm(self.A)


class ResNetFieldConv2d(Conv2d, ResNetField):
    """Twin of :class:`ResNetField` on images (channels, H, W); see :class:`Conv2d`."""
