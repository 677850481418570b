"""Crouch-Grossman methods: products of exponentials, no brackets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from manifoldnet.integrators.stepping import Start, Step, spread
from manifoldnet.integrators.tableau import Tableau, explicit_tableau
from manifoldnet.manifolds import Action

CG3 = explicit_tableau(
    3,
    ["3/4", "119/216 17/108"],
    "13/51 -2/3 24/17",
    embedded=(2, "17/54 19/54 1/3"),
)
CG4 = explicit_tableau(
    4,
    [
        "0.8177227988124852",
        "0.3199876375476427 0.0659864263556022",
        "0.9214417194464946 0.4997857776773573 -1.0969984448371581",
        "0.3552358559023322 0.2390958372307326 1.3918565724203247 -1.1092979392113465",
    ],
    "0.1370831520630755 -0.018369853156402 0.739781398537078 -0.1907142565505889 0.3322195591068374",
)
CG5 = explicit_tableau(
    5,
    [
        "0.5119828014137712",
        "0.1256672120643583 0.7516202380829815",
        "-0.1859318985660963 0.9805295406563367 -0.5333302514616872",
        "0.1693767277911736 0.9505578305836004 -0.2601241719456298 -0.229881910017524",
        "-0.3672779810475256 -0.0086029950554851 -0.0010336337263253 0.4747844514543335 -0.1827675787966842",
        "-0.1967584902954152 -0.0841805485664162 -0.026953023636696 0.7559747536983863 -0.0238706198984107 "
        "0.0482925299135956",
        "-0.5309452158934433 0.019745665128492 -0.0890782597312347 1.1112114193183167 -0.254923186966407 "
        "0.0690881269948897 -0.019065855514584",
        "0 -0.1116041993954347 0.0007837329078394 0.1273989332794543 -0.2951798037735399 -0.5806798044068681 "
        "-0.3715982236980106 1.1170906343009428",
    ],
    "0.7927513978455029 0 0.3490698579749237 0.3139686995007973 -0.4266876632081064 -0.8094238190622945 "
    "1.3450516465346316 -0.9242094915998407 0.3594793720143862",
)


def _product(action: Action, coefficients: Sequence[float], ks: Sequence[Tensor], y: Tensor) -> Tensor:
    """exp(a_s K_s) ... exp(a_1 K_1) y."""
    for a, k in zip(coefficients, ks, strict=False):
        if a:
            y = action.act_exp(a * k, y)
    return y


def crouch_grossman_step(tableau: Tableau, start: Start) -> Step:
    """One step (Crouch and Grossman 1993); above order 2 the classical order conditions are not enough.

    Y_i = exp(a_{i,i-1} K_{i-1}) ... exp(a_{i1} K_1) y, K_i = h f(t + c_i h, Y_i),
    y1 = exp(b_s K_s) ... exp(b_1 K_1) y.
    """
    field, action, t, h, y, _, estimate = start
    scale = spread(h, action)
    ks = [scale * start.slope()]
    for row, c in zip(tableau.A[1:], tableau.c[1:], strict=True):
        ks.append(scale * field(t + c * h, _product(action, row, ks, y)))
    rival = _product(action, tableau.b_embedded, ks, y) if estimate and tableau.b_embedded else None
    return Step(_product(action, tableau.b, ks, y), tuple(ks), None, rival)
