"""What is claimed and measured of a vector field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manifoldnet.certificates.certificate import Row, at_most, unclaimed
from manifoldnet.certificates.eigenvalues import spectral_abscissa
from manifoldnet.certificates.hamiltonian import contact_residual, rate
from manifoldnet.certificates.jacobians import jacobian
from manifoldnet.certificates.lipschitz import pair_quotients, power_iteration
from manifoldnet.certificates.pairs import pairs, rounding_of
from manifoldnet.fields import LayerField
from manifoldnet.integrators.discrete_gradients import gradient
from manifoldnet.manifolds import Euclidean

LARGEST_SPECTRUM = 64
TIMES = (0.0, 0.3, 0.7, 1.0)
"""In units of the fields' t1; off the knots of few intervals."""


def field_rows(field: Any, sample: Tensor) -> list[Row]:
    """The rows of :func:`certify` for a field, at several times."""
    t1 = field.in_time.t1 if hasattr(field, "in_time") else 1.0
    times = [sample.new_tensor(share * t1) for share in TIMES]
    with torch.no_grad():
        size = max(1.0, max(field(t, sample).abs().max().item() for t in times))
    rounding = rounding_of(sample) * size
    rows = _constants(field, sample, times, rounding) if isinstance(field, LayerField) else []
    if hasattr(field, "potential") and not hasattr(field, "hamiltonian"):
        worst = max(_gradient_defect(field, t, sample) for t in times)
        rows.append(at_most("|f + grad V|, V its potential", 0.0, worst, rounding))
    if not isinstance(field.space, Euclidean):
        return rows
    if field.space.ndim == 1 and sample.shape[-1] <= LARGEST_SPECTRUM:
        worst = max(spectral_abscissa(field, t, sample).max().item() for t in times)
        rows.append(unclaimed("largest real part of eigenvalues of df/dy, no proof of stability", worst))
    if hasattr(field, "hamiltonian") and getattr(field, "preserves", None) == "symplectic":
        worst = max(contact_residual(field, t, sample).max().item() for t in times)
        rows.append(at_most("|i_X (omega + dH ^ dt)|, the contact form", 0.0, worst, rounding))
    if hasattr(field, "hamiltonian") and getattr(field, "preserves", None) == "form":
        worst = max(rate(field.hamiltonian, field, t, sample).abs().max().item() for t in times)
        rows.append(at_most("|dH/dt| at a fixed time", 0.0, worst, rounding * size))
    if hasattr(field, "first_integral") and not getattr(field, "gamma", 0.0):
        worst = max(rate(field.first_integral, field, t, sample).abs().max().item() for t in times)
        rows.append(at_most("|dE/dt| of the first integral", 0.0, worst, rounding * size))
    if hasattr(field, "energy"):
        worst = max(rate(field.energy, field, t, sample).max().item() for t in times)
        rows.append(at_most("dE/dt of the energy", 0.0, worst, rounding * size))
    if getattr(field, "preserves", "conformal") != "conformal":
        worst = max(_divergence(field, t, sample) for t in times)
        rows.append(at_most("|div f|", 0.0, worst, rounding * size))
    return rows


def _constants(field: Any, sample: Tensor, times: list[Tensor], rounding: float) -> list[Row]:
    x, y = pairs(sample)
    with torch.no_grad():
        found = [pair_quotients(field, t, x, y, field.maps.ndim) for t in times]
    worst = {name: max(q[name].max().item() for q in found) for name in found[0]}
    slack = 1e3 * rounding  # the close pairs are 1e-3 apart
    nu, is_exact = field.one_sided_lipschitz()
    word = "exact" if is_exact else "bound"
    rows = [
        at_most(f"one-sided Lipschitz constant nu ({word})", float(nu), worst["nu"], slack),
        at_most("Lipschitz constant (bound)", float(field.lipschitz()), worst["lipschitz"], slack),
    ]
    if hasattr(field, "cocoercivity") and getattr(field, "kind", "transposed") == "transposed":
        rows.append(at_most("cocoercivity constant nu_bar", float(field.cocoercivity()), worst["cocoercivity"], slack))
    if hasattr(field, "operator_norm"):
        measured = max(_norm(field, t, sample) for t in times)
        rows.append(at_most("operator norm |A|", float(field.operator_norm()), measured, 1e-9))
    return rows


def _norm(field: Any, t: Tensor, sample: Tensor) -> float:
    A = field.in_time.at(field.A, t).detach().double().cpu()
    shape = tuple(sample.shape[sample.dim() - field.maps.ndim :])
    return power_iteration(lambda x: field.maps.apply(A, x), shape, 200)


def _gradient_defect(field: Any, t: Tensor, y: Tensor) -> float:
    space = field.space
    slope = space.egrad2rgrad(y, gradient(lambda x: field.potential(t, x), y))
    return (space.action.tangent(field(t, y), y) + slope).abs().max().item()


def _divergence(field: Any, t: Tensor, sample: Tensor) -> float:
    G = jacobian(lambda x: field(t, x), sample, field.space.ndim)
    return G.diagonal(0, -2, -1).sum(-1).abs().max().item()
