"""Spaces in which features live, Lie groups among them, and the actions by which they move."""

from manifoldnet.manifolds.actions import Action
from manifoldnet.manifolds.base import Space
from manifoldnet.manifolds.circle import Circle
from manifoldnet.manifolds.euclidean import Euclidean
from manifoldnet.manifolds.general_linear import GeneralLinear
from manifoldnet.manifolds.group import Group, LieGroup
from manifoldnet.manifolds.power import Power
from manifoldnet.manifolds.product import Product
from manifoldnet.manifolds.so3 import SO3
from manifoldnet.manifolds.spd import SPD
from manifoldnet.manifolds.spd_affine_invariant import AffineInvariantSPD
from manifoldnet.manifolds.spd_log_euclidean import LogEuclideanSPD

# one of every kind, with a known shape: the law tests run over all of them
SPACES: dict[str, Space] = {
    "euclidean": Euclidean(1, shape=(3,)),
    "circle": Circle(),
    "so3": SO3(),
    "spd-affine-invariant": SPD("affine-invariant", n=3),
    "spd-log-euclidean": SPD("log-euclidean", n=3),
    "torus": Power(Circle(), 2),
    "power-so3": Power(SO3(), 2),
    "power-spd": Power(SPD("affine-invariant", n=2), 2),
    "product-groups": Product([SO3(), Euclidean(1, shape=(3,)), Circle()]),
    "product-mixed": Product([Circle(), SPD("log-euclidean", n=3), SPD("affine-invariant", n=2)]),
}

__all__ = [
    "SO3",
    "SPACES",
    "SPD",
    "Action",
    "AffineInvariantSPD",
    "Circle",
    "Euclidean",
    "GeneralLinear",
    "Group",
    "LieGroup",
    "LogEuclideanSPD",
    "Power",
    "Product",
    "Space",
]
