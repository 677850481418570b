"""Gradient flow of a learned potential on a manifold."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from manifoldnet.fields.activations import Activation, activation_of
from manifoldnet.fields.geodesic_step import space_step_bound
from manifoldnet.fields.gradient import GradientField
from manifoldnet.fields.in_time import InTime, Time
from manifoldnet.fields.layer_field import Constant
from manifoldnet.fields.potentials import scores_of
from manifoldnet.fields.scores import ConvexScores, LinearScores
from manifoldnet.manifolds import Space

FAR = 1e30  # where activations have come to their limits


class ManifoldGradientFlow(nn.Module):
    """y' = -grad V(t, y) with V(t, y) = sum_k gamma(s_k(y; A_k(t)) + b_k(t)), gamma' being the activation.

    grad is the gradient of the space's own metric, so V decreases along the flow where A and b are constant:
    dV/dt = -|grad V|^2. The functions s_k are chosen by ``potential``:

    * "default": <A_k, phi(y)> with the default features of the space (:func:`features_of`). On Euclidean space, and on
      SPD with the log-Euclidean metric in its log-chart, the field is -A' sigma(A x + b) of Celledoni et al. (2021),
      equation (16), with all its constants.
    * "log-euclidean", on SPD: the default there, logarithmic coordinates. Not convex for the affine-invariant metric.
    * "log-trace", on SPD: log tr(A_k A_k' y).
    * "busemann", on SPD with the affine-invariant metric and on hyperbolic space: |A_k| times the Busemann function of
      the ray from the origin along A_k.

    Flows of geodesically convex potentials do not expand. On compact manifolds no such claim is possible: a
    geodesically convex V is constant there.

    Args:
        space: where y lives. If its size is not known (``SPD()`` for any n) the first points that the field sees
            decide it, and A has no values until then.
        features: number of rows of A.
        activation: a name in ``ACTIVATIONS`` or an :class:`Activation`; "log-trace" and "busemann" want one that is
            nowhere negative, such as sigmoid, softplus and relu, because gamma must not decrease.
        potential: one of ``potentials_of(space)``.
        time: how A and b change: "constant", "piecewise-constant" or "piecewise-linear"; see :class:`InTime`.
        knots: of parameters that change; they then have the shape (knots, ...).
        t1: time of the last knot.
        generator: source of the initial A and b.

    Attributes:
        A: (features, phi size), (features, n, n) for "log-trace", (features, dim) for "busemann".
        b: (features,).

    Raises:
        ValueError: for a potential that the space lacks, an activation that does not suit it, or features < 1.
    """

    def __init__(
        self,
        space: Space,
        features: int = 8,
        activation: str | Activation = "tanh",
        potential: str = "default",
        time: Time = "constant",
        knots: int | None = None,
        t1: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features: wanted at least 1, got {features}")
        self.space = space
        self.activation = activation_of(activation)
        self.scores = scores_of(space, potential)
        self.potential_name = potential
        if not isinstance(self.scores, LinearScores) and not self._limits()[0] >= 0:
            raise ValueError(
                f"activation: potential={potential!r} wants one that is nowhere negative, such as 'sigmoid', "
                f"'softplus' or 'relu', got {activation!r}"
            )
        self.in_time = InTime(time, knots, t1)
        self.b = self.in_time.parameter((features,), 0.1, generator)
        self.A: nn.Parameter = UninitializedParameter()  # type: ignore[assignment]  # it is one, the stubs forget
        self._generator = generator
        shape = self.scores.shape()
        if shape is not None:
            self._initialise(shape)

    def _initialise(self, shape: tuple[int, ...]) -> None:
        assert isinstance(self.A, UninitializedParameter)
        self.A.materialize((*self.b.shape, *shape))
        with torch.no_grad():
            self.A.normal_(0, torch.Size(shape).numel() ** -0.5, generator=self._generator)
        self._generator = None

    def _parameters_at(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A(t) and b(t)."""
        if isinstance(self.A, UninitializedParameter):
            shape = self.scores.shape(y)
            assert shape is not None
            self._initialise(shape)
        return self.in_time.at(self.A, t), self.in_time.at(self.b, t)

    def potential(self, t: Tensor, y: Tensor) -> Tensor:
        """V(t, y), shape of the batch."""
        A, b = self._parameters_at(t, y)
        return self.activation.gamma(self.scores.value(y, A) + b).sum(-1)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator of -grad V at y, in coordinates of the group that acts on the space."""
        A, b = self._parameters_at(t, y)
        return self.scores.gradient(y, A, -self.activation.sigma(self.scores.value(y, A) + b))

    def _limits(self) -> tuple[float, float]:
        """inf and sup of the activation, if it does not decrease; infinite where it grows without bound."""
        low, high = self.activation.sigma(torch.tensor([-FAR, FAR], dtype=torch.float64)).tolist()
        return low, high if high < math.sqrt(FAR) else math.inf

    @property
    def is_geodesically_convex(self) -> bool:
        """Whether V is convex along geodesics whatever A and b are, so that its exact flow never expands."""
        convex = self.scores.is_chart or isinstance(self.scores, ConvexScores)
        return convex and self.activation.least_slope >= 0

    def in_chart(self) -> GradientField:
        """The field in the chart phi, an isometry onto R^size, with the same parameters.

        Raises:
            ValueError: if the space has no such chart, or no size yet.
        """
        if not self.scores.is_chart:
            raise ValueError(f"potential: {self.potential_name!r} on {self.space.name} has no flat chart")
        if isinstance(self.A, UninitializedParameter):
            raise ValueError(f"space: {self.space.name} has no size yet, wanted one, or a first point")
        K, size = self.A.shape[-2:]
        time, unused = self.in_time, torch.Generator()
        field = GradientField(size, K, self.activation, time=time.kind, knots=time.knots, t1=time.t1, generator=unused)
        field.A, field.b = self.A, self.b
        return field

    def one_sided_lipschitz(self) -> Constant:
        """nu with d/dt dist(x, y) <= nu dist(x, y) for two solutions; 0 for convex V on curved spaces.

        Raises:
            ValueError: where nothing may be claimed.
        """
        if self.scores.is_chart:
            return self.in_chart().one_sided_lipschitz()
        self._convex_scores("nu")
        return Constant(torch.zeros((), dtype=torch.float64, device=self.b.device), False)

    def nu(self) -> Tensor:
        """The value of :meth:`one_sided_lipschitz`."""
        return self.one_sided_lipschitz().value

    def cocoercivity(self) -> Tensor:
        """nu_bar = -1 / (L_sigma max |A(t)|^2) < 0, such that <df, dx> <= nu_bar |df|^2 in the flat chart."""
        return self.in_chart().cocoercivity()

    def operator_norm(self) -> Tensor:
        """max_t |A(t)|_2, in the flat chart."""
        return self.in_chart().operator_norm()

    def lipschitz(self) -> Tensor:
        """A bound of the largest eigenvalue of Hess V, 0-dimensional; infinite if it needs a bounded activation.

        L_sigma |A|^2 in a flat chart; otherwise sum_k L_sigma sup |grad s_k|^2 + sup(sigma) sup Hess s_k.

        Raises:
            ValueError: where nothing may be claimed.
        """
        if self.scores.is_chart:
            return self.in_chart().lipschitz()
        scores, A = self._convex_scores("lipschitz"), self._values()
        slopes = self.activation.greatest_slope * scores.gradient_bounds(A).square()
        return (slopes + self._limits()[1] * scores.hessian_bounds(A)).sum(-1).amax()

    def speed(self) -> Tensor:
        """A bound of |grad V|, 0-dimensional: sup(sigma) sum_k sup |grad s_k|; infinite for unbounded activations.

        Raises:
            ValueError: where nothing may be claimed.
        """
        return self._weighted(self._convex_scores("speed").gradient_bounds(self._values()))

    def step_bound(self) -> float:
        """The longest step of "geodesic-euler" that is shown not to expand; see :func:`geodesic_step_bound`.

        2 |nu_bar| in a flat chart. Elsewhere -R(., X)X <= sup(sigma) sum_k c_k Hess V, by the inequality of Cauchy and
        Schwarz, because -R(w, X, X, w) is the square of a norm of a bilinear function of w and X, on a symmetric space
        of noncompact type that of [w, X].

        Raises:
            ValueError: where nothing may be claimed.
        """
        if self.scores.is_chart:
            return -2 * self.cocoercivity().item()
        scores = self._convex_scores("step_bound")
        bending = self._weighted(scores.bending(self._values())).item()
        return space_step_bound(self.space, 0.0, self.lipschitz().item(), self.speed().item(), bending)

    def _convex_scores(self, what: str) -> ConvexScores:
        if not isinstance(self.scores, ConvexScores):
            raise ValueError(
                f"{what}: potential={self.potential_name!r} on {self.space.name} is not geodesically convex, "
                "so that nothing may be claimed"
            )
        return self.scores

    def _values(self) -> Tensor:
        """A in float64, at every knot."""
        if isinstance(self.A, UninitializedParameter):
            raise ValueError(f"space: {self.space.name} has no size yet, wanted one, or a first point")
        return self.A.detach().double()

    def _weighted(self, bounds: Tensor) -> Tensor:
        return self._limits()[1] * bounds.sum(-1).amax()
