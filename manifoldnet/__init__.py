"""Structure-preserving deep learning on manifolds and Lie groups, in PyTorch.

A network is a flow on a manifold: :mod:`manifoldnet.manifolds` says where features live, :mod:`~manifoldnet.fields`
what moves them, :mod:`~manifoldnet.integrators` how a step is taken, :mod:`~manifoldnet.training` how parameters are
found. The applications :mod:`~manifoldnet.insar`, :mod:`~manifoldnet.dti` and :mod:`~manifoldnet.activity` are loaded
on first use, because they bring file formats and plots with them.
"""

from importlib import import_module
from types import ModuleType

from manifoldnet import certificates, curves, fields, integrators, linalg, manifolds, nn
from manifoldnet.certificates import certify
from manifoldnet.integrators import odeint
from manifoldnet.manifolds import (
    SE3,
    SO,
    SO3,
    SPD,
    Circle,
    Euclidean,
    Grassmann,
    Hyperbolic,
    LiePoisson,
    Power,
    Product,
    Sphere,
    Stiefel,
)

__version__ = "0.1.0"
__all__ = [
    "SE3",
    "SO",
    "SO3",
    "SPD",
    "Circle",
    "Euclidean",
    "Grassmann",
    "Hyperbolic",
    "LiePoisson",
    "Power",
    "Product",
    "Sphere",
    "Stiefel",
    "certificates",
    "certify",
    "curves",
    "fields",
    "integrators",
    "linalg",
    "manifolds",
    "nn",
    "odeint",
]

_LAZY = ("activity", "data", "dti", "insar", "training")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return import_module(f"manifoldnet.{name}")
    raise AttributeError(f"module 'manifoldnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
