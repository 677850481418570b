"""Layers: flows, and convolutions of manifold-valued images."""

from manifoldnet.nn.circle import CircleAutoencoder, CircleBlock, CircleConv2d
from manifoldnet.nn.flow import Flow
from manifoldnet.nn.spd import SPDAutoencoder

__all__ = ["CircleAutoencoder", "CircleBlock", "CircleConv2d", "Flow", "SPDAutoencoder"]
