"""Accelerated descent as a symplectic step of Bregman dynamics, whose Hamiltonian depends on time."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import ParamsT

from manifoldnet.errors import InputError
from manifoldnet.training.kick_drift import KickDrift, check_positive


class BregmanDescent(KickDrift):
    """Steps of the Bregman dynamics of order p, along which a convex loss falls like t^-p.

    H(q, r, t) = w(t) |r|^2 / 2 + W(t) E(q) with w = p t^-(zeta p + 1) and W = C p t^((zeta + 1) p - 1), that is
    q'' + (zeta p + 1)/t q' + C p^2 t^(p-2) grad E(q) = 0 with the covariant derivative (Wibisono, Wilson and Jordan
    2016, equation 2.9, where zeta = 1; Duruisseaux and Leok 2022, section 4, on manifolds). Started at rest at t = 0
    it has E(q) - min E <= zeta dist(q_0, q*)^2 / (2 C t^p) if E is geodesically convex, because the sum of C t^p (E -
    min E), |t/p q' - log_q(q*)|^2 / 2 and (zeta - 1) dist(q, q*)^2 / 2 does not grow as long as the Hessian of
    dist(., q*)^2 / 2 is at most zeta: 1 without negative curvature, d coth(d) for curvature >= -k^2 and d = k dist.

    In the extended phase space (q, r, t, u) the Hamiltonian K = H + u does not depend on time and is a sum of three
    parts with exact flows: u advances t, the others are drift and kick at frozen t. The step is their symmetric
    composition, half of t, half kick, drift, half kick, half of t (Betancourt, Jordan and Wilson 2018, section 3):
    symplectic in the extended space, of order 2, one gradient a step. The velocity w r in the middle of the step is
    what is stored, because r itself leaves the range of float32.

    The step is stable while h^2 C p^2 t^(p-2) L < 4 for a loss with Hessian <= L: for ever if p = 2, and for a time
    that ends if p > 2, then take ``lr`` down like t^(1 - p/2).

    Args:
        params: plain parameters and ManifoldParameters on spaces of this package.
        lr: the time step h; the k-th step starts at t = k h.
        order: p > 0; 2 with C = 1/4 is Nesterov's method in the limit of small steps.
        strength: C > 0.
        curvature: zeta >= 1; 1 for plain parameters and where no curvature is negative.

    Raises:
        InputError: for h, p or C <= 0, zeta < 1, or parameters on other manifolds.
    """

    def __init__(
        self, params: ParamsT, lr: float = 0.1, *, order: float = 2.0, strength: float = 0.25, curvature: float = 1.0
    ) -> None:
        check_positive(lr=lr, order=order, strength=strength)
        if not 1 <= curvature < float("inf"):
            raise InputError(f"curvature: wanted a number >= 1, got {curvature}")
        options = {"lr": lr, "order": order, "strength": strength, "curvature": curvature}
        super().__init__(params, {**options, "t": 0.0, "last_lr": 0.0})

    def kick(self, group: dict[str, Any]) -> tuple[float, float]:
        """a = w(t+) / w(t-) and b = w(t+) (h- W(t-) + h W(t+)) / 2 of v <- a v - b grad E.

        t- and t+ are the middles of the steps of lengths h- and h that meet here; t moves to the end of the next one.
        """
        h, last, p, zeta = group["lr"], group["last_lr"], group["order"], group["curvature"]
        before, after = group["t"] - 0.5 * last, group["t"] + 0.5 * h
        group["t"], group["last_lr"] = group["t"] + h, h
        decay = (before / after) ** (zeta * p + 1)
        # w(t+) W(t-) has the factor before^(p-2), which is infinite at 0 for p < 2
        earlier = last * before ** (p - 2) * decay if last else 0.0
        return decay, 0.5 * group["strength"] * p**2 * (earlier + h * after ** (p - 2))
