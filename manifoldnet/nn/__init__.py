"""Layers: flows, convolutions of manifold-valued images, and what makes features of curves."""

from manifoldnet.nn.circle import CircleAutoencoder, CircleBlock, CircleConv2d
from manifoldnet.nn.curves import SRVT, ElasticPrototypes, LogSignature
from manifoldnet.nn.flow import Flow
from manifoldnet.nn.spd import SPDAutoencoder
from manifoldnet.nn.spd_ensemble import SPDEnsemble

__all__ = [
    "SRVT",
    "CircleAutoencoder",
    "CircleBlock",
    "CircleConv2d",
    "ElasticPrototypes",
    "Flow",
    "LogSignature",
    "SPDAutoencoder",
    "SPDEnsemble",
]
