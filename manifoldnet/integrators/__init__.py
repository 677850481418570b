"""Integrators as data: tableaux, one stepping rule a family, and :func:`odeint`."""

from manifoldnet.integrators.methods import METHODS, Method, method_named
from manifoldnet.integrators.odeint import odeint
from manifoldnet.integrators.tableau import Tableau

__all__ = ["METHODS", "Method", "Tableau", "method_named", "odeint"]
