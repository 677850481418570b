"""Structured vector fields: modules f(t, y) -> generator."""

from manifoldnet.fields.activations import ACTIVATIONS, Activation
from manifoldnet.fields.manifold_gradient_flow import ManifoldGradientFlow
from manifoldnet.fields.tangent import TangentField, from_tangent

__all__ = ["ACTIVATIONS", "Activation", "ManifoldGradientFlow", "TangentField", "from_tangent"]
