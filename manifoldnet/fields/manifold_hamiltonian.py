"""Hamiltonian fields on the tangent bundles of Riemannian spaces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from manifoldnet.fields.activations import Activation
from manifoldnet.fields.in_time import Time
from manifoldnet.fields.manifold_gradient_flow import ManifoldGradientFlow
from manifoldnet.fields.tangent_bundle import Bundle, LeftTrivialised, bundle_of
from manifoldnet.manifolds import Action, Circle, Space


class GradientFlowOf(nn.Module):
    """y' = -grad V(t, y) of a given function V(t, y), which is of the shape of the batch; by autograd.

    Samples of a batch must not see each other in V.
    """

    def __init__(self, space: Space, potential: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.space = space
        self.potential = potential

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator of -grad V at y."""
        slope = torch.func.grad(lambda z: self.potential(t, z).sum())(y)
        return self.space.lift(y, self.space.egrad2rgrad(y, -slope))


class Kick:
    """The part p' = -grad V(t, x) of a Hamiltonian field, x being held."""

    def __init__(self, bundle: Bundle, gradient_flow: nn.Module) -> None:
        self.bundle = bundle
        self.gradient_flow = gradient_flow

    def force(self, t: Tensor, x: Tensor) -> Tensor:
        """p'."""
        return self.bundle.force(x, self.gradient_flow(t, x))

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        x, _ = self.bundle.split(y)
        generator = self.gradient_flow(t, x)
        return torch.cat([torch.zeros_like(generator), self.bundle.force(x, generator)], -1)

    def flow(self, t: Tensor, h: Tensor, y: Tensor, action: Action) -> Tensor:
        """The point at t + h; exact where V does not depend on time, of order 2 in time otherwise."""
        x, p = self.bundle.split(y)
        return self.bundle.space.join([x, p + h[..., None] * self.force(t + 0.5 * h, x)])


class GeodesicFlow:
    """The part of a Hamiltonian field that moves x along geodesics; it has an exact flow."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.cat(self.bundle.geodesic_field(*self.bundle.split(y)), -1)

    def flow(self, t: Tensor, h: Tensor, y: Tensor, action: Action) -> Tensor:
        """The point at t + h."""
        return self.bundle.space.join(self.bundle.geodesic_flow(h, *self.bundle.split(y)))


class ManifoldHamiltonian(nn.Module):
    """H(t, x, p) = |p|^2 / 2 + V(t, x) on the tangent bundle, which the metric identifies with the cotangent bundle.

    A point y = (x, p) is flat, of the Product of the space and a Euclidean space of momenta:

    * on circles, rotations, Euclidean spaces, their products and powers, p has coordinates in the body's frame,
      x' = x p and p' = -x^{-1} grad V, for which the method "lie-verlet" runs as well;
    * on SPD with the log-Euclidean and the log-Cholesky metric p are the coordinates of the velocity in the flat chart;
    * on every other space p is the tangent vector at x itself, in the entries of the space, flattened.

    :meth:`start` makes y from tangent vectors, and :meth:`velocity_at` gives them back. V is kicked with and geodesics
    are followed exactly: kick - geodesic - kick, the method "strang", is symplectic, symmetric and of order 2, and
    "lie-trotter" is symplectic (Celledoni et al. 2021, section 2.4.3). Lie-group methods for general fields run too.

    Args:
        space: M, of known size.
        features, activation, potential, time, knots, t1, generator: V is the potential of the
            :class:`ManifoldGradientFlow` with these; or ``potential`` is itself a function V(t, x), of the shape of
            the batch, the others then having no meaning.

    Attributes:
        base: M.
        space: the bundle.
        gradient_flow: the field -grad V, with the parameters.
        parts: kick and geodesic flow, for "strang" and "lie-trotter".

    Raises:
        ValueError: for a space of unknown size, or as :class:`ManifoldGradientFlow`.
    """

    def __init__(
        self,
        space: Space,
        features: int = 8,
        activation: str | Activation = "tanh",
        potential: str | Callable[[Tensor, Tensor], Tensor] = "default",
        time: Time = "constant",
        knots: int | None = None,
        t1: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.bundle = bundle_of(space)
        self.base = space
        self.space = self.bundle.space
        self.gradient_flow: nn.Module
        if isinstance(potential, str):
            self.gradient_flow = ManifoldGradientFlow(
                space, features, activation, potential, time, knots, t1, generator
            )
        else:
            self.gradient_flow = GradientFlowOf(space, potential)
        # no modules, so that parameters have one name each
        self.parts = Kick(self.bundle, self.gradient_flow), GeodesicFlow(self.bundle)

    def start(self, x: Tensor, v: Tensor) -> Tensor:
        """y for points x and tangent vectors v there; batch dimensions broadcast."""
        return self.space.join([x, self.bundle.momentum(x, v)])

    def point(self, y: Tensor) -> Tensor:
        """x."""
        return self.bundle.split(y)[0]

    def velocity_at(self, y: Tensor) -> Tensor:
        """The tangent vector at x."""
        return self.bundle.velocity(*self.bundle.split(y))

    def potential(self, t: Tensor, x: Tensor) -> Tensor:
        """V(t, x), shape of the batch."""
        value: Tensor = self.gradient_flow.potential(t, x)  # type: ignore[operator]
        return value

    def hamiltonian(self, t: Tensor, y: Tensor) -> Tensor:
        """H(t, y), shape of the batch."""
        x, p = self.bundle.split(y)
        return self.bundle.kinetic(x, p) + self.potential(t, x)

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """The velocity in the body's frame, on Lie groups: p.

        Raises:
            ValueError: on other spaces, where it depends on x; see :meth:`velocity_at`.
        """
        if not isinstance(self.bundle, LeftTrivialised):
            raise ValueError(
                f"space: {self.base.name} has no body frame, wanted a Lie group with a bi-invariant metric"
            )
        return p

    def force(self, t: Tensor, x: Tensor) -> Tensor:
        """p' at momentum 0: -grad V, as a momentum."""
        return self.parts[0].force(t, x)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Generator on the bundle."""
        kick, geodesic_flow = self.parts
        return kick(t, y) + geodesic_flow(t, y)


def standard_map(K: float) -> ManifoldHamiltonian:
    """The field on T*S^1 with V = K cos q, of which a "lie-trotter" step of length 1 is the standard map.

    p' = p + K sin q, q' = q + p' modulo 2 pi (Chirikov 1979).
    """
    return ManifoldHamiltonian(Circle(), potential=lambda t, q: K * q.cos())
