"""Invariants, forms and their defects against closed forms."""

import math

import pytest
import torch

import manifoldnet as mn
from manifoldnet.certificates import (
    RotatingField,
    canonical_form,
    contact_form,
    contact_residual,
    drift,
    extended_drift,
    jacobian,
    logarithmic_norm,
    modified_hamiltonian,
    spectral_abscissa,
    symplectic_defect,
    volume_defect,
)
from manifoldnet.fields import ExtendedHamiltonian, HaberRuthotto, HamiltonianField
from manifoldnet.integrators import METHODS, shears
from manifoldnet.nn import Flow

F64 = torch.float64


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=rng(seed))


def oscillator():
    field = HamiltonianField(1, activation="identity").double()
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            parameter.fill_(1.0 if name.startswith("A") else 0.0)
    return field


def times(n, t1=1.0):
    return torch.linspace(0, t1, n + 1, dtype=F64)


@pytest.mark.parametrize("steps", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_symplectic_euler_keeps_the_modified_hamiltonian_of_the_oscillator(steps):
    """(q^2 + p^2) / 2 + h q p / 2, while H itself moves."""
    field, h = oscillator(), 0.05
    t = times(steps, h * steps)
    y = mn.odeint(field, torch.tensor([0.3, 1.0], dtype=F64), t, method="symplectic-euler", steps=1)
    modified = modified_hamiltonian(field, t[0], y, torch.tensor(h, dtype=F64))
    assert torch.allclose(modified, 0.5 * y.square().sum(-1) + 0.5 * h * y.prod(-1), rtol=0, atol=1e-15)
    assert (modified - modified[0]).abs().max() < 5e-14
    assert drift(field.hamiltonian, t, y) > 5e-3


def test_the_modified_hamiltonian_is_kept_to_second_order_where_h_is_to_first():
    field, y0 = HamiltonianField(2, 5, generator=rng(1)).double(), normal(20, 4)
    found = []
    for n in (100, 200):
        t = times(n, 5.0)
        y = mn.odeint(field, y0, t, method="symplectic-euler", steps=1)
        modified = modified_hamiltonian(field, t[0], y, t[1])
        found.append((drift(field.hamiltonian, t, y).max(), (modified - modified[0]).abs().max()))
    (h1, m1), (h2, m2) = found
    assert 1.8 < h1 / h2 < 2.2
    assert 3.6 < m1 / m2 < 4.4


@pytest.mark.parametrize(("time", "knots"), [("piecewise-linear", 2), ("piecewise-constant", 4)])
def test_k_falls_by_four_when_the_step_halves_and_h_drifts(time, knots):
    """The extended Hamiltonian of a Verlet step, the jumps of H between layers being accounted for."""
    field = HamiltonianField(2, 6, time=time, knots=knots, generator=rng(0)).double()
    y0 = normal(20, 4)
    K = [extended_drift(field, y0, n).abs().max().item() for n in (32, 64, 128)]
    assert 3.6 < K[0] / K[1] < 4.4
    assert 3.6 < K[1] / K[2] < 4.4
    t = times(128)
    y = mn.odeint(field, y0, t, method="stormer-verlet", steps=1)
    assert drift(field.hamiltonian, t, y).max() > 20 * K[2]


def test_steps_that_do_not_end_at_the_jumps_are_refused():
    field = HamiltonianField(2, time="piecewise-constant", knots=4).double()
    with pytest.raises(ValueError, match=r"steps: wanted steps that end at the jumps \[0.25, 0.5, 0.75\]"):
        extended_drift(field, normal(2, 4), 10)


@pytest.mark.parametrize("kinetic", ["learned", "quadratic"])
def test_the_extended_step_is_the_methods_own_on_the_original_phase_space(kinetic):
    field = HamiltonianField(2, 5, kinetic=kinetic, time="piecewise-linear", knots=2, generator=rng(3)).double()
    extended, y0 = ExtendedHamiltonian(field), normal(10, 4)
    t = times(20)
    z0 = extended.extend(y0, t[0])
    assert extended.hamiltonian(t[0], z0).abs().max() == 0
    for name, own in (("strang", "stormer-verlet"), ("rk4", "rk4"), ("gauss4", "gauss4")):
        z = mn.odeint(extended, z0, t, method=name, steps=1)
        y, own_time, _ = extended.split(z)
        assert (own_time - t[:, None]).abs().max() < 1e-14
        assert (y - mn.odeint(field, y0, t, method=own, steps=1)).abs().max() < 2e-13
    G = jacobian(lambda x: METHODS["strang"].step(extended, extended.space.action, 0 * t[1], t[1], x), z0)
    assert symplectic_defect(G) < 1e-13


def test_a_discrete_gradient_keeps_k():
    field = HamiltonianField(2, 5, time="piecewise-linear", knots=2, generator=rng(3)).double()
    extended, t = ExtendedHamiltonian(field), times(20)
    z = mn.odeint(extended, extended.extend(normal(5, 4), t[0]), t, method="discrete-gradient-gonzalez", steps=1)
    assert extended.hamiltonian(t[0], z).abs().max() < 1e-12


def test_the_contact_form_has_the_extended_field_as_its_kernel():
    """With the sign of dH ^ dt turned it has not."""
    field = HamiltonianField(3, time="piecewise-linear", knots=3, generator=rng(2)).double()
    y, t = normal(10, 6), torch.tensor(0.4, dtype=F64)
    assert contact_residual(field, t, y).max() < 1e-14
    form = contact_form(field.hamiltonian, t, y)
    assert (torch.linalg.matrix_rank(form) == 6).all()
    assert (form + form.mT).abs().max() == 0
    turned = form.clone()
    turned[:, -1], turned[..., -1] = -form[:, -1], -form[..., -1]
    velocity = torch.cat([field(t, y), torch.ones(10, 1, dtype=F64)], -1)
    assert (turned.mT @ velocity[..., None]).norm(dim=(-2, -1)).min() > 0.1


def test_chang_is_canonical_and_haber_ruthotto_is_not():
    """A random layer: 1e-12 against about one half; but its own form is kept."""
    y, scale = normal(50, 6), 2.0
    chang = Flow(HamiltonianField(3, generator=rng(0)).double(), "stormer-verlet", steps=1)
    G = jacobian(chang, y)
    assert symplectic_defect(G) < 1e-12
    field = HaberRuthotto(3, generator=rng(0)).double()
    with torch.no_grad():
        field.K.mul_(scale)
    G = jacobian(Flow(field, "stormer-verlet", steps=1), y)
    assert 0.1 < symplectic_defect(G) < 5
    assert symplectic_defect(G, field.form(torch.zeros((), dtype=F64)).detach()) < 1e-12
    assert volume_defect(G) < 1e-12
    assert torch.equal(canonical_form(1, y), torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=F64))


