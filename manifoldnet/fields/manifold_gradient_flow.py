"""Gradient flow of a learned potential on a manifold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        space: a space whose size is known (``SPD(metric, n=3)``, ``Euclidean(1, shape=(d,))``).
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
        size = self.features.size
        self.A = nn.Parameter(torch.randn(features, size, generator=generator) / size**0.5)
        self.b = nn.Parameter(0.1 * torch.randn(features, generator=generator))

    def potential(self, t: Tensor, y: Tensor) -> Tensor:
        """V(y), shape of the batch; it does not depend on t."""
        return self.activation.gamma(self._preactivation(y)).sum(-1)

    def _preactivation(self, y: Tensor) -> Tensor:
        return self.features.value(y) @ self.A.mT + self.b

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator of -grad V at y, in coordinates of the group that acts on the space."""
        return -self.features.gradient(y, self.activation.sigma(self._preactivation(y)) @ self.A)
