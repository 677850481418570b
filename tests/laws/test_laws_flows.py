"""Laws of flows: every structured field with every method that claims to keep what it has."""

import pytest
import torch
from law_cases import F64, points, rng, vector_methods
from structured_cases import FIELDS, PAIRED, every_field, made, points_of

from manifoldnet import SPD, certify
from manifoldnet.certificates import max_step
from manifoldnet.certificates.flow_rows import claimed_structure
from manifoldnet.fields import ManifoldGradientFlow
from manifoldnet.integrators import METHODS
from manifoldnet.nn import Flow

STRUCTURED = {name: make(2).preserves for name, make in FIELDS.items() if hasattr(make(2), "preserves")}


def runs(method, name):
    """Whether the method can step the field."""
    if method.domain in ("lie", "geodesic", "vector"):
        return not name.startswith("projected")
    if method.domain == "separable":
        separable = name in PAIRED and name != "h-dnn"
        return separable and (not method.scheme.damped or name == "damped-hamiltonian")
    if method.domain == "hamiltonian":
        return name in ("hamiltonian", "hyperbolic", "h-dnn")
    return method.domain == "parts" and name.startswith("divergence-free")


CLAIMS = [
    (name, method)
    for name in STRUCTURED
    for method in vector_methods
    if runs(METHODS[method], name) and claimed_structure(Flow(made(name), method))
]


def test_every_structure_is_claimed_by_some_method():
    assert {name for name, _ in CLAIMS} == set(STRUCTURED)


@pytest.mark.parametrize(("name", "method"), CLAIMS)
@pytest.mark.parametrize("time", ["constant", pytest.param("piecewise-linear", marks=pytest.mark.slow)])
def test_what_is_claimed_is_measured(name, method, time):
    table = certify(Flow(made(name, 2, time), method, steps=5), points_of(name, 6, dim=2))
    assert table.holds, table


@pytest.mark.parametrize("name", STRUCTURED)
def test_runge_kutta_claims_no_structure_and_has_none(name):
    """RK4 at long steps: nothing is claimed, and the volume or the form is visibly lost."""
    field = made(name, 3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(2.0)
    table = certify(Flow(field, "rk4", steps=3, t1=3.0), points_of(name, 20, scale=1.0))
    rows = [row for row in table if row.property.startswith(("|G'", "|log"))]
    assert all(row.bound is None for row in rows)
    assert max(row.measured for row in rows) > 1e-6


@every_field
def test_flows_keep_their_type_and_differentiate(name):
    method = "euler" if name.startswith("projected") else "strang" if name.startswith("divergence-free") else "rk4"
    for dtype in (torch.float32, F64):
        field = made(name).to(dtype)
        y = points_of(name, 3).to(dtype).requires_grad_()
        value = Flow(field, method, steps=2)(y)
        assert value.dtype is dtype
        value.square().sum().backward()
        for leaf in (y, *field.parameters()):
            assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("method", ["euler", "rk4", "heun2", "ssprk33", "implicit-euler", "gauss4", "radau-iia3"])
def test_certified_flows_do_not_expand(method):
    for activation in ("tanh", "relu", "strong"):
        field = made("gradient", activation=activation, width=5)
        flow = Flow(field, method, steps="certified", t1=20.0)
        table = certify(flow, points_of("gradient", 200))
        assert table["Lipschitz constant of the map"].bound == 1.0
        assert table.holds, table


def test_the_potential_falls_in_every_certified_euler_step():
    flow = Flow(made("gradient", width=6), "euler", steps="certified", t1=50.0)
    row = certify(flow, points_of("gradient", 200))["largest rise of the potential"]
    assert row.bound == 0.0
    assert row.measured < 0


def test_projected_flows_stay_in_the_orthant_and_do_not_expand():
    for method in ("euler", "ssprk22", "ssprk33"):
        flow = Flow(made("projected", width=6), method, steps="certified", t1=20.0)
        x = points_of("projected", 3000).abs()
        with torch.no_grad():
            assert flow.points(x).min() >= 0
        assert certify(flow, x).holds


def test_steps_on_curved_spaces_are_certified_along_geodesics_only():
    space = SPD("affine-invariant", n=3)
    field = ManifoldGradientFlow(space, 5, "sigmoid", "log-trace", generator=rng(73)).double()
    sample = points(space, 60)
    for method in ("geodesic-euler", "geodesic-implicit-euler"):
        flow = Flow(field, method, steps="certified", t1=3.0)
        table = certify(flow, sample)
        assert table["Lipschitz constant of the map"].bound == 1.0
        assert table.holds, table
    assert max_step(field, METHODS["geodesic-euler"]) == field.step_bound()
    for method in ("lie-midpoint", "rkmk4"):
        with pytest.raises(ValueError, match=f"no step of '{method}' is certified on SPD"):
            max_step(field, METHODS[method])
    with pytest.raises(ValueError, match="not geodesically convex"):
        max_step(ManifoldGradientFlow(space).double(), METHODS["geodesic-implicit-euler"])
