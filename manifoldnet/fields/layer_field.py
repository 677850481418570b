"""What fields made of affine maps and activations share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import TypedDict, Unpack

from manifoldnet.fields.activations import Activation, activation_of
from manifoldnet.fields.in_time import InTime, Time
from manifoldnet.fields.linear_maps import ConvolutionMaps, DenseMaps, LinearMaps
from manifoldnet.manifolds import Euclidean

ENUMERATED = 14
"""Up to this width all 2^width vertices are tried for a one-sided Lipschitz constant."""


Structure = Literal["symplectic", "conformal", "form", "volume"]
"""What a field declares its flow to preserve, as its property ``preserves``: the canonical symplectic form; that form
up to the factor exp(-damping t); the form whose matrix is its ``form(t)``, where that does not change; volume."""


class Constant(NamedTuple):
    """A constant of a field, and whether it is attained or only a bound."""

    value: Tensor
    is_exact: bool


class FieldOptions(TypedDict, total=False):
    """What every :class:`LayerField` can be given by keyword.

    Attributes:
        time: how parameters change: "constant" (the default), "piecewise-constant" or "piecewise-linear".
        knots: of parameters that change; they then have the shape (knots, ...). See :class:`InTime`.
        t1: time of the last knot, 1 unless given.
        maps: dense maps unless given.
        generator: source of the initial parameters.
    """

    time: Time
    knots: int | None
    t1: float
    maps: LinearMaps
    generator: torch.Generator | None


class LayerField(nn.Module):
    """A field on R^dim, or on images, built from maps A(t) x + b(t) and an activation.

    Args:
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`.
        options: see :class:`FieldOptions`.
    """

    def __init__(self, activation: str | Activation, **options: Unpack[FieldOptions]) -> None:
        super().__init__()
        self.maps = options.get("maps") or DenseMaps()
        self.activation = activation_of(activation)
        self.in_time = InTime(options.get("time", "constant"), options.get("knots"), options.get("t1", 1.0))
        self.space = Euclidean(self.maps.ndim)
        self._generator = options.get("generator")

    @abstractmethod
    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The tangent vector, of the shape of x."""

    @abstractmethod
    def one_sided_lipschitz(self) -> Constant:
        """nu such that <f(t, x) - f(t, y), x - y> <= nu |x - y|^2 for all t, x and y."""

    @abstractmethod
    def lipschitz(self) -> Tensor:
        """A Lipschitz constant, 0-dimensional."""

    def nu(self) -> Tensor:
        """The one-sided Lipschitz constant or a bound of it, 0-dimensional, float64."""
        return self.one_sided_lipschitz().value

    def _map(self, out: int, into: int) -> nn.Parameter:
        if min(out, into) < 1:
            raise ValueError(f"dim, width: wanted at least 1, got {into} and {out}")
        shape = self.maps.shape(out, into)
        return self.in_time.parameter(shape, torch.Size(shape[1:]).numel() ** -0.5, self._generator)

    def _bias(self, size: int) -> nn.Parameter:
        return self.in_time.parameter((size,), 0.1, self._generator)

    def _affine(self, A: Tensor, b: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """A(t) x + b(t), A and b being parameters."""
        return self.maps.add_bias(self.maps.apply(self.in_time.at(A, t), x), self.in_time.at(b, t))

    def _adjoint(self, A: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.maps.adjoint(self.in_time.at(A, t), y)

    def _total(self, x: Tensor) -> Tensor:
        """Sum over the dimensions of a point."""
        return x.flatten(-self.maps.ndim).sum(-1)

    def _over_knots(self, A: Tensor) -> Tensor:
        """(knots, *shape): one map for every knot, also where A is constant."""
        return A.detach()[None] if self.in_time.knots is None else A.detach()

    def _norm(self, A: Tensor) -> Tensor:
        """The largest |A(t)|: a convex function of A, so the knots of a piecewise linear A decide."""
        return self.maps.norm(self._over_knots(A)).amax()

    def roughness(self) -> Tensor:
        """The integral of |d theta / dt|^2 over all parameters, the regulariser of Haber and Ruthotto (2017)."""
        return torch.stack([self.in_time.roughness(p) for p in self.parameters()]).sum()

    def extra_repr(self) -> str:
        return f"{type(self.maps).__name__}, time={self.in_time.kind!r}, knots={self.in_time.knots}"


class Conv2d:
    """Mix-in that makes the twin of a field on images (channels, H, W), its maps being convolutions.

    Args:
        channels: takes the place of ``dim``.
        kernel_size: odd.
        padding: "circular" or "zeros"; the size of images is kept.
    """

    def __init__(
        self, channels: int, *args: Any, kernel_size: int = 3, padding: str = "circular", **options: Any
    ) -> None:
        super().__init__(channels, *args, maps=ConvolutionMaps(kernel_size, padding), **options)  # type: ignore[call-arg]


def vertex_bound(
    maps: LinearMaps, activation: Activation, left: Tensor | None, right: Tensor, shift: float = 0.0
) -> Constant:
    """sup over D of the largest eigenvalue of the symmetric part of shift I + L D R, D = diag(d_i), d_i slopes.

    It is the one-sided Lipschitz constant of x -> shift x + L sigma(R x + b), the identity standing for L = None.
    The eigenvalue is convex in D, so that one of the vertices, at which every slope is the least or the greatest,
    attains the supremum: all of them are tried for matrices up to a width of 14, where R has independent rows so that
    R x + b reaches all slopes. Otherwise the bound is c lambda_max(sym L R) + r |L| |R| for slopes c +- r, and
    L_sigma |L| |R| for convolutions on both sides.

    Args:
        left: (knots, ...) or None.
        right: (knots, ...).
    """
    low, high = activation.least_slope, activation.greatest_slope
    centre, radius = 0.5 * (high + low), 0.5 * (high - low)
    size = maps.norm(right) * (1.0 if left is None else maps.norm(left))
    if not isinstance(maps, DenseMaps):
        values = high * size if left is not None else centre * maps.greatest_symmetric(right) + radius * size
        return Constant(values.amax() + shift, False)
    right = right.double()
    knots, width, _ = right.shape
    if width > ENUMERATED:
        product = right if left is None else left.double() @ right
        return Constant((centre * maps.greatest_symmetric(product) + radius * size).amax() + shift, False)
    corners = torch.cartesian_prod(*[right.new_tensor([low, high])] * width).reshape(-1, 1, width, 1)
    scaled = corners * right
    values = maps.greatest_symmetric(scaled if left is None else left.double() @ scaled)
    independent = bool((torch.linalg.matrix_rank(right) == width).all())
    return Constant(values.amax() + shift, independent and knots == 1)
