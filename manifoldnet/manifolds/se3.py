"""The group SE(3) of rigid motions of space, and its action on points."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.linalg import hat
from manifoldnet.linalg.rigid import (
    rigid_expm,
    rigid_from_parts,
    rigid_hat,
    rigid_logm,
    rigid_move,
    rigid_tangent,
    rigid_vee,
    se3_bracket,
    se3_dexp,
    se3_dexpinv,
)
from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.group import LieGroup
from manifoldnet.manifolds.so3 import SO3


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return torch.linalg.cross(*torch.broadcast_tensors(u, v))


def _turn(rotation: Tensor, v: Tensor) -> Tensor:
    return (rotation @ v.unsqueeze(-1)).squeeze(-1)


class SE3(LieGroup):
    """Rigid motions y -> R y + t as matrices [[R, t], [0, 1]] of shape (..., 4, 4).

    Coordinates of the algebra are (omega, v), shape (..., 6): the rotation vector in radians, then the translational
    velocity in the unit of length.

    The metric is |omega|^2 + |v|^2 in the body frame, with which SE(3) is SO(3) x R^3 as a Riemannian space: it is
    invariant under left multiplication. No metric on SE(3) is invariant on both sides, so ``expmap`` and ``logmap``,
    whose geodesics turn at a constant rate while the origin moves on a straight line (Park 1995), are not the
    group's ``exp`` and ``log``, whose curves are screw motions. Scale lengths so that one unit of length is worth
    one radian before distances are compared.
    """

    name = "SE3"
    ndim = 2
    dim = 6
    point_shape = (4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.rotations = SO3()

    @staticmethod
    def from_parts(
        rotation: Float[Tensor, "*#batch 3 3"], translation: Float[Tensor, "*#batch 3"]
    ) -> Float[Tensor, "*batch 4 4"]:
        """The motion with this rotation matrix and translation; batch dimensions broadcast."""
        return rigid_from_parts(rotation, translation)

    @staticmethod
    def parts(x: Float[Tensor, "*batch 4 4"]) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"]]:
        """Rotation matrix and translation of a motion; of a tangent vector, the upper two blocks."""
        return x[..., :3, :3], x[..., :3, 3]

    def exp(self, v: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
        """The screw motion with constant generator v."""
        return rigid_expm(v)

    def log(self, x: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
        return rigid_logm(x)

    def compose(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def settle(self, x: Tensor) -> Tensor:
        """The rotation settled, as on SO3."""
        if torch.finfo(x.dtype).eps < 1e-10:
            return x
        r, t = self.parts(x)
        return rigid_from_parts(self.rotations.settle(r), t)

    def inverse(self, x: Tensor) -> Tensor:
        r, t = self.parts(x)
        return rigid_from_parts(r.mT, -_turn(r.mT, t))

    def hat(self, v: Tensor) -> Tensor:
        return rigid_hat(v)

    def vee(self, m: Tensor) -> Tensor:
        return rigid_vee(m)

    def bracket(self, u: Tensor, v: Tensor) -> Tensor:
        return se3_bracket(u, v)

    def Ad(self, x: Tensor, v: Tensor) -> Tensor:
        """Coordinates of x hat(v) x^-1: (R omega, R v + t x R omega)."""
        r, t = self.parts(x)
        omega = _turn(r, v[..., :3])
        return torch.cat([omega, _turn(r, v[..., 3:]) + _cross(t, omega)], -1)

    def coAd(self, x: Tensor, mu: Tensor) -> Tensor:
        """(R m + t x R f, R f) for mu = (m, f), a torque and a force."""
        r, t = self.parts(x)
        force = _turn(r, mu[..., 3:])
        return torch.cat([_turn(r, mu[..., :3]) + _cross(t, force), force], -1)

    def coad(self, u: Tensor, mu: Tensor) -> Tensor:
        (omega, v), (torque, force) = u.split(3, -1), mu.split(3, -1)
        return torch.cat([_cross(omega, torque) + _cross(v, force), _cross(omega, force)], -1)

    def dexp(self, u: Tensor, v: Tensor) -> Tensor:
        return se3_dexp(u, v)

    def _dexpinv(self, u: Tensor, v: Tensor) -> Tensor:
        return se3_dexpinv(u, v)

    def identity(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.eye(4, dtype=dtype, device=device).expand(*shape, 4, 4)

    def tangent_of(self, v: Tensor, x: Tensor) -> Tensor:
        return rigid_hat(v) @ x

    def coordinates_of(self, x: Tensor, u: Tensor) -> Tensor:
        (r, t), (dr, dt) = self.parts(x), self.parts(u)
        omega = self.rotations.coordinates_of(r, dr)
        return torch.cat([omega, dt - _cross(omega, t)], -1)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Geodesic of SO(3) x R^3: not x exp(v), see the class."""
        (r, t), (dr, dt) = self.parts(x), self.parts(u)
        return rigid_from_parts(self.rotations.expmap(r, dr), t + dt)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Initial velocity of the geodesic of SO(3) x R^3."""
        (r, t), (s, w) = self.parts(x), self.parts(y)
        return rigid_tangent(self.rotations.logmap(r, s), w - t)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map with SO(3)'s correction of the rotation: 10^4 float32 steps do not drift."""
        (r, t), (dr, dt) = self.parts(x), self.parts(u)
        return rigid_from_parts(self.rotations.retr(r, dr), t + dt)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Squared rotation angle between x and y plus the squared distance of their translations."""
        (r, t), (s, w) = self.parts(x), self.parts(y)
        total = self.rotations.dist2(r, s) + (w - t).square().sum(-1)
        return total[..., None, None] if keepdim else total

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """tr(Ur' Vr) / 2 + Ut . Vt for the blocks of tangent vectors U and V."""
        (r, _), (ur, ut), (vr, vt) = self.parts(x), self.parts(u), self.parts(u if v is None else v)
        total = self.rotations.inner(r, ur, vr) + (ut * vt).sum(-1)
        return total[..., None, None] if keepdim else total

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic of SO(3) x R^3: SO(3)'s, and the same translation."""
        (r, _), (s, _), (dr, dt) = self.parts(x), self.parts(y), self.parts(v)
        return rigid_tangent(self.rotations.transp(r, s, dr), dt)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        (r, _), (dr, dt) = self.parts(x), self.parts(u)
        return rigid_tangent(self.rotations.proju(r, dr), dt)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        (r, _), (dr, dt) = self.parts(x), self.parts(u)
        return rigid_tangent(self.rotations.egrad2rgrad(r, dr), dt)

    def projx(self, x: Tensor) -> Tensor:
        """The nearest rotation in the Frobenius norm beside the same translation."""
        r, t = self.parts(x)
        return rigid_from_parts(self.rotations.projx(r), t)

    def curvature_bounds(self) -> tuple[float, float]:
        """(0, 1/4): R^3 is flat, and so are the planes that mix it with SO(3), whose curvature is 1/4."""
        return 0.0, 0.25

    def injectivity_radius(self, x: Tensor | None = None) -> float:
        """pi, that of SO(3)."""
        return math.pi

    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Rotations from the Haar measure, translations with standard normal entries."""
        batch = self._size(*size)[:-2]
        make: dict[str, Any] = {"dtype": dtype, "device": device, "generator": generator}
        return rigid_from_parts(self.rotations.random(*batch, 3, 3, **make), torch.randn(*batch, 3, **make))

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        omega, v = torch.eye(6, dtype=x.dtype, device=x.device).split(3, -1)
        return rigid_tangent(self.parts(x.detach())[0].unsqueeze(-3) @ hat(omega), v)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal rotation vector in the body frame, and standard normal translation."""
        r, t = self.parts(x)
        shift = torch.randn(t.shape, dtype=t.dtype, device=t.device, generator=generator)
        return rigid_tangent(self.rotations.random_tangent(r, generator=generator), shift)

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        last = torch.eye(4, dtype=x.dtype, device=x.device)[3].expand(x.shape[:-1])
        ok, reason = self._close(x[..., 3, :], last, "the last row is not 0 0 0 1", atol, rtol)
        if ok:
            ok, reason = self.rotations._check_point_on_manifold(self.parts(x)[0], atol=atol, rtol=rtol)
        return ok, reason

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        last = u[..., 3, :]
        ok, reason = self._close(last, torch.zeros_like(last), "the last row is not 0", atol, rtol)
        if ok:
            (r, _), (dr, _) = self.parts(x), self.parts(u)
            ok, reason = self.rotations._check_vector_on_tangent(r, dr, atol=atol, rtol=rtol)
        return ok, reason


class RigidMotionOfPoints(Action):
    """SE(3) moving the points of R^3, x.y = R y + t; points have shape (..., 3), as in ``Euclidean(1, shape=(3,))``."""

    def __init__(self) -> None:
        self.group: SE3 = SE3()

    def act(self, x: Float[Tensor, "*#batch 4 4"], y: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
        r, t = self.group.parts(x)
        return _turn(r, y) + t

    def act_exp(self, v: Float[Tensor, "*#batch 6"], y: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
        return rigid_move(v, y)

    def tangent(self, v: Float[Tensor, "*#batch 6"], y: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
        """omega x y + v."""
        return _cross(v[..., :3], y) + v[..., 3:]

    def lift(self, y: Float[Tensor, "*#batch 3"], tangent: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 6"]:
        """The translation (0, tangent): of all right inverses the one that commutes with rigid motions.

        Its motions are the straight lines, the geodesics of R^3. The one of least norm would add a rotation that
        depends on where the origin is.
        """
        velocity = tangent.expand(torch.broadcast_shapes(y.shape, tangent.shape))
        return torch.cat([torch.zeros_like(velocity), velocity], -1)
