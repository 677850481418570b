"""Layers: flows, and convolutions of manifold-valued images."""

from manifoldnet.nn.flow import Flow

__all__ = ["Flow"]
