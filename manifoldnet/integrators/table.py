"""The registry of integrators as rows of a table and as a page in Markdown."""

from __future__ import annotations

import math
from typing import Any

from manifoldnet.integrators.methods import METHODS, Domain

# where a method runs and what it asks of the field
DOMAINS: dict[Domain, str] = {
    "lie": "every space, by the group that acts on it; the field returns generators",
    "geodesic": "every space, along its geodesics",
    "vector": "vector spaces",
    "separable": "vector spaces, y = (q, p), H = T(p) + V(q); uses `velocity(t, p)` and `force(t, q)` where the field"
    " has them, and its `damping` in the conformal methods",
    "hamiltonian": "vector spaces; the field has `hamiltonian(t, y)` and may have `structure(v)`",
    "parts": "every space; the field has `parts`, fields that may have their exact `flow(t, h, y, action)`",
    "lie-poisson": "`LiePoisson(group)`; the field has `hamiltonian(t, m)`",
    "cotangent": "`Product([G, Euclidean(1, shape=(G.dim,))])`; the field has `velocity(t, p)` and `force(t, x)`",
}


def rows() -> list[dict[str, Any]]:
    """One row a method; None where a property does not exist."""
    return [
        {
            "name": method.name,
            "family": method.family,
            "runs on": method.domain,
            "order": method.order,
            "pair": method.embedded_order,
            "dense": method.dense_order,
            "stages": method.stages,
            "FSAL": method.is_fsal,
            "explicit": method.is_explicit,
            "symmetric": method.is_symmetric,
            "symplectic": method.is_symplectic,
            "B-stable": method.is_b_stable,
            "circle radius": method.circle_radius,
            "source": method.source,
        }
        for method in METHODS.values()
    ]


def markdown() -> str:
    """The page ``docs/integrators.md``, printed by ``manifoldnet methods --markdown``."""
    table = rows()
    lines = [
        "# Integrators",
        "",
        "Printed by `manifoldnet methods --markdown`. Order, stages, symmetry, symplecticity, B-stability and circle",
        "radius are computed from the coefficients and hold in a vector space; every one of them is measured by",
        "`tests/laws/test_laws_methods.py`, and `python benchmarks/orders.py` prints the measured orders.",
        "",
        "- **pair**: order of the embedded method, by which adaptive steps are chosen; **dense**: order between steps",
        "  (methods without step onto the wanted times); **FSAL**: the last stage is the first of the next step.",
        "- **circle radius** r: steps h ≤ 2 r |ν| do not expand distances if ⟨Δf, Δx⟩ ≤ ν |Δf|², ν < 0; ∞ for B-stable",
        "  methods, 0 where no step is safe or nothing is known.",
        "",
        "| runs on | means |",
        "|---|---|",
        *(f"| {domain} | {text} |" for domain, text in DOMAINS.items()),
        "",
        "| " + " | ".join(table[0]) + " |",
        "|" + "---|" * len(table[0]),
        *("| " + " | ".join(map(_cell, row.values())) + " |" for row in table),
        "",
        "`integrators.gauss(s)`, `radau_ia(s)`, `radau_iia(s)` and `lobatto_iiic(s)` make the tableaux of any size.",
        "",
        "## Work and precision",
        "",
        "`python benchmarks/integrator_pictures.py` draws both pictures.",
        "",
        "![error against evaluations and against time](work_precision.png)",
        "",
        "Error at T = 1 of a state- and time-dependent problem on SO(3), against evaluations of the field and against",
        "time of an eager loop on one thread of a CPU.",
        "",
        "![energy error over 100,000 steps](energy.png)",
        "",
        "Energy error of the oscillator p²/2 − cos q + q⁴/10 over 100,000 steps of 0.1: bounded for symplectic",
        "methods, growing for the classical method of order 4.",
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return "∞" if math.isinf(value) else f"{value:.4g}"
    return str(value)
