"""The registry of integrators: a method is a name, a scheme of coefficients and the stepping rule of its family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from manifoldnet.integrators import (
    collocation,
    discrete_gradient,
    explicit_tableaux,
    low_storage,
    partitioned,
    splitting,
)
from manifoldnet.integrators.commutator_free import CF3, CF4, commutator_free_step
from manifoldnet.integrators.crouch_grossman import CG3, CG4, CG5, crouch_grossman_step
from manifoldnet.integrators.explicit_tableaux import BOSH3, DOPRI5, EULER, HEUN2, KUTTA3, MIDPOINT, RK4, TSIT5
from manifoldnet.integrators.geodesic import Geodesics, geodesic_step
from manifoldnet.integrators.implicit_runge_kutta import implicit_runge_kutta_step
from manifoldnet.integrators.lie_verlet import LieVerlet, lie_verlet_step
from manifoldnet.integrators.minimal_commutator import KUTTA3_ONE_BRACKET, RK4_TWO_BRACKETS, minimal_commutator_step
from manifoldnet.integrators.projected import projected_step
from manifoldnet.integrators.rkmk import rkmk_step
from manifoldnet.integrators.runge_kutta import runge_kutta_step
from manifoldnet.integrators.stepping import Field, Start, Step, StepRule
from manifoldnet.integrators.symmetric_lie import symmetric_lie_step
from manifoldnet.integrators.tableau import Tableau
from manifoldnet.manifolds import Action, Space

Domain = Literal["lie", "geodesic", "vector", "separable", "hamiltonian", "parts", "lie-poisson", "cotangent"]
"""Where a method runs: on every space by its group or along its geodesics; on vector spaces with any field, with a
separable Hamiltonian, with ``hamiltonian(t, y)``; with ``parts``; on Lie-Poisson spaces; on T*G."""


@dataclass(frozen=True)
class Family:
    """The methods of one stepping rule."""

    step: StepRule
    domain: Domain


FAMILIES: dict[str, Family] = {
    "runge-kutta": Family(runge_kutta_step, "vector"),
    "implicit-runge-kutta": Family(implicit_runge_kutta_step, "vector"),
    "rkmk": Family(rkmk_step, "lie"),
    "minimal-commutator": Family(minimal_commutator_step, "lie"),
    "crouch-grossman": Family(crouch_grossman_step, "lie"),
    "commutator-free": Family(commutator_free_step, "lie"),
    "low-storage": Family(low_storage.low_storage_step, "lie"),
    "symmetric-lie": Family(symmetric_lie_step, "lie"),
    "geodesic": Family(geodesic_step, "geodesic"),
    "drifts-and-kicks": Family(partitioned.drifts_and_kicks_step, "separable"),
    "splitting": Family(splitting.splitting_step, "parts"),
    "discrete-gradient": Family(discrete_gradient.discrete_gradient_step, "hamiltonian"),
    "lie-poisson": Family(discrete_gradient.lie_poisson_discrete_gradient_step, "lie-poisson"),
    "variational": Family(lie_verlet_step, "cotangent"),
}


@dataclass(frozen=True)
class Method:
    """An integrator. Its structural properties are computed from its scheme and hold in a vector space.

    Attributes:
        scheme: a :class:`Tableau` or the coefficients of the family.
    """

    name: str
    family: str
    scheme: Any
    source: str

    def attempt(
        self,
        field: Field,
        action: Action,
        t: Tensor,
        h: Tensor,
        y: Tensor,
        first: Tensor | None = None,
        estimate: bool = False,
    ) -> Step:
        """One step and what it leaves behind; see :class:`Start`.

        Raises:
            ValueError: if the field has ``project`` and the method is not made of Euler steps.
        """
        start = Start(field, action, t, h, y, first, estimate)
        if hasattr(field, "project"):
            return projected_step(self.name, self.tableau if self.family == "runge-kutta" else None, start)
        step = FAMILIES[self.family].step(self.scheme, start)
        return step._replace(y=action.settle(step.y))

    def step(self, field: Field, action: Action, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
        """The point at t + h from the point y at t."""
        return self.attempt(field, action, t, h, y).y

    def action_on(self, space: Space) -> Action:
        """The action by which the method moves on the space."""
        return Geodesics(space) if self.domain == "geodesic" else space.action

    @property
    def domain(self) -> Domain:
        return FAMILIES[self.family].domain

    @property
    def tableau(self) -> Tableau | None:
        """The Runge-Kutta method that it is in a vector space, if it is one."""
        if isinstance(self.scheme, Tableau):
            return self.scheme
        return getattr(self.scheme, "tableau", None)

    @property
    def is_lie(self) -> bool:
        """Whether it steps by the group's action, so that it runs on every space."""
        return self.domain == "lie"

    @property
    def order(self) -> int:
        return self.tableau.order if self.tableau else self.scheme.order

    @property
    def embedded_order(self) -> int | None:
        """Order of the method that estimates the error, None for a method without."""
        return getattr(self.scheme, "embedded_order", None) if self._takes_pairs else None

    @property
    def dense_order(self) -> int | None:
        """Order of the continuous solution that its stages give, None if there is none."""
        return (
            self.scheme.dense_order
            if self._takes_pairs and isinstance(self.scheme, Tableau) and self._in_chart
            else None
        )

    @property
    def _takes_pairs(self) -> bool:
        return self.family in ("runge-kutta", "rkmk", "crouch-grossman", "commutator-free", "low-storage")

    @property
    def _in_chart(self) -> bool:
        """Whether y1 = exp(sum_i b_i k_i) y."""
        return self.family in ("runge-kutta", "rkmk")

    @property
    def is_fsal(self) -> bool:
        """Whether the last stage is the first of the next step when errors are estimated."""
        return bool(getattr(self.scheme, "is_fsal", False)) and self._takes_pairs and self.family != "crouch-grossman"

    @property
    def stages(self) -> int:
        return self.tableau.stages if self.tableau else self.scheme.stages

    @property
    def is_explicit(self) -> bool:
        if self.tableau:
            return self.tableau.is_explicit
        return self.domain in ("separable", "parts")

    @property
    def is_symplectic(self) -> bool:
        if self.tableau:
            return self.tableau.is_symplectic
        return self.domain == "cotangent" or (self.domain == "separable" and not self.scheme.damped)

    @property
    def is_symmetric(self) -> bool:
        return self.tableau.is_symmetric if self.tableau else self.scheme.is_symmetric

    @property
    def adjoint(self) -> Method | None:
        """The method whose step of -h from t + h undoes a step of h from t, where the registry's kinds hold it.

        None for a method that is neither symmetric nor made of drifts and kicks or of parts.
        """
        if self.is_symmetric:
            return self
        return replace(self, scheme=self.scheme.adjoint) if hasattr(self.scheme, "adjoint") else None

    @property
    def is_b_stable(self) -> bool:
        return self.tableau is not None and self.tableau.is_b_stable

    @property
    def circle_radius(self) -> float:
        """Steps h <= 2 r |nu| with <df, dx> <= nu |df|^2, nu < 0, do not expand; 0 where none is known."""
        return self.tableau.circle_radius if self.tableau else 0.0


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("lie-euler", "rkmk", EULER, "Euler 1768; on groups Crouch and Grossman 1993"),
        Method("rkmk2", "rkmk", HEUN2, "Munthe-Kaas 1999, on Heun's rule of order 2"),
        Method("rkmk3", "rkmk", KUTTA3, "Munthe-Kaas 1999, on Kutta's rule of order 3"),
        Method("rkmk4", "rkmk", RK4, "Munthe-Kaas 1999, on Kutta's rule of order 4"),
        Method("rkmk-bs32", "rkmk", BOSH3, "Munthe-Kaas 1999, on Bogacki and Shampine 1989"),
        Method("rkmk-dopri5", "rkmk", DOPRI5, "Munthe-Kaas 1999, on Dormand and Prince 1980"),
        Method("rkmk-tsit5", "rkmk", TSIT5, "Munthe-Kaas 1999, on Tsitouras 2011"),
        *(
            Method(name, "minimal-commutator", scheme, "Munthe-Kaas and Owren 1999")
            for name, scheme in (("rkmk3-one-bracket", KUTTA3_ONE_BRACKET), ("rkmk4-two-brackets", RK4_TWO_BRACKETS))
        ),
        Method("cg2", "crouch-grossman", MIDPOINT, "Crouch and Grossman 1993"),
        Method("cg3", "crouch-grossman", CG3, "Crouch and Grossman 1993; Owren and Marthinsen 1999"),
        Method("cg4", "crouch-grossman", CG4, "Jackiewicz, Marthinsen and Owren 2000, CG4a"),
        Method("cg5", "crouch-grossman", CG5, "Jackiewicz, Marthinsen and Owren 2000, CG5a"),
        Method("cf3", "commutator-free", CF3, "Celledoni, Marthinsen and Owren 2003"),
        Method("cf4", "commutator-free", CF4, "Celledoni, Marthinsen and Owren 2003"),
        Method("cf-williamson3", "low-storage", low_storage.WILLIAMSON3, "Williamson 1980; on groups Bazavov 2022"),
        Method("cf-ck54", "low-storage", low_storage.CARPENTER_KENNEDY4, "Carpenter and Kennedy 1994; Bazavov 2022"),
        Method("cf-ees25", "low-storage", low_storage.EES25, "Shmelev, Ebrahimi-Fard, Tapia and Salvi 2025"),
        Method("cf-ees27", "low-storage", low_storage.EES27, "Shmelev, Ebrahimi-Fard, Tapia and Salvi 2025"),
        Method("lie-midpoint", "symmetric-lie", collocation.gauss(1), "Zanna, Engø and Munthe-Kaas 2001"),
        Method("lie-trapezoid", "symmetric-lie", collocation.TRAPEZOID, "Zanna, Engø and Munthe-Kaas 2001"),
        Method("lie-gauss4", "symmetric-lie", collocation.gauss(2), "Zanna, Engø and Munthe-Kaas 2001"),
        Method("geodesic-euler", "geodesic", EULER, "Euler's method along geodesics"),
        Method("geodesic-implicit-euler", "geodesic", collocation.radau_iia(1), "implicit Euler's along geodesics"),
        Method("euler", "runge-kutta", EULER, "Euler 1768"),
        Method("midpoint", "runge-kutta", MIDPOINT, "Runge 1895"),
        Method("heun2", "runge-kutta", HEUN2, "Heun 1900"),
        Method("ralston2", "runge-kutta", explicit_tableaux.RALSTON2, "Ralston 1962"),
        Method("ssprk22", "runge-kutta", explicit_tableaux.SSPRK22, "Shu and Osher 1988"),
        Method("ssprk32", "runge-kutta", explicit_tableaux.SSPRK32, "Spiteri and Ruuth 2002"),
        Method("ssprk33", "runge-kutta", explicit_tableaux.SSPRK33, "Shu and Osher 1988"),
        Method("kutta3", "runge-kutta", KUTTA3, "Kutta 1901"),
        Method("heun3", "runge-kutta", explicit_tableaux.HEUN3, "Heun 1900"),
        Method("ralston3", "runge-kutta", explicit_tableaux.RALSTON3, "Ralston 1962"),
        Method("rk4", "runge-kutta", RK4, "Kutta 1901"),
        Method("rk38", "runge-kutta", explicit_tableaux.RK38, "Kutta 1901, the 3/8 rule"),
        Method("bosh3", "runge-kutta", BOSH3, "Bogacki and Shampine 1989"),
        Method("dopri5", "runge-kutta", DOPRI5, "Dormand and Prince 1980; dense output Shampine 1986"),
        Method("tsit5", "runge-kutta", TSIT5, "Tsitouras 2011"),
        Method("implicit-euler", "implicit-runge-kutta", collocation.radau_iia(1), "Radau IIA, 1 stage"),
        Method("implicit-midpoint", "implicit-runge-kutta", collocation.gauss(1), "Gauss, 1 stage"),
        Method("trapezoid", "implicit-runge-kutta", collocation.TRAPEZOID, "Crank and Nicolson 1947"),
        Method("gauss4", "implicit-runge-kutta", collocation.gauss(2), "Butcher 1964"),
        Method("gauss6", "implicit-runge-kutta", collocation.gauss(3), "Butcher 1964"),
        Method("radau-ia3", "implicit-runge-kutta", collocation.radau_ia(2), "Ehle 1969"),
        Method("radau-ia5", "implicit-runge-kutta", collocation.radau_ia(3), "Ehle 1969"),
        Method("radau-iia3", "implicit-runge-kutta", collocation.radau_iia(2), "Ehle 1969"),
        Method("radau-iia5", "implicit-runge-kutta", collocation.radau_iia(3), "Ehle 1969"),
        Method("lobatto-iiic2", "implicit-runge-kutta", collocation.lobatto_iiic(2), "Chipman 1971"),
        Method("lobatto-iiic4", "implicit-runge-kutta", collocation.lobatto_iiic(3), "Chipman 1971"),
        Method("symplectic-euler", "drifts-and-kicks", partitioned.SYMPLECTIC_EULER, "de Vogelaere 1956"),
        Method("stormer-verlet", "drifts-and-kicks", partitioned.STORMER_VERLET, "Störmer 1907; Verlet 1967"),
        Method("yoshida4", "drifts-and-kicks", partitioned.YOSHIDA4, "Yoshida 1990"),
        Method("suzuki4", "drifts-and-kicks", partitioned.SUZUKI4, "Suzuki 1990"),
        Method("conformal-euler", "drifts-and-kicks", partitioned.CONFORMAL_EULER, "Bhatt, Floyd and Moore 2016"),
        Method("conformal-verlet", "drifts-and-kicks", partitioned.CONFORMAL_VERLET, "Bhatt, Floyd and Moore 2016"),
        Method("lie-trotter", "splitting", splitting.LIE_TROTTER, "Trotter 1959"),
        Method("strang", "splitting", splitting.STRANG, "Strang 1968"),
        Method("discrete-gradient-gonzalez", "discrete-gradient", discrete_gradient.GONZALEZ, "Gonzalez 1996"),
        Method("discrete-gradient-mean-value", "discrete-gradient", discrete_gradient.MEAN_VALUE,
               "Harten, Lax and van Leer 1983"),
        Method("discrete-gradient-itoh-abe", "discrete-gradient", discrete_gradient.ITOH_ABE, "Itoh and Abe 1988"),
        Method("discrete-gradient-itoh-abe-symmetrised", "discrete-gradient", discrete_gradient.SYMMETRISED_ITOH_ABE,
               "McLachlan, Quispel and Robidoux 1999"),
        Method("lie-poisson-discrete-gradient", "lie-poisson", discrete_gradient.GONZALEZ,
               "Gonzalez 1996, on coadjoint orbits"),
        Method("lie-verlet", "variational", LieVerlet(), "Bou-Rabee and Marsden 2009"),
    )
}  # fmt: skip


def method_named(name: str) -> Method:
    """The registered method.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"method: wanted one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
