"""Time-dependent Hamiltonians as autonomous ones of the extended phase space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manifoldnet.fields.hamiltonian import HamiltonianField
from manifoldnet.fields.layer_field import Structure
from manifoldnet.integrators.discrete_gradients import gradient
from manifoldnet.integrators.stepping import spread
from manifoldnet.manifolds import Action, Euclidean


class ExtendedHamiltonian(nn.Module):
    """K(q, t, p, u) = H(t, q, p) + u on R^(2 dim + 2) (Celledoni et al. 2021, equation 20), u the momentum of t.

    q' = dH/dp, t' = 1, p' = -dH/dq, u' = -dH/dt. K is constant along the flow, while H is not. "strang" and
    "lie-trotter" are symplectic for it, and on (q, p, t) "strang" is "stormer-verlet" of the field with its time: the
    kick moves p and u, the drift q, t and u. Level sets of K are unbounded, so that no theorem bounds the error of K
    for all times. Where parameters jump, dH/dt holds an impulse that u does not see: K changes by the jump of H
    (:meth:`jump`).

    Args:
        field: of the original phase space, with dense maps.

    Raises:
        ValueError: for a field on images.
    """

    def __init__(self, field: HamiltonianField) -> None:
        super().__init__()
        if field.maps.ndim != 1:
            raise ValueError("field: wanted dense maps, got convolutions")
        self.field = field
        self.space = Euclidean(1)

    @property
    def preserves(self) -> Structure:
        """The canonical form of the extended phase space."""
        return "symplectic"

    def extend(self, y: Tensor, t: Tensor, u: Tensor | None = None) -> Tensor:
        """(q, t, p, u) from y = (q, p); u = -H, for K = 0, when None."""
        q, p = y.chunk(2, -1)
        t = t.expand(y.shape[:-1])
        u = -self.field.hamiltonian(t, y) if u is None else u
        return torch.cat([q, t[..., None], p, u[..., None]], -1)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y = (q, p), t and u."""
        first, second = z.chunk(2, -1)
        return torch.cat([first[..., :-1], second[..., :-1]], -1), first[..., -1], second[..., -1]

    def hamiltonian(self, t: Tensor, z: Tensor) -> Tensor:
        """K(z), of the shape of the batch; the time is the one in z."""
        y, own, u = self.split(z)
        return self.field.hamiltonian(own, y) + u

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        first, second = gradient(lambda x: self.hamiltonian(t, x), z).chunk(2, -1)
        return torch.cat([second, -first], -1)

    @property
    def parts(self) -> list[Kick | Drift]:
        """The kick and the drift of a splitting."""
        return [Kick(self.field), Drift(self.field)]

    def jump(self, t: Tensor, y: Tensor) -> Tensor:
        """H(t+, y) - H(t-, y), of the shape of the batch: not zero where parameters jump."""
        before = t - 1e-3 * self.field.in_time.t1 / (self.field.in_time.knots or 1)
        return self.field.hamiltonian(t, y) - self.field.hamiltonian(before, y)


class Kick:
    """The flow of V(t, q): p moves by -dV/dq, u by -dV/dt."""

    def __init__(self, field: HamiltonianField) -> None:
        self.field = field

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        first, _ = z.chunk(2, -1)
        slope = gradient(lambda x: self.field.potential(x[..., -1], x[..., :-1]), first)
        return torch.cat([torch.zeros_like(slope), -slope], -1)

    def flow(self, t: Tensor, h: Tensor, z: Tensor, action: Action) -> Tensor:
        """The point after h, exactly."""
        return z + spread(h, action) * self(t, z)


class Drift:
    """The flow of T(t, p) + u with T frozen in the middle: t moves by h / 2, then q and u, then t again."""

    def __init__(self, field: HamiltonianField) -> None:
        self.field = field

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        first, second = z.chunk(2, -1)
        mixed = torch.cat([second[..., :-1], first[..., -1:]], -1)
        slope = gradient(lambda x: self.field.kinetic(x[..., -1], x[..., :-1]), mixed)
        velocity, rate = slope[..., :-1], slope[..., -1:]
        one = torch.ones_like(rate)
        return torch.cat([velocity, one, torch.zeros_like(velocity), -rate], -1)

    def flow(self, t: Tensor, h: Tensor, z: Tensor, action: Action) -> Tensor:
        """The point after h, by a symplectic map."""
        scale = spread(h, action)
        dim = z.shape[-1] // 2 - 1
        half = 0.5 * scale * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)[dim]
        moved = z + half
        change = scale * self(t, moved)
        change = torch.cat([change[..., :dim], torch.zeros_like(change[..., :1]), change[..., dim + 1 :]], -1)
        return moved + change + half
