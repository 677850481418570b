"""Crouch-Grossman methods: products of exponentials, no brackets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from manifoldnet.integrators.stepping import Field
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action


def _product(action: Action, coefficients: Sequence[float], ks: Sequence[Tensor], y: Tensor) -> Tensor:
    """exp(a_s K_s) ... exp(a_1 K_1) y."""
    for a, k in zip(coefficients, ks, strict=False):
        if a:
            y = action.act_exp(a * k, y)
    return y


def crouch_grossman_step(tableau: Tableau, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
    """One step (Crouch and Grossman 1993); above order 2 the classical order conditions are not enough.

    Y_i = exp(a_{i,i-1} K_{i-1}) ... exp(a_{i1} K_1) y, K_i = h f(t + c_i h, Y_i),
    y1 = exp(b_s K_s) ... exp(b_1 K_1) y.
    """
    ks: list[Tensor] = []
    for row, c in zip(tableau.A, tableau.c, strict=True):
        ks.append(h * field(t + c * h, _product(action, row, ks, y)))
    return _product(action, tableau.b, ks, y)
