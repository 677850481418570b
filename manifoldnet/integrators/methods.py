"""The registry of integrators: a method is a name, a tableau and the stepping rule of its family."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldnet.integrators.crouch_grossman import crouch_grossman_step
from manifoldnet.integrators.rkmk import rkmk_step
from manifoldnet.integrators.runge_kutta import runge_kutta_step
from manifoldnet.integrators.stepping import Field, StepRule
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action

EULER = Tableau(A=((0.0,),), b=(1.0,), c=(0.0,), order=1)
MIDPOINT = Tableau(A=((0.0, 0.0), (0.5, 0.0)), b=(0.0, 1.0), c=(0.0, 0.5), order=2)
RK4 = Tableau(
    A=((0.0,) * 4, (0.5, 0.0, 0.0, 0.0), (0.0, 0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 0.5, 0.5, 1.0),
    order=4,
)

FAMILIES: dict[str, StepRule] = {
    "runge-kutta": runge_kutta_step,
    "rkmk": rkmk_step,
    "crouch-grossman": crouch_grossman_step,
}


@dataclass(frozen=True)
class Method:
    """An integrator. Its structural properties are computed from the tableau, that is, hold in a vector space."""

    name: str
    family: str
    tableau: Tableau
    source: str

    def step(self, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
        """The point at t + h from the point y at t."""
        return FAMILIES[self.family](self.tableau, field, action, t, h, y)

    @property
    def is_lie(self) -> bool:
        """Whether it steps by the group's action, so that it runs on every space."""
        return self.family != "runge-kutta"

    @property
    def order(self) -> int:
        return self.tableau.order

    @property
    def stages(self) -> int:
        return self.tableau.stages

    @property
    def is_explicit(self) -> bool:
        return self.tableau.is_explicit

    @property
    def is_symplectic(self) -> bool:
        return self.tableau.is_symplectic

    @property
    def is_symmetric(self) -> bool:
        return self.tableau.is_symmetric

    @property
    def is_b_stable(self) -> bool:
        return self.tableau.is_b_stable

    @property
    def circle_radius(self) -> float:
        return self.tableau.circle_radius


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("lie-euler", "rkmk", EULER, "Euler 1768; on groups Crouch and Grossman 1993"),
        Method("cg2", "crouch-grossman", MIDPOINT, "Crouch and Grossman 1993"),
        Method("rkmk4", "rkmk", RK4, "Munthe-Kaas 1999, on Kutta's rule of order 4"),
        Method("rk4", "runge-kutta", RK4, "Kutta 1901"),
    )
}


def method_named(name: str) -> Method:
    """The registered method.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"method: wanted one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
