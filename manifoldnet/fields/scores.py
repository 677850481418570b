"""The scalar functions of a point, one for every row of parameters, of which learned potentials are made."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from manifoldnet.fields.features import features_of
from manifoldnet.manifolds import Space


class Scores(ABC):
    """Functions s_k(y; A_k), k = 1, ..., K, for the potential V(y) = sum_k gamma(s_k(y; A_k) + b_k).

    Parameters A have the shape (K, *shape), or (*batch, K, *shape) where every sample has its own.

    Attributes:
        is_chart: whether s_k(y) = <A_k, phi(y)> with an isometry phi of the space onto R^size.
    """

    is_chart: bool = False

    @abstractmethod
    def shape(self, y: Tensor | None = None) -> tuple[int, ...] | None:
        """Shape of one A_k; None where only a point y tells it and there is none."""

    @abstractmethod
    def value(self, y: Tensor, A: Tensor) -> Tensor:
        """s_k(y; A_k), shape (..., K)."""

    @abstractmethod
    def gradient(self, y: Tensor, A: Tensor, w: Tensor) -> Tensor:
        """Generator of the Riemannian gradient at y of sum_k w_k s_k; w has shape (..., K)."""


class ConvexScores(Scores):
    """Geodesically convex functions on a symmetric space without positive curvature, with what bounds their flows.

    They all satisfy -R(w, grad s, grad s, w) <= c Hess s(w, w) for every w, R being the curvature tensor.
    """

    @abstractmethod
    def gradient_bounds(self, A: Tensor) -> Tensor:
        """Suprema of |grad s_k|, shape (..., K)."""

    @abstractmethod
    def hessian_bounds(self, A: Tensor) -> Tensor:
        """Bounds of the largest eigenvalue of Hess s_k, shape (..., K)."""

    @abstractmethod
    def bending(self, A: Tensor) -> Tensor:
        """The constants c_k, shape (..., K)."""


class LinearScores(Scores):
    """<A_k, phi(y)> with the default features of the space."""

    def __init__(self, space: Space) -> None:
        self.features = features_of(space)
        self.is_chart = self.features.is_chart

    def shape(self, y: Tensor | None = None) -> tuple[int, ...] | None:
        size = self.features.size
        if size is None and y is not None:
            size = self.features.value(y).shape[-1]
        return None if size is None else (size,)

    def value(self, y: Tensor, A: Tensor) -> Tensor:
        return (self.features.value(y).unsqueeze(-2) @ A.mT).squeeze(-2)

    def gradient(self, y: Tensor, A: Tensor, w: Tensor) -> Tensor:
        return self.features.gradient(y, (w.unsqueeze(-2) @ A).squeeze(-2))
