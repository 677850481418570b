"""Commutator-free methods in the 2N form: one register for the point, one for the generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from manifoldnet.integrators.stepping import Start, Step, combination, spread
from manifoldnet.integrators.tableau import Tableau, numbers


@dataclass(frozen=True)
class LowStorage:
    """z <- A_i z + h f(t + C_i h, y), y <- exp(B_i z) y, A_1 = 0 (Williamson 1980; on groups Bazavov 2022).

    Attributes:
        embedded: weights of K_1, K_2, ... of a single exponential that leads from the point of the last stage to the
            embedded method's.
        embedded_order: the embedded method's order.
        antisymmetric_order: m where a step back after a step differs from the start by O(h^(m+1)).
    """

    A: tuple[float, ...]
    B: tuple[float, ...]
    order: int
    embedded: tuple[float, ...] | None = None
    embedded_order: int | None = None
    antisymmetric_order: int | None = None

    def __post_init__(self) -> None:
        _ = self.tableau  # made before torch.compile asks for it

    @cached_property
    def tableau(self) -> Tableau:
        """The Runge-Kutta method to which exponentials that commute lead."""
        s = len(self.A)
        z, rows = [0.0] * s, [[0.0] * s]
        for i, (a, b) in enumerate(zip(self.A, self.B, strict=True)):
            z = [a * w for w in z]
            z[i] += 1.0
            rows.append([r + b * w for r, w in zip(rows[-1], z, strict=True)])
        A = tuple(map(tuple, rows[:-1]))
        return Tableau(A=A, b=tuple(rows[-1]), c=tuple(map(math.fsum, A)), order=self.order)


ROOT2 = math.sqrt(2)
WILLIAMSON3 = LowStorage(numbers("0 -5/9 -153/128"), numbers("1/3 15/16 8/15"), 3)
# Carpenter and Kennedy 1994, solution 3 of their fourth order schemes with five stages
CARPENTER_KENNEDY4 = LowStorage(
    numbers(
        "0 -567301805773/1357537059087 -2404267990393/2016746695238 -3550918686646/2091501179385 "
        "-1275806237668/842570457699"
    ),
    numbers(
        "1432997174477/9575080441755 5161836677717/13612068292357 1720146321549/2090206949498 "
        "3134564353537/4481467310338 2277821191437/14882151754819"
    ),
    4,
)
# explicit and effectively symmetric: of order 2, reversible to orders 5 and 7
EES25 = LowStorage(
    numbers("0 -7/15 -35/32"),
    numbers("1/3 15/16 2/5"),
    2,
    embedded=numbers("5/48 1/16"),
    embedded_order=1,
    antisymmetric_order=5,
)
EES27 = LowStorage(
    (0.0, (-7 + 4 * ROOT2) / 3, -(4 + 5 * ROOT2) / 12, 3 * (-31 + 8 * ROOT2) / 49),
    ((2 - ROOT2) / 3, (4 + ROOT2) / 8, 3 * (3 - ROOT2) / 7, (9 - 4 * ROOT2) / 14),
    2,
    antisymmetric_order=7,
)


def low_storage_step(scheme: LowStorage, start: Start) -> Step:
    """One step of the recurrence of :class:`LowStorage`."""
    field, action, t, h, y, _, estimate = start
    scale = spread(h, action)
    ks = [scale * start.slope()]
    z = ks[0]
    before, y = y, action.act_exp(scheme.B[0] * z, y)
    for a, b, c in zip(scheme.A[1:], scheme.B[1:], scheme.tableau.c[1:], strict=True):
        k = scale * field(t + c * h, y)
        if estimate:
            ks.append(k)
        z = k + a * z
        before, y = y, action.act_exp(b * z, y)
    if not estimate or scheme.embedded is None:
        return Step(y)
    generator = combination(scheme.embedded, ks)
    assert generator is not None
    return Step(y, tuple(ks), None, action.act_exp(generator, before))
