"""What the stepping rules of all families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action

Field = Callable[[Tensor, Tensor], Tensor]
"""f(t, y) -> generator at time t (a 0-dimensional tensor) and point y, in coordinates of the acting group."""

StepRule = Callable[[Tableau, Field, Action, Tensor, Tensor, Tensor], Tensor]
"""(tableau, field, action, t, h, y) -> the point at t + h."""


def combination(coefficients: Sequence[float], ks: Sequence[Tensor]) -> Tensor | None:
    """sum_j a_j k_j over the non-zero a_j, or None if there are none."""
    terms = [a * k for a, k in zip(coefficients, ks, strict=False) if a]
    return sum(terms[1:], terms[0]) if terms else None