def abc(t, y):
    """The flow of Arnold, Beltrami and Childress, A = 1, B = sqrt(2/3), C = sqrt(1/3)."""
    B, C = math.sqrt(2 / 3), math.sqrt(1 / 3)
    x, y, z = y.unbind(-1)
    first, second = torch.sin(z) + C * torch.cos(y), B * torch.sin(x) + torch.cos(z)
    return torch.stack([first, second, C * torch.sin(y) + B * torch.cos(x)], -1)


def test_shears_keep_the_volume_of_the_abc_flow_and_rk4_does_not():
    y, h = 6 * torch.rand(200, 3, dtype=F64, generator=rng(0)), torch.tensor(0.2, dtype=F64)
    action = mn.Euclidean().action
    split = jacobian(lambda x: METHODS["strang"].step(shears(abc, 3), action, 0 * h, h, x), y)
    assert volume_defect(split) < 1e-14
    plain = jacobian(lambda x: METHODS["rk4"].step(abc, action, 0 * h, h, x), y)
    assert 3e-6 < volume_defect(plain) < 5e-5


def test_the_eigenvalue_test_passes_where_solutions_grow():
    field, y0 = RotatingField(), torch.tensor([[-1.0, 0.0]], dtype=F64)
    t = times(200, 10.0)
    assert max(spectral_abscissa(field, s, y0).item() for s in t[::10]) == pytest.approx(-0.25, abs=1e-12)
    y = mn.odeint(field, y0, t, method="rk4", steps=1)
    want = math.exp(5.0) * torch.tensor([-math.cos(10), math.sin(10)], dtype=F64)
    assert torch.allclose(y[-1, 0], want, rtol=1e-5)
    assert logarithmic_norm(field, t[0], y0).item() == pytest.approx(0.5, abs=1e-12)


def test_a_discrete_gradient_keeps_the_energy_of_haber_and_ruthotto_by_its_own_form():
    field, t = HaberRuthotto(3, generator=rng(0)).double(), times(50, 5.0)
    y0 = normal(10, 6)
    gradient = torch.func.vmap(torch.func.grad(lambda y: field.hamiltonian(t[0], y)))(y0)
    assert (field.structure(gradient) - field(t[0], y0)).abs().max() < 1e-12
    y = mn.odeint(field, y0, t, method="discrete-gradient-gonzalez", steps=1)
    assert drift(field.hamiltonian, t, y).max() < 1e-12
    assert (y[-1] - mn.odeint(field, y0, t, method="rk4", steps=1)[-1]).abs().max() < 0.02
