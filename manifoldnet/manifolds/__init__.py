"""Spaces in which features live, Lie groups among them, and the actions by which they move."""

from manifoldnet.manifolds.actions import Action, LeftMultiplication, RightMultiplication
from manifoldnet.manifolds.adjoint_actions import AdjointAction, CoadjointAction
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.circle import Circle
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.general_linear import GeneralLinear
from manifoldnet.manifolds.geomstats_adapter import to_geomstats
from manifoldnet.manifolds.grassmann import Grassmann
from manifoldnet.manifolds.group import Group, LieGroup
from manifoldnet.manifolds.hyperbolic import Hyperbolic
from manifoldnet.manifolds.lie_poisson import LiePoisson
from manifoldnet.manifolds.lorentz import LorentzGroup
from manifoldnet.manifolds.power import Power
from manifoldnet.manifolds.product import Product
from manifoldnet.manifolds.se3 import SE3, RigidMotionOfPoints
from manifoldnet.manifolds.so3 import SO3
from manifoldnet.manifolds.spd import SPD
from manifoldnet.manifolds.spd_affine_invariant import AffineInvariantSPD
from manifoldnet.manifolds.spd_bures_wasserstein import BuresWassersteinSPD
from manifoldnet.manifolds.spd_log_cholesky import LogCholeskySPD
from manifoldnet.manifolds.spd_log_euclidean import LogEuclideanSPD
from manifoldnet.manifolds.special_orthogonal import SO
from manifoldnet.manifolds.sphere import Sphere
from manifoldnet.manifolds.stiefel import Stiefel

# one of every kind, with a known shape: the law tests run over all of them
SPACES: dict[str, Space] = {
    "euclidean": Euclidean(1, shape=(3,)),
    "circle": Circle(),
    "so3": SO3(),
    "so4": SO(4),
    "se3": SE3(),
    "stiefel": Stiefel(5, 2),
    "grassmann": Grassmann(4, 2),
    "spd-affine-invariant": SPD("affine-invariant", n=3),
    "spd-log-euclidean": SPD("log-euclidean", n=3),
    "spd-log-cholesky": SPD("log-cholesky", n=3),
    "spd-bures-wasserstein": SPD("bures-wasserstein", n=3),
    "sphere": Sphere(3),
    "sphere-5": Sphere(5),
    "hyperbolic": Hyperbolic(3),
    "torus": Power(Circle(), 2),
    "power-so3": Power(SO3(), 2),
    "power-spd": Power(SPD("affine-invariant", n=2), 2),
    "product-groups": Product([SO3(), Euclidean(1, shape=(3,)), Circle()]),
    "product-mixed": Product([Circle(), SPD("log-euclidean", n=3), SPD("affine-invariant", n=2)]),
}

__all__ = [
    "SE3",
    "SO",
    "SO3",
    "SPACES",
    "SPD",
    "Action",
    "AdjointAction",
    "AffineInvariantSPD",
    "BuresWassersteinSPD",
    "Circle",
    "CoadjointAction",
    "Euclidean",
    "GeneralLinear",
    "Grassmann",
    "Group",
    "Hyperbolic",
    "LeftMultiplication",
    "LieGroup",
    "LiePoisson",
    "LogCholeskySPD",
    "LogEuclideanSPD",
    "LorentzGroup",
    "Power",
    "Product",
    "RightMultiplication",
    "RigidMotionOfPoints",
    "Space",
    "Sphere",
    "Stiefel",
    "to_geomstats",
]
