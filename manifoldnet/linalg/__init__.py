"""Batched functions of small matrices whose values and gradients stay exact at the singular points."""

from manifoldnet.linalg.general import expm
from manifoldnet.linalg.rotation import (
    hat,
    rotation_expm,
    rotation_from_quaternion,
    rotation_logm,
    rotation_to_quaternion,
    so3_dexp,
    so3_dexpinv,
    vee,
)
from manifoldnet.linalg.scalar import safe_norm, safe_sqrt, wrap_angle
from manifoldnet.linalg.symmetric import (
    sym,
    sym_dexpm,
    sym_dlogm,
    sym_expm,
    sym_from_vector,
    sym_logm,
    sym_powm,
    sym_sqrtm,
    sym_squared_log_norm,
    sym_to_vector,
)

__all__ = [
    "expm",
    "hat",
    "rotation_expm",
    "rotation_from_quaternion",
    "rotation_logm",
    "rotation_to_quaternion",
    "safe_norm",
    "safe_sqrt",
    "so3_dexp",
    "so3_dexpinv",
    "sym",
    "sym_dexpm",
    "sym_dlogm",
    "sym_expm",
    "sym_from_vector",
    "sym_logm",
    "sym_powm",
    "sym_sqrtm",
    "sym_squared_log_norm",
    "sym_to_vector",
    "vee",
    "wrap_angle",
]
