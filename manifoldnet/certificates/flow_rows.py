"""What is claimed and measured of a flow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from manifoldnet.certificates.certificate import Row, at_least, at_most, unclaimed
from manifoldnet.certificates.hamiltonian import drift, extended_drift, modified_hamiltonian
from manifoldnet.certificates.jacobians import jacobian, symplectic_defect, volume_defect
from manifoldnet.certificates.lipschitz import flow_bound
from manifoldnet.certificates.pairs import contraction_row, rounding_of
from manifoldnet.fields import HamiltonianField
from manifoldnet.integrators.attempts import one_step
from manifoldnet.manifolds import Euclidean

LARGEST_JACOBIAN = 256
"""Points with more coordinates get no Jacobian: it would take as many backward passes."""


def is_flow(module: Any) -> bool:
    """Whether the module is a :class:`manifoldnet.nn.Flow`, or like one."""
    return all(hasattr(module, name) for name in ("field", "method", "space", "intervals"))


def flow_rows(flow: Any, sample: Tensor) -> list[Row]:
    """The rows of :func:`certify` for a flow."""
    last = (lambda y: flow(y)[-1]) if flow.trajectory else flow
    rows = [contraction_row(last, flow_bound(flow), sample, flow.space)]
    if flow.steps == "adaptive":
        return rows
    with torch.no_grad():
        points = flow.points(sample)
    times = _times(flow, sample)
    size = max(1.0, points.abs().max().item())
    rounding = rounding_of(sample) * size * math.sqrt(len(points))
    rows += _jacobian_rows(flow, points, rounding)
    rows += _invariant_rows(flow, times, points, rounding)
    if not isinstance(flow.space, Euclidean):
        off = (flow.space.projx(points) - points).abs().max().item()
        rows.append(at_most("distance of points from the space", 0.0, off, rounding))
    # an implicit step back may have several solutions, and one back along a contraction magnifies rounding
    if claimed_structure(flow) is not None and flow.method.is_explicit and flow.method.adjoint is not None:
        with torch.no_grad():
            back = (flow.inverse(points[-1]) - sample).abs().max().item()
        rows.append(at_most("|inverse(flow(y)) - y|", 0.0, back, 10 * rounding))
    return rows


def _times(flow: Any, sample: Tensor) -> Tensor:
    intervals = flow.intervals(sample)
    return torch.stack([t for t, _ in intervals] + [intervals[-1][0] + intervals[-1][1]]).detach()


def claimed_structure(flow: Any) -> str | None:
    """The structure of the field that the method keeps."""
    field, method = flow.field, flow.method
    structure = getattr(field, "preserves", None)
    is_constant = not hasattr(field, "in_time") or field.in_time.kind == "constant"
    if structure == "conformal":
        return structure if getattr(method.scheme, "damped", False) else None
    if method.domain == "parts":
        return structure
    if structure == "form" and not is_constant:
        return None
    return structure if structure in ("symplectic", "form") and method.is_symplectic else None


def _jacobian_rows(flow: Any, points: Tensor, rounding: float) -> list[Row]:
    if not isinstance(flow.space, Euclidean) or flow.space.ndim != 1 or points.shape[-1] > LARGEST_JACOBIAN:
        return []
    structure, claimed = getattr(flow.field, "preserves", None), claimed_structure(flow)
    if structure is None:
        return []
    steps = step_jacobians(flow, points)
    sensitivities = [steps[-1]]
    for G in reversed(list(steps[:-1])):
        sensitivities.append(sensitivities[-1] @ G)
    G = sensitivities[-1]
    scale = max(1.0, G.abs().max().item()) ** 2
    rows = []
    if structure != "volume":
        rows += _form_rows(flow, G, structure, claimed, rounding * scale)
    keeps_volume = claimed in ("symplectic", "form", "volume")
    defect = volume_defect(G)
    name = "|log |det dPhi||, volume"
    rows.append(at_most(name, 0.0, defect, rounding * scale) if keeps_volume else unclaimed(name, defect))
    if structure == "symplectic":
        least = torch.stack([torch.linalg.matrix_norm(S, 2) for S in sensitivities]).min().item()
        name = "least |d y_N / d y_k|_2 over the layers k"
        rows.append(at_least(name, 1.0, least, rounding) if claimed else unclaimed(name, least))
    return rows


def _form_rows(flow: Any, G: Tensor, structure: str, claimed: str | None, rounding: float) -> list[Row]:
    canonical = "|G'JG - J|, canonical symplectic form"
    if structure == "conformal":
        factor = math.exp(-flow.field.damping * sum(float(h) for h in flow.lengths()))
        name, defect = "|G'JG - exp(-damping t) J|, conformal symplectic form", symplectic_defect(G, None, factor)
        return [at_most(name, 0.0, defect, rounding) if claimed else unclaimed(name, defect)]
    if structure == "form":
        name, form = "|G'WG - W|, the field's own form", flow.field.form(G.new_zeros(())).detach()
        own = symplectic_defect(G, form)
        rows = [at_most(name, 0.0, own, rounding) if claimed else unclaimed(name, own)]
        return [*rows, unclaimed(canonical, symplectic_defect(G))]
    defect = symplectic_defect(G)
    return [at_most(canonical, 0.0, defect, rounding) if claimed else unclaimed(canonical, defect)]


def step_jacobians(flow: Any, points: Tensor) -> Tensor:
    """(steps, n, d, d): the Jacobians of the single steps at the points (steps + 1, n, d)."""
    action = flow.method.action_on(flow.space)
    found = []
    for (t, h), y in zip(flow.intervals(points[0]), points, strict=False):
        t, h = t.detach(), h.detach()
        found.append(jacobian(lambda x, t=t, h=h: one_step(flow.method, flow.field, action, t, h, x, "autograd"), y))  # type: ignore[misc]
    return torch.stack(found)


def _hamiltonian_rows(flow: Any, times: Tensor, points: Tensor) -> list[Row]:
    """The modified Hamiltonian of symplectic Euler, or the extended one of Verlet where parameters move."""
    field, name = flow.field, flow.method.name
    if name == "symplectic-euler" and field.in_time.kind == "constant":
        h = (times[1] - times[0]).to(points)
        with torch.no_grad():
            change = drift(lambda t, y: modified_hamiltonian(field, t, y, h), times, points).max().item()
        return [unclaimed("drift of H + h/2 <dH/dp, dH/dq>", change)]
    if name == "stormer-verlet" and field.in_time.kind != "constant" and flow.step_sizes is None and flow.t1 > 0:
        places = [s / flow.t1 * (len(points) - 1) for s in field.in_time.jumps() if s < flow.t1]
        if all(abs(place - round(place)) < 1e-6 for place in places):
            K = extended_drift(field, points[0], len(points) - 1, flow.t1).abs().max().item()
            return [unclaimed("drift of K = H + u, extended", K)]
    return []


def _invariant_rows(flow: Any, times: Tensor, points: Tensor, rounding: float) -> list[Row]:
    field, method, rows = flow.field, flow.method, []
    is_constant = not hasattr(field, "in_time") or field.in_time.kind == "constant"
    if hasattr(field, "hamiltonian"):
        with torch.no_grad():
            change = drift(field.hamiltonian, times, points).max().item()
        name = "drift of H"
        keeps = method.domain in ("hamiltonian", "lie-poisson") and is_constant and not hasattr(field, "damping")
        rows.append(at_most(name, 0.0, change, 10 * rounding) if keeps else unclaimed(name, change))
    if isinstance(field, HamiltonianField) and field.preserves == "symplectic" and field.maps.ndim == 1:
        rows += _hamiltonian_rows(flow, times, points)
    if hasattr(field, "first_integral"):
        with torch.no_grad():
            change = drift(field.first_integral, times, points).max().item()
        rows.append(unclaimed("drift of the first integral", change))
    if hasattr(field, "potential") and not hasattr(field, "hamiltonian") and is_constant:
        with torch.no_grad():
            values = torch.stack([field.potential(t, y) for t, y in zip(times, points, strict=True)])
        name, rise = "largest rise of the potential in one step", values.diff(dim=0).max().item()
        # by the descent lemma for steps h <= 2 / L, and for implicit Euler's because it minimises V + |y1 - y|^2 / 2 h
        falls = method.name in ("euler", "implicit-euler", "lie-euler") and flow_bound(flow) == 1.0
        rows.append(at_most(name, 0.0, rise, rounding) if falls else unclaimed(name, rise))
    return rows
