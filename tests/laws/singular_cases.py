"""How gradients at singular points are compared with their references, and the angles that are singular."""

import math

import torch
from law_cases import ANGLES, F64, rng
from references import central, dot, lift
from torch.autograd import grad

from manifoldnet.linalg.kernel import MEDIUM_BATCH

TOLERANCE = {F64: 1e-6, torch.float32: 1e-3}
ALL_ANGLES = (*ANGLES, math.pi - 1e-2, math.pi - 1e-4)


def weights(*shape):
    """Of the sum of outputs whose gradient is taken; 1 for a number."""
    return torch.rand(shape, dtype=F64, generator=rng(80)) + 0.5 if shape else torch.ones((), dtype=F64)


def large(t):
    """The batch t repeated until small matrices take their closed forms, instead of a loop over LAPACK calls."""
    return t.repeat(-(-MEDIUM_BATCH // len(t)), *[1] * (t.dim() - 1))


def derivative(f, w, base, direction):
    """d/dh <w, f(base + h direction)> at h = 0, f taking and giving mpmath's matrices."""
    base, direction, w = lift(base), lift(direction), lift(torch.atleast_1d(w))
    return central(lambda h: dot(w, f(base + h * direction)))


class Gradients:
    """Gradients of <w, f(arguments)> in one of the arguments, collected and checked as one batch.

    Args:
        slot: index of that argument.
    """

    def __init__(self, f, w, slot=0):
        self.f, self.w, self.slot, self.cases = f, w, slot, []

    def add(self, arguments, directions, wanted, what, signs=(1,), precisions=TOLERANCE):
        """One case.

        Args:
            directions: (m, *argument), in which the argument moves.
            wanted: the m derivatives from mpmath.
            signs: (1, -1) where the function has a kink and both one-sided derivatives will do.
            precisions: those in which rounding the argument itself leaves the gradient as it is.
        """
        wanted = torch.tensor([float(number) for number in wanted], dtype=F64)
        self.cases.append((arguments, directions, wanted, what, signs, precisions))

    def check(self):
        """<gradient, direction> against ``wanted``, relative to its largest, in both precisions and sizes of batch."""
        assert self.cases
        for dtype, tolerance in TOLERANCE.items():
            cases = [case for case in self.cases if dtype in case[-1]]
            batch = [torch.stack(column).to(dtype) for column in zip(*(case[0] for case in cases), strict=True)]
            for arguments in (batch, list(map(large, batch))):
                leaf = arguments[self.slot] = arguments[self.slot].clone().requires_grad_()
                value = self.f(*arguments)
                assert value.dtype is dtype
                (gradient,) = grad((self.w.to(dtype) * value).sum(), leaf)
                for (_, directions, wanted, what, signs, _), v, g in zip(cases, value, gradient, strict=False):
                    assert v.isfinite().all(), what
                    assert g.isfinite().all(), what
                    found = (g.double() * directions).flatten(1).sum(1)
                    error = (
                        min((found - sign * wanted).abs().max().item() for sign in signs) / wanted.abs().max().item()
                    )
                    assert error < tolerance, f"{what}, {dtype}: relative error {error:.2g}"


def check_both_arguments(ours, formula, w, pairs, directions):
    """Gradients of a map of two points with respect to either; ``directions`` takes a point to those it moves in."""
    for k in (0, 1):
        gradients = Gradients(ours, w, slot=k)
        for number, pair in enumerate(pairs):
            exact = lift(pair[1 - k])

            def one_argument(v, exact=exact, k=k):
                return formula(v, exact) if k == 0 else formula(exact, v)

            moves = directions(pair[k])
            wanted = [derivative(one_argument, w, pair[k], d) for d in moves]
            gradients.add(pair, moves, wanted, f"pair {number}, argument {k}")
        gradients.check()
