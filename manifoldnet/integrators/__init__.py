"""Integrators as data: schemes of coefficients, one stepping rule a family, and :func:`odeint`."""

from manifoldnet.integrators.collocation import gauss, lobatto_iiic, radau_ia, radau_iia
from manifoldnet.integrators.controller import Controller
from manifoldnet.integrators.methods import METHODS, Method, method_named
from manifoldnet.integrators.odeint import odeint, odeint_event, solve
from manifoldnet.integrators.solution import IntegrationError, Solution, Statistics, Status
from manifoldnet.integrators.splitting import Shear, SplitField, shears
from manifoldnet.integrators.stage_equations import StageError
from manifoldnet.integrators.stepping import Step
from manifoldnet.integrators.tableau import Tableau

__all__ = [
    "METHODS",
    "Controller",
    "IntegrationError",
    "Method",
    "Shear",
    "Solution",
    "SplitField",
    "StageError",
    "Statistics",
    "Status",
    "Step",
    "Tableau",
    "gauss",
    "lobatto_iiic",
    "method_named",
    "odeint",
    "odeint_event",
    "radau_ia",
    "radau_iia",
    "shears",
    "solve",
]
