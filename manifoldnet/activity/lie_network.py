"""A network on curves in SO(3)^k x R^m: charts of attitudes, a flow of curves, square-root velocities, convolutions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifoldnet.activity.inception_block import InceptionBlock
from manifoldnet.activity.rotation_layers import CurveFlow, LearnedClock, RotationMap, RotationPool
from manifoldnet.curves import srvt_of_increments
from manifoldnet.manifolds import SO3

WIDTHS = (3, 7, 13)  # cells
BOTTLENECK = 24


class Curves(NamedTuple):
    """A batch of curves, sampled alike.

    Attributes:
        velocity: (batch, t, 3 k), body velocities, factor by factor.
        vector: (batch, t, m), the velocity in R^m (acceleration of an inertial sensor); m may be 0.
        attitude: (batch, t, k, 3, 3), relative to the curve's own mean.
    """

    velocity: Tensor
    vector: Tensor
    attitude: Tensor


class LieNetwork(nn.Module):
    """Curves on SO(3)^k x R^m -> scores of classes.

    Body velocities and their square-root velocities, at the clock of the data and at a learned one, are convolved over
    time; attitudes are turned by learned rotations into several charts, pooled by angle, moved by a flow on
    SO(3)^(maps k), and join as logarithms. Nothing depends on the attitude in which a curve begins.

    Args:
        factors, vectors: k and m.
        classes: number of scores.
        maps: charts of each factor.
        features: of each of the four parts of a block.
        dropout: before the scores.
        generator: of the learned rotations' start.
    """

    def __init__(
        self,
        factors: int,
        vectors: int,
        classes: int,
        maps: int = 3,
        features: int = 20,
        dropout: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        dim = 3 * factors + vectors
        self.charts = RotationMap(maps, factors, generator=generator)
        self.pool = RotationPool(2)
        self.clock = LearnedClock()
        self.first = InceptionBlock(3 * dim, features, BOTTLENECK, WIDTHS)
        self.flow = CurveFlow(maps * factors, 4 * features)
        self.second = InceptionBlock(4 * features + 3 * maps * factors, features, BOTTLENECK, WIDTHS)
        self.third = InceptionBlock(4 * features, features, BOTTLENECK, WIDTHS)
        self.halve = nn.AvgPool1d(2)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(8 * features, classes))

    def forward(self, curves: Curves) -> Float[Tensor, "batch classes"]:
        velocity = torch.cat([curves.velocity, curves.vector], -1)
        q = srvt_of_increments(velocity)
        x = self.halve(self.first(torch.cat([velocity, q, self.clock(q)], -1).mT))
        attitude = self.flow(self.pool(self.charts(curves.attitude)), x)
        x = torch.cat([x, SO3().log(attitude).flatten(-2).mT], 1)
        x = self.third(self.halve(self.second(x)))
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], -1))
