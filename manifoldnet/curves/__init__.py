"""Curves on Lie groups: square-root velocity transform, elastic distance and alignment."""

from manifoldnet.curves.elastic import align, elastic_distance
from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.curves.srvt import inverse_srvt, srvt, srvt_of_increments

__all__ = [
    "align",
    "elastic_distance",
    "inverse_srvt",
    "pairwise_elastic_distance",
    "srvt",
    "srvt_of_increments",
]
