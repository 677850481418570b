"""Parameters of fields that change with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Time = Literal["constant", "piecewise-constant", "piecewise-linear"]


@dataclass(frozen=True)
class InTime:
    """How parameters depend on time between 0 and t1; before and after, they stay as they are at the ends.

    Attributes:
        kind: "constant"; "piecewise-constant" on equal intervals, as the layers of a plain network; or
            "piecewise-linear" between equally spaced knots, the first at 0 and the last at t1, which has a continuum
            limit.
        knots: number of intervals, or of knots.
        t1: end of the last interval, or time of the last knot.

    Raises:
        ValueError: for an unknown kind, or knots that do not suit it.
    """

    kind: Time = "constant"
    knots: int | None = None
    t1: float = 1.0

    def __post_init__(self) -> None:
        least = {"constant": 0, "piecewise-constant": 1, "piecewise-linear": 2}
        if self.kind not in least:
            raise ValueError(f"time: wanted one of {', '.join(least)}, got {self.kind!r}")
        if self.kind == "constant" and self.knots is not None:
            raise ValueError(f"knots: wanted none because time='constant', got {self.knots}")
        if self.kind != "constant" and (self.knots is None or self.knots < least[self.kind]):
            raise ValueError(f"knots: wanted at least {least[self.kind]} with time={self.kind!r}, got {self.knots}")
        if not self.t1 > 0:
            raise ValueError(f"t1: wanted a positive time, got {self.t1}")

    def parameter(self, shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> nn.Parameter:
        """Normal values (*shape), or (knots, *shape) where they change."""
        first = () if self.knots is None else (self.knots,)
        return nn.Parameter(std * torch.randn(*first, *shape, generator=generator))

    def at(self, parameter: Tensor, t: Tensor) -> Tensor:
        """The parameter at the times t: of its own shape if it is constant, else (*t.shape, *shape).

        A piecewise constant one is continuous from the right; times just before a jump, by rounding, count as the
        jump. The derivative of a piecewise linear one at a knot is
        the mean of those of both sides, by which symmetric steps from knot to knot see dH/dt to their order.
        """
        if self.knots is None:
            return parameter
        slack = 64 * torch.finfo(t.dtype).eps * self.knots  # times that are sums of steps are rounded
        if self.kind == "piecewise-constant":
            place = torch.floor(t * (self.knots / self.t1) + slack)
            return _rows(parameter, place.to(torch.int64).clamp(0, self.knots - 1))
        place = t * ((self.knots - 1) / self.t1)
        place = place.clamp(-slack, self.knots - 1 + slack)
        left = torch.floor(place.detach() - slack).clamp(0, self.knots - 2)
        right = torch.floor(place.detach() + slack).clamp(0, self.knots - 2)
        return 0.5 * (self._piece(parameter, place, left) + self._piece(parameter, place, right))

    @staticmethod
    def _piece(parameter: Tensor, place: Tensor, below: Tensor) -> Tensor:
        """The line through the knots ``below`` and ``below`` + 1 at the place."""
        index = below.to(torch.int64)
        share = (place - below).to(parameter.dtype)[(...,) + (None,) * (parameter.dim() - 1)]
        return torch.lerp(_rows(parameter, index), _rows(parameter, index + 1), share)

    def jumps(self) -> list[float]:
        """Times strictly between 0 and t1 at which a piecewise constant parameter jumps."""
        if self.kind != "piecewise-constant" or self.knots is None:
            return []
        return [k * self.t1 / self.knots for k in range(1, self.knots)]

    def roughness(self, parameter: Tensor) -> Tensor:
        """sum_k dt |(p_{k+1} - p_k) / dt|^2, the integral of |dp/dt|^2 (Haber and Ruthotto 2017); 0 if constant."""
        if self.knots is None or self.knots == 1:
            return parameter.new_zeros(())
        intervals = self.knots if self.kind == "piecewise-constant" else self.knots - 1
        return parameter.diff(dim=0).square().sum() * (intervals / self.t1)


def _rows(parameter: Tensor, index: Tensor) -> Tensor:
    """parameter[index]; a 0-dimensional index would be read as a number by torch.compile."""
    return parameter.index_select(0, index.reshape(-1)).reshape(*index.shape, *parameter.shape[1:])
