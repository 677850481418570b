"""Layers for curves on SO(3)^k: rotations that are learned, pooling, a flow of whole curves, and a learned clock.

The first two after Huang, Wan, Probst and Van Gool (2017, CVPR, LieNet).
"""

from __future__ import annotations

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifoldnet.curves import SoftmaxReparametrisation
from manifoldnet.integrators import odeint
from manifoldnet.manifolds import SO3, Power


class RotationMap(nn.Module):
    """Rotations (..., k, 3, 3) -> W R, (..., maps k, 3, 3), with learned rotations W: LieNet's RotMap layer.

    W turns the frame in which R is given, so that body velocities log(R_i' R_{i+1}) stay, and logarithms, which depend
    on the origin of the chart, change.

    Attributes:
        rotations: (maps, k, 3, 3), a parameter on SO(3).

    Args:
        maps: images of each factor.
        factors: k.
        spread: standard deviation of the start's rotation vectors in rad; the first map starts at 1.
        generator: of the start.
    """

    def __init__(
        self, maps: int, factors: int, spread: float | int = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        start = spread * torch.randn(maps, factors, 3, generator=generator)
        start[0] = 0
        self.rotations = geoopt.ManifoldParameter(SO3().exp(start), manifold=SO3())

    def forward(self, rotations: Float[Tensor, "*batch k 3 3"]) -> Float[Tensor, "*batch mapped 3 3"]:
        return (self.rotations @ rotations.unsqueeze(-4)).flatten(-4, -3)


class RotationPool(nn.Module):
    """Rotations (batch, t, k, 3, 3) -> (batch, t // size, k, 3, 3), of every ``size`` the one by the largest angle.

    LieNet's pooling over time, for each factor alone; a remainder of t is left out.
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = size

    def forward(self, rotations: Float[Tensor, "batch t k 3 3"]) -> Float[Tensor, "batch pooled k 3 3"]:
        whole = rotations.shape[1] // self.size * self.size
        cells = rotations[:, :whole].unflatten(1, (-1, self.size))
        # the trace, 1 + 2 cos(angle), falls with the angle
        widest = cells.diagonal(dim1=-2, dim2=-1).sum(-1).argmin(2, keepdim=True)
        return torch.take_along_dim(cells, widest[..., None, None], 2).squeeze(2)


class CurveFlow(nn.Module):
    """Moves all points of a curve on SO(3)^k by one flow R' = hat(f(R, c)) R, by a Lie-group method.

    The generator is a convolution over time, f = tanh(A * (R, c)) in the algebra's coordinates, of the matrices and of
    what goes with them (velocities c), so that a point moves as its past and its future say.

    Args:
        factors: k.
        context: channels of c.
        width: of the convolution, odd.
        method, steps: as of :func:`manifoldnet.odeint`, to time 1.
    """

    def __init__(self, factors: int, context: int, width: int = 5, method: str = "rkmk2", steps: int = 1) -> None:
        super().__init__()
        self.space = Power(SO3(), factors)
        self.method, self.steps = method, steps
        self.generator = nn.Conv1d(9 * factors + context, 3 * factors, width, padding=width // 2)

    def forward(
        self, rotations: Float[Tensor, "batch t k 3 3"], context: Float[Tensor, "batch c t"]
    ) -> Float[Tensor, "batch t k 3 3"]:
        def field(_: Tensor, points: Tensor) -> Tensor:
            entries = points.flatten(-3).mT
            return self.generator(torch.cat([entries, context], 1)).tanh().mT

        times = rotations.new_tensor([0.0, 1.0])
        return odeint(field, rotations, times, space=self.space, method=self.method, steps=self.steps)[-1]


class LearnedClock(nn.Module):
    """Square-root velocities (batch, t, dim) -> sqrt(phi') q o phi at a speed that the layer chooses for each curve.

    phi is a :class:`~manifoldnet.curves.SoftmaxReparametrisation` whose free increments are a convolution of the speeds
    |q|^2 over their mean: the elastic action of Diff([0, 1]), which keeps the norm of q up to the sampling. It starts
    near the identity.
    """

    def __init__(self, width: int = 9, hidden: int = 8) -> None:
        super().__init__()
        self.increments = nn.Sequential(
            nn.Conv1d(1, hidden, width, padding=width // 2), nn.Tanh(), nn.Conv1d(hidden, 1, width, padding=width // 2)
        )
        last = self.increments[-1]
        assert isinstance(last, nn.Conv1d)
        nn.init.normal_(last.weight, std=0.1 * (hidden * width) ** -0.5)

    def forward(self, q: Float[Tensor, "batch t dim"]) -> Float[Tensor, "batch t dim"]:
        speed = q.square().sum(-1)
        relative = speed / speed.mean(-1, keepdim=True).clamp_min(1e-12)
        free = self.increments(relative.clamp(max=8)[:, None]).squeeze(1)
        t = q.shape[1]
        clock = SoftmaxReparametrisation(t, min_slope=0.2)
        middles = (torch.arange(t, dtype=q.dtype, device=q.device) + 0.5) / t
        phi, slope = torch.func.functional_call(clock, {"free": free}, (middles.expand(len(q), -1),))
        place = (phi * t - 0.5).clamp(0, t - 1)
        before = place.detach().floor().clamp(max=t - 2)
        index = before.long()[..., None]
        left, right = torch.take_along_dim(q, index, 1), torch.take_along_dim(q, index + 1, 1)
        return slope.sqrt()[..., None] * torch.lerp(left, right, (place - before)[..., None])
