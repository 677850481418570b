"""Hamiltonian fields: separable, damped, of second order, and of a general Hamiltonian."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import Unpack

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.layer_field import Constant, Conv2d, FieldOptions, LayerField, Structure


class HamiltonianField(LayerField):
    """q' = dT/dp, p' = -dV/dq with T = 1' gamma(A_1 p + b_1), V = 1' gamma(A_2 q + b_2).

    The general form of the two-layer Hamiltonian networks of Chang et al. (2018) (Celledoni et al. 2021, equations 18
    and 19). Symplectic whatever the weights, which "symplectic-euler", "stormer-verlet" and their compositions keep.

    Args:
        dim: number of positions; points y = (q, p) have 2 dim features, an image 2 dim channels.
        width: rows of A_1 and A_2; dim when None.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        kinetic: "learned", or "quadratic" for T = |p|^2 / 2 without A_1 and b_1.
        options: see :class:`FieldOptions`.

    Attributes:
        A1, A2: (width, dim), or (knots, width, dim).
        b1, b2: (width,), or (knots, width).
    """

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        activation: str | Activation = "tanh",
        kinetic: Literal["learned", "quadratic"] = "learned",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(activation, **options)
        if kinetic not in ("learned", "quadratic"):
            raise ValueError(f"kinetic: wanted 'learned' or 'quadratic', got {kinetic!r}")
        width = dim if width is None else width
        self.dim = dim
        self.is_quadratic = kinetic == "quadratic"
        if not self.is_quadratic:
            self.A1 = self._map(width, dim)
            self.b1 = self._bias(width)
        self.A2 = self._map(width, dim)
        self.b2 = self._bias(width)

    @property
    def preserves(self) -> Structure:
        """The canonical form."""
        return "symplectic"

    def halves(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """q and p."""
        q, p = y.chunk(2, -self.maps.ndim)
        return q, p

    def kinetic(self, t: Tensor, p: Tensor) -> Tensor:
        """T(t, p), of the shape of the batch."""
        if self.is_quadratic:
            return 0.5 * self._total(p.square())
        return self._total(self.activation.gamma(self._affine(self.A1, self.b1, t, p)))

    def potential(self, t: Tensor, q: Tensor) -> Tensor:
        """V(t, q), of the shape of the batch."""
        return self._total(self.activation.gamma(self._affine(self.A2, self.b2, t, q)))

    def hamiltonian(self, t: Tensor, y: Tensor) -> Tensor:
        """T(t, p) + V(t, q), of the shape of the batch."""
        q, p = self.halves(y)
        return self.kinetic(t, p) + self.potential(t, q)

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """dT/dp."""
        if self.is_quadratic:
            return p
        return self._adjoint(self.A1, t, self.activation.sigma(self._affine(self.A1, self.b1, t, p)))

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """-dV/dq."""
        return -self._adjoint(self.A2, t, self.activation.sigma(self._affine(self.A2, self.b2, t, q)))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = self.halves(y)
        return torch.cat([self.velocity(t, p), self.force(t, q)], -self.maps.ndim)

    def one_sided_lipschitz(self) -> Constant:
        """Half of the Lipschitz constant: the symmetric part of the Jacobian is off-diagonal, (T'' - V'') / 2."""
        return Constant(0.5 * HamiltonianField.lipschitz(self), False)

    def lipschitz(self) -> Tensor:
        slope = self.activation.greatest_slope
        potential = slope * self._norm(self.A2).square()
        kinetic = torch.ones_like(potential) if self.is_quadratic else slope * self._norm(self.A1).square()
        return torch.maximum(kinetic, potential)


class HamiltonianFieldConv2d(Conv2d, HamiltonianField):
    """Twin of :class:`HamiltonianField` on images (2 channels, H, W); see :class:`Conv2d`."""


class HyperbolicField(HamiltonianField):
    """The semidiscrete wave equation q'' = -K' sigma(K q + b) (Ruthotto and Haber 2020), as T = |p|^2 / 2."""

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        activation: str | Activation = "tanh",
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(dim, width, activation, "quadratic", **options)


class HyperbolicFieldConv2d(Conv2d, HyperbolicField):
    """Twin of :class:`HyperbolicField` on images (2 channels, H, W); see :class:`Conv2d`."""


class DampedHamiltonianField(HamiltonianField):
    """p' = -dV/dq - damping p: conformally symplectic, every area shrinks by exp(-damping t).

    "conformal-euler" and "conformal-verlet" keep that exactly.

    Args:
        dim, width, activation, kinetic, options: as of :class:`HamiltonianField`.
        damping: per unit of time, >= 0.

    Raises:
        ValueError: if the damping is negative.
    """

    def __init__(
        self,
        dim: int,
        width: int | None = None,
        activation: str | Activation = "tanh",
        kinetic: Literal["learned", "quadratic"] = "learned",
        damping: float = 0.1,
        **options: Unpack[FieldOptions],
    ) -> None:
        super().__init__(dim, width, activation, kinetic, **options)
        if damping < 0:
            raise ValueError(f"damping: wanted a number >= 0, got {damping}")
        self.damping = damping

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = self.halves(y)
        return torch.cat([self.velocity(t, p), self.force(t, q) - self.damping * p], -self.maps.ndim)

    @property
    def preserves(self) -> Structure:
        """The canonical form up to exp(-damping t)."""
        return "conformal"

    def lipschitz(self) -> Tensor:
        return super().lipschitz() + self.damping


class DampedHamiltonianFieldConv2d(Conv2d, DampedHamiltonianField):
    """Twin of :class:`DampedHamiltonianField` on images (2 channels, H, W); see :class:`Conv2d`."""


class HDNN(LayerField):
    """y' = J K' sigma(K y + b) = J grad H, H = 1' gamma(K y + b) (Galimberti et al. 2021), J = [[0, I], [-I, 0]].

    Not separable; the flow is canonically symplectic, which the implicit symplectic methods keep, so that the backward
    sensitivity of no layer has a norm below 1: gradients do not vanish.

    Args:
        dim: number of positions; points y = (q, p) have 2 dim features.
        width: rows of K; 2 dim when None.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.

    Attributes:
        K: (width, 2 dim), or (knots, width, 2 dim).
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
        width = 2 * dim if width is None else width
        self.dim = dim
        self.K = self._map(width, 2 * dim)
        self.b = self._bias(width)

    @property
    def preserves(self) -> Structure:
        """The canonical form."""
        return "symplectic"

    def hamiltonian(self, t: Tensor, y: Tensor) -> Tensor:
        """H(t, y), of the shape of the batch."""
        return self._total(self.activation.gamma(self._affine(self.K, self.b, t, y)))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        slope = self._adjoint(self.K, t, self.activation.sigma(self._affine(self.K, self.b, t, y)))
        by_q, by_p = slope.chunk(2, -self.maps.ndim)
        return torch.cat([by_p, -by_q], -self.maps.ndim)

    def one_sided_lipschitz(self) -> Constant:
        return Constant(self.lipschitz(), False)

    def lipschitz(self) -> Tensor:
        return self.activation.greatest_slope * self._norm(self.K).square()


class HDNNConv2d(Conv2d, HDNN):
    """Twin of :class:`HDNN` on images (2 channels, H, W); see :class:`Conv2d`."""
