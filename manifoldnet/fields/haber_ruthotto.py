"""The Hamiltonian-inspired network of Haber and Ruthotto."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, Structure


class HaberRuthotto(LayerField):
    """q' = sigma(K p + b), p' = -sigma(K' q + c) (Haber and Ruthotto 2017).

    Not canonically symplectic: what its flow and the symplectic methods keep is the form [[0, K], [-K', 0]], which
    changes with K from layer to layer. H = 1' gamma(K p + b) + 1' gamma(K' q + c) is constant along the flow.

    Args:
        dim: number of positions; points y = (q, p) have 2 dim features.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        K: (dim, dim), or (knots, dim, dim).
        b, c: (dim,), or (knots, dim).
    """

    def __init__(self, dim: int, activation: str | Activation = "tanh", **options: Unpack[FieldOptions]) -> None:
        super().__init__(activation, **options)
        self.dim = dim
        self.K = self._map(dim, dim)
        self.b = self._bias(dim)
        self.c = self._bias(dim)

    @property
    def preserves(self) -> Structure:
        """The field's own form."""
        return "form"

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """q'."""
        return self.activation.sigma(self._affine(self.K, self.b, t, p))

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """p'."""
        return -self.activation.sigma(self._affine(self.maps.transposed(self.K), self.c, t, q))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = y.chunk(2, -self.maps.ndim)
        return torch.cat([self.velocity(t, p), self.force(t, q)], -self.maps.ndim)

    def hamiltonian(self, t: Tensor, y: Tensor) -> Tensor:
        """H(t, y), of the shape of the batch."""
        q, p = y.chunk(2, -self.maps.ndim)
        a, b = self._affine(self.K, self.b, t, p), self._affine(self.maps.transposed(self.K), self.c, t, q)
        return self._total(self.activation.gamma(a)) + self._total(self.activation.gamma(b))

    def structure(self, v: Tensor) -> Tensor:
        """S v of y' = S grad H, S the inverse of the form: (K'^-1 v_p, -K^-1 v_q), for discrete gradients.

        Raises:
            ValueError: for convolutions, or where K changes with time.
        """
        if self.maps.ndim != 1 or self.in_time.kind != "constant":
            raise ValueError("structure: wanted dense maps that are constant in time")
        q, p = v.chunk(2, -1)
        by_p = torch.linalg.solve(self.K.mT, p.unsqueeze(-1)).squeeze(-1)
        return torch.cat([by_p, -torch.linalg.solve(self.K, q.unsqueeze(-1)).squeeze(-1)], -1)

    def form(self, t: Tensor) -> Tensor:
        """(2 dim, 2 dim), the matrix [[0, K], [-K', 0]] of the form that the flow keeps where K is constant.

        Raises:
            ValueError: for convolutions, whose form is a matrix of the size of the image.
        """
        if self.maps.ndim != 1:
            raise ValueError("form: wanted dense maps, got convolutions")
        K = self.in_time.at(self.K, t)
        return torch.cat([torch.cat([torch.zeros_like(K), K], -1), torch.cat([-K.mT, torch.zeros_like(K)], -1)], -2)

    def one_sided_lipschitz(self) -> Constant:
        """Half the Lipschitz constant: the symmetric part of the Jacobian is off-diagonal, (D_1 K - K D_2) / 2.

        With D = c I + r E, c the middle of the slopes, that is r (E_1 K - K E_2) / 2, at most r |K| <= L_sigma |K| / 2.
        """
        return Constant(0.5 * self.lipschitz(), False)

    def lipschitz(self) -> Tensor:
        return self.activation.greatest_slope * self._norm(self.K)


class HaberRuthottoConv2d(Conv2d, HaberRuthotto):
    """Twin of :class:`HaberRuthotto` on images (2 channels, H, W); see :class:`Conv2d`."""
