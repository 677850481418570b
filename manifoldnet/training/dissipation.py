"""The scalar equation of discrete gradients: by how much to move along a line, given what the loss loses on it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SHRINKS = 10
DOUBLINGS = 60
CUTS = 60

Loss = Callable[[Tensor], Tensor]


def dissipation_root(loss: Loss, before: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Some a != 0 with F(a) - F(0) = -a^2, entry by entry, without derivatives; and F(a).

    For a function F of one variable both the scheme of Itoh and Abe and every other discrete gradient are this
    equation. If F is continuous and bounded below it has a solution unless F(a) >= F(0) - a^2 for all a, that is
    unless 0 is a minimum up to the quadratic term; then, and where a solution is so near that the loss would fall by
    less than its rounding error, a = 0. What is returned is the end of a bracket at which F(a) - F(0) + a^2 <= 0, so
    that F never increases whatever the function is.

    Args:
        loss: F, (*batch) -> (*batch); values that are not finite count as large.
        before: F(0), (*batch).
        reach: > 0, (*batch), at what distance to look first.
    """
    bracket = _Bracket(loss, before)
    bracket.find_descent(reach)
    bracket.find_ascent()
    eps = torch.finfo(before.dtype).eps
    for _ in range(CUTS):
        narrow = (bracket.outer - bracket.inner).abs() <= 2 * eps * bracket.inner.abs()
        if ((bracket.low >= -2 * eps * before.abs()) | narrow).all():
            break
        bracket.cut()
    return bracket.inner, bracket.value


class _Bracket:
    """Points between which D(a) = F(a) - F(0) + a^2 changes its sign, entry by entry.

    Attributes:
        inner: a point with D <= 0; 0 until one is found.
        low, value: D and F there.
        outer: a point with D > 0, further away from 0.
        high: D there; infinite where F is not finite.
    """

    def __init__(self, loss: Loss, before: Tensor) -> None:
        self.loss, self.before = loss, before
        self.inner = self.low = torch.zeros_like(before)
        self.value = before
        self.outer, self.high = self.inner, torch.full_like(before, torch.inf)

    def find_descent(self, reach: Tensor) -> None:
        """Look at both sides of 0, nearer and nearer, until D < 0 or the difference would be rounding."""
        nearest = (torch.finfo(self.before.dtype).eps * self.before.abs()).sqrt()
        nearest = nearest.clamp_min(torch.finfo(self.before.dtype).tiny ** 0.5)
        size = torch.maximum(reach, nearest)
        for _ in range(SHRINKS):
            up, down = self._probe(size), self._probe(-size)
            done = (self.inner != 0) | (size <= nearest)
            if done.all():
                break
            # half of what would be the solution if F were quadratic
            guess = (0.5 * size * ((up - down) / (up + down)).abs()).nan_to_num(0.0)
            size = torch.where(done, size, torch.maximum(torch.clamp(guess, 1e-3 * size, 0.1 * size), nearest))

    def _probe(self, point: Tensor) -> Tensor:
        """D at the point, which becomes the inner one if D is less than there."""
        value = self.loss(point)
        excess = value - self.before + point.square()
        better = excess < self.low
        self.inner, self.low = torch.where(better, point, self.inner), torch.where(better, excess, self.low)
        self.value = torch.where(better, value, self.value)
        return excess

    def find_ascent(self) -> None:
        """Look twice as far away until D > 0."""
        self.outer = 2 * self.inner
        falls = self.inner != 0
        for _ in range(DOUBLINGS):
            falls = self._place(self.outer, falls)
            if not falls.any():
                break
            self.outer = torch.where(falls, 2 * self.inner, self.outer)

    def _place(self, point: Tensor, wanted: Tensor) -> Tensor:
        """Make the point, where wanted, an end of the bracket; where it is the inner one."""
        value = self.loss(torch.where(wanted, point, 0.0))
        excess = value - self.before + point.square()
        falls = wanted & (excess <= 0)
        rises = wanted & ~falls
        self.inner, self.low = torch.where(falls, point, self.inner), torch.where(falls, excess, self.low)
        self.value = torch.where(falls, value, self.value)
        self.outer = torch.where(rises, point, self.outer)
        self.high = torch.where(rises, torch.where(excess.isnan(), torch.inf, excess), self.high)
        return falls

    def cut(self) -> None:
        """Two points inside by the method of Ridders (1979), which bisects where the outer value is infinite."""
        left, low, high = self.inner, self.low, self.high
        some = left != 0
        middle = 0.5 * (left + self.outer)
        falls = self._place(middle, some)
        excess = torch.where(falls, self.low, self.high)
        shift = (excess / (excess.square() - low * high).sqrt()).nan_to_num(0.0, 0.0, 0.0)
        self._place(middle - (middle - left) * shift, some)
