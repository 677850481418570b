"""Drifts and kicks: splitting methods for separable Hamiltonians, and their damped variants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import torch

from manifoldnet.integrators.stepping import Start, Step, spread

Move = tuple[Literal["drift", "kick"], float]


@dataclass(frozen=True)
class DriftsAndKicks:
    """Moves in their order, each with its share of the step.

    Attributes:
        damped: whether half of the damping is applied before and half after the moves.
    """

    moves: tuple[Move, ...]
    order: int
    damped: bool = False

    @property
    def stages(self) -> int:
        """Evaluations of the field a step, where the last one is not kept for the next step."""
        return len(self.moves)

    @property
    def is_symmetric(self) -> bool:
        """Whether the moves read the same from both ends."""
        return self.moves == self.moves[::-1]

    @property
    def adjoint(self) -> DriftsAndKicks:
        """The scheme whose step of -h undoes a step of h: the moves from the last to the first."""
        return replace(self, moves=self.moves[::-1])

    def __post_init__(self) -> None:
        for kind in ("drift", "kick"):
            total = sum(share for name, share in self.moves if name == kind)
            if abs(total - 1) > 1e-14:
                raise ValueError(f"moves: the shares of the {kind}s sum to {total}, wanted 1")


def _composed(shares: tuple[float, ...], order: int) -> DriftsAndKicks:
    """Störmer-Verlet steps of the given shares, neighbouring kicks joined."""
    moves = [move for g in shares for move in (("kick", 0.5 * g), ("drift", g), ("kick", 0.5 * g))]
    joined = tuple((name, sum(share for _, share in group)) for name, group in groupby(moves, lambda move: move[0]))
    return DriftsAndKicks(joined, order)


_G3 = 1 / (2 - 2 ** (1 / 3))
_G5 = 1 / (4 - 4 ** (1 / 3))
SYMPLECTIC_EULER = DriftsAndKicks((("drift", 1.0), ("kick", 1.0)), 1)
STORMER_VERLET = _composed((1.0,), 2)
YOSHIDA4 = _composed((_G3, 1 - 2 * _G3, _G3), 4)
SUZUKI4 = _composed((_G5, _G5, 1 - 4 * _G5, _G5, _G5), 4)
CONFORMAL_EULER = DriftsAndKicks(SYMPLECTIC_EULER.moves, 1, damped=True)
CONFORMAL_VERLET = DriftsAndKicks(STORMER_VERLET.moves, 2, damped=True)


def drifts_and_kicks_step(scheme: DriftsAndKicks, start: Start) -> Step:
    """One step for y = (q, p) and a field (dT/dp(t, p), -dV/dq(t, q)), in a vector space.

    Drift: q += w h f_q(t + w h / 2, p), t += w h; kick: p += w h f_p(t, q). Time moves with the drifts as a position
    would, which makes the step a restriction of a symplectic map of the extended phase space. q is the first half of
    the first coordinate dimension. A field that has ``velocity(t, p)`` and ``force(t, q)`` is asked for these alone.

    The damped variants are for a field whose f_p contains -damping p (an attribute, number or tensor, per unit of
    time): they multiply p by exp(-damping h / 2) before and after, which makes them conformally symplectic
    (Bhatt, Floyd and Moore 2016).
    """
    field, action, t, h, y, *_ = start
    split = -action.group.coordinate_ndim
    scale = spread(h, action)
    q, p = y.chunk(2, split)
    velocity, force = getattr(field, "velocity", None), getattr(field, "force", None)
    if not scheme.damped and getattr(field, "damping", None):
        force = None  # it leaves the damping out, which such a scheme does not put in
    damping = field.damping if scheme.damped else None
    decay = None if damping is None else torch.exp(torch.as_tensor(-0.5 * damping, dtype=y.dtype) * scale)
    if decay is not None:
        p = decay * p
    for kind, share in scheme.moves:
        if kind == "drift":
            middle = t + 0.5 * share * h
            rate = velocity(middle, p) if velocity else field(middle, torch.cat([q, p], split)).chunk(2, split)[0]
            q = q + (share * scale) * rate
            t = t + share * h
        else:
            rate = force(t, q) if force else field(t, torch.cat([q, p], split)).chunk(2, split)[1]
            if damping is not None and not force:
                rate = rate + damping * p
            p = p + (share * scale) * rate
    if decay is not None:
        p = decay * p
    return Step(torch.cat([q, p], split))
