"""Fields of skew maps with damping."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, vertex_bound
from manifoldnet.fields.linear_maps import DenseMaps


class SkewDissipative(LayerField):
    """f(t, x) = sigma(A x + b), A = S - S' - gamma I (Haber and Ruthotto 2017; Chang et al. 2019).

    Without damping and with A and b constant, E(x) = 1' gamma_sigma(A x + b), gamma_sigma the antiderivative of
    sigma, is a first integral because sigma' A sigma = 0; with damping dE/dt = -gamma |sigma|^2. A skew A does not make
    the field non-expansive: its one-sided Lipschitz constant may be |A| / 2.

    Args:
        dim: number of features.
        gamma: damping, >= 0.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        S: (dim, dim), or (knots, dim, dim).
        b: (dim,), or (knots, dim).

    Raises:
        ValueError: if gamma is negative.
    """

    def __init__(
        self,
        dim: int,
        gamma: float = 0.0,
        activation: str | Activation = "tanh",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(activation, **options)
        if gamma < 0:
            raise ValueError(f"gamma: wanted a damping >= 0, got {gamma}")
        self.gamma = gamma
        self.S = self._map(dim, dim)
        self.b = self._bias(dim)

    @property
    def A(self) -> Tensor:
        """S - S' - gamma I, of the shape of S."""
        eye = torch.eye(self.S.shape[-1 if isinstance(self.maps, DenseMaps) else -3]).to(self.S)
        if not isinstance(self.maps, DenseMaps):
            edge = self.S.shape[-1] // 2
            eye = torch.nn.functional.pad(eye[..., None, None], (edge,) * 4)
        return self.S - self.maps.transposed(self.S) - self.gamma * eye

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.activation.sigma(self._affine(self.A, self.b, t, x))

    def first_integral(self, t: Tensor, x: Tensor) -> Tensor:
        """E(x) = 1' gamma_sigma(A x + b), of the shape of the batch; constant along the flow if gamma = 0."""
        return self._total(self.activation.gamma(self._affine(self.A, self.b, t, x)))

    def one_sided_lipschitz(self) -> Constant:
        return vertex_bound(self.maps, self.activation, None, self._over_knots(self.A))

    def lipschitz(self) -> Tensor:
        return self.activation.greatest_slope * self._norm(self.A)


class SkewDissipativeConv2d(Conv2d, SkewDissipative):
    """Twin of :class:`SkewDissipative` on images (channels, H, W); see :class:`Conv2d`."""
