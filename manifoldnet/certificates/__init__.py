"""Numbers that prove structure: constants, defects and drifts, and the table of claims against measurements."""

from manifoldnet.certificates.certificate import Certificate, Row
from manifoldnet.certificates.certify import certify
from manifoldnet.certificates.eigenvalues import RotatingField, logarithmic_norm, spectral_abscissa
from manifoldnet.certificates.equivariance import equivariance_defect
from manifoldnet.certificates.hamiltonian import (
    contact_form,
    contact_residual,
    drift,
    extended_drift,
    modified_hamiltonian,
    rate,
)
from manifoldnet.certificates.jacobians import canonical_form, jacobian, symplectic_defect, volume_defect
from manifoldnet.certificates.lipschitz import lipschitz_bound, operator_norm, pair_quotients, power_iteration
from manifoldnet.certificates.step_size import max_step

__all__ = [
    "Certificate",
    "RotatingField",
    "Row",
    "canonical_form",
    "certify",
    "contact_form",
    "contact_residual",
    "drift",
    "equivariance_defect",
    "extended_drift",
    "jacobian",
    "lipschitz_bound",
    "logarithmic_norm",
    "max_step",
    "modified_hamiltonian",
    "operator_norm",
    "pair_quotients",
    "power_iteration",
    "rate",
    "spectral_abscissa",
    "symplectic_defect",
    "volume_defect",
]
