"""Gradient flow of a learned potential on a manifold."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from manifoldnet.fields.activations import activation_named
from manifoldnet.fields.features import features_of
from manifoldnet.manifolds import Space


class ManifoldGradientFlow(nn.Module):
    """y' = -grad V(y) with V(y) = 1' gamma(A phi(y) + b), gamma the antiderivative of the activation.

    phi are the default features of the space (``features_of``) and grad is the gradient of the space's own metric,
    so V decreases along the flow: dV/dt = -|grad V|^2. On Euclidean space, and on SPD with the log-Euclidean
    metric in its log-chart, this is the field -A' sigma(A x + b) of Celledoni et al. (2021), equation (16), which
    is non-expansive. On compact manifolds no such claim is possible: a geodesically convex V is constant there.

    Args:
        space: where y lives. If its size is not known (``SPD()`` for any n) the first points that the field sees
            decide it, and A has no values until then.
        features: number of rows of A.
        activation: a name in ``ACTIVATIONS``.
        generator: source of the initial A and b.

    Attributes:
        A: (features, phi size).
        b: (features,).
    """

    def __init__(
        self,
        space: Space,
        features: int = 8,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features: wanted at least 1, got {features}")
        self.space = space
        self.activation = activation_named(activation)
        self.features = features_of(space)
        self.b = nn.Parameter(0.1 * torch.randn(features, generator=generator))
        self.A: nn.Parameter = UninitializedParameter()  # type: ignore[assignment]  # it is one, the stubs forget
        self._generator = generator
        if self.features.size is not None:
            self._initialise(self.features.size)

    def _initialise(self, size: int) -> None:
        assert isinstance(self.A, UninitializedParameter)
        self.A.materialize((len(self.b), size))
        with torch.no_grad():
            self.A.normal_(0, size**-0.5, generator=self._generator)
        self._generator = None

    def potential(self, t: Tensor, y: Tensor) -> Tensor:
        """V(y), shape of the batch; it does not depend on t."""
        return self.activation.gamma(self._preactivation(y)).sum(-1)

    def _preactivation(self, y: Tensor) -> Tensor:
        phi = self.features.value(y)
        if isinstance(self.A, UninitializedParameter):
            self._initialise(phi.shape[-1])
        return phi @ self.A.mT + self.b

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator of -grad V at y, in coordinates of the group that acts on the space."""
        slopes = self.activation.sigma(self._preactivation(y))
        return -self.features.gradient(y, slopes @ self.A)
