"""Curves on Lie groups and homogeneous spaces, the same at whatever speed they are run through.

Square-root velocity transforms and elastic distances (:func:`srvt`, :func:`elastic_distance`), shapes and their means
(:func:`elastic_mean`), signatures. The scikit-learn estimators :class:`~manifoldnet.curves.estimators.SRVT` and
:class:`~manifoldnet.curves.estimators.ElasticKNNClassifier` are loaded on first use, with scikit-learn.
"""

from typing import TYPE_CHECKING, Any

from manifoldnet.curves.closed import align_closed, closed_elastic_distance
from manifoldnet.curves.closing import close_curve, closing_defect
from manifoldnet.curves.distributed import elastic_distance_array
from manifoldnet.curves.elastic import align, elastic_distance
from manifoldnet.curves.homogeneous import increments
from manifoldnet.curves.interpolation import interpolate_motions
from manifoldnet.curves.kernels import alignment_kernel, elastic_kernel
from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.curves.reparametrisation import SineReparametrisation, SoftmaxReparametrisation
from manifoldnet.curves.shape_space import compose_warps, invert_warp, shape_geodesic, warp
from manifoldnet.curves.signature import logsignature, signature, signature_distance, signature_kernel
from manifoldnet.curves.smooth_alignment import reparametrisation_energy, reparametrise
from manifoldnet.curves.srvt import inverse_srvt, srvt, srvt_of_increments, unit_length
from manifoldnet.curves.statistics import elastic_mean, elastic_pca

if TYPE_CHECKING:
    from manifoldnet.curves.estimators import SRVT, ElasticKNNClassifier

__all__ = [
    "SRVT",
    "ElasticKNNClassifier",
    "SineReparametrisation",
    "SoftmaxReparametrisation",
    "align",
    "align_closed",
    "alignment_kernel",
    "close_curve",
    "closed_elastic_distance",
    "closing_defect",
    "compose_warps",
    "elastic_distance",
    "elastic_distance_array",
    "elastic_kernel",
    "elastic_mean",
    "elastic_pca",
    "increments",
    "interpolate_motions",
    "inverse_srvt",
    "invert_warp",
    "logsignature",
    "pairwise_elastic_distance",
    "reparametrisation_energy",
    "reparametrise",
    "shape_geodesic",
    "signature",
    "signature_distance",
    "signature_kernel",
    "srvt",
    "srvt_of_increments",
    "unit_length",
    "warp",
]


def __getattr__(name: str) -> Any:
    if name in ("SRVT", "ElasticKNNClassifier"):
        from manifoldnet.curves import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'manifoldnet.curves' has no attribute {name!r}")
