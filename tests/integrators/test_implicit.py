"""Implicit steps: collocation of any size, stages that are solved, no expansion at any step length."""

import math

import mpmath
import numpy as np
import pytest
import torch

from manifoldnet import Euclidean, odeint
from manifoldnet.integrators import METHODS, StageError, gauss, lobatto_iiic, radau_ia, radau_iia
from manifoldnet.integrators.implicit_runge_kutta import implicit_runge_kutta_step
from manifoldnet.integrators.stage_equations import solve_stages
from manifoldnet.integrators.stepping import Start

F64 = torch.float64
FAMILIES = {"gauss": gauss, "radau-ia": radau_ia, "radau-iia": radau_iia, "lobatto-iiic": lobatto_iiic}
ORDERS = {"gauss": lambda s: 2 * s, "radau-ia": lambda s: 2 * s - 1, "radau-iia": lambda s: 2 * s - 1,
          "lobatto-iiic": lambda s: 2 * s - 2}  # fmt: skip
IMPLICIT = [n for n, m in METHODS.items() if m.family == "implicit-runge-kutta"]


def times(*values):
    return torch.tensor(values, dtype=F64)


def rng(seed):
    return torch.Generator().manual_seed(seed)


# collocation ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("s", [2, 3, 4, 6, 10])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_stages_is_b_stable_and_integrates_polynomials(family, s):
    tableau = FAMILIES[family](s)
    assert tableau.stages == s
    assert tableau.order == ORDERS[family](s)
    assert tableau.is_b_stable
    assert tableau.circle_radius == math.inf
    assert tableau.is_symplectic == tableau.is_symmetric == (family == "gauss")
    for k in range(tableau.order):
        exact = 1 / (k + 1)
        assert np.dot(tableau.b, np.power(tableau.c, k)) == pytest.approx(exact, abs=1e-14)
    off = np.dot(tableau.b, np.power(tableau.c, tableau.order)) - 1 / (tableau.order + 1)
    assert abs(off) > 1e-17 or s > 6


@pytest.mark.parametrize("s", [2, 5, 9])
def test_gauss_nodes_are_those_of_numpy(s):
    nodes, weights = np.polynomial.legendre.leggauss(s)
    assert np.abs(np.array(gauss(s).c) - (nodes + 1) / 2).max() < 1e-15
    assert np.abs(np.array(gauss(s).b) - weights / 2).max() < 1e-15


@pytest.mark.parametrize("s", [2, 3, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_stability_function_is_a_pade_approximation(family, s):
    """R(z) of the family is the Padé approximation of exp with its degrees (Hairer and Wanner 1996, IV.3, IV.5)."""
    top, bottom = {"gauss": (s, s), "radau-ia": (s - 1, s), "radau-iia": (s - 1, s), "lobatto-iiic": (s - 2, s)}[family]
    tableau = FAMILIES[family](s)
    A, b = np.array(tableau.A), np.array(tableau.b)
    p, q = mpmath.pade(mpmath.taylor(mpmath.exp, 0, top + bottom), top, bottom)
    for z in (-0.5, -3.0, 1.0j, -20.0 + 4j):
        value = 1 + z * (b @ np.linalg.solve(np.eye(s) - z * A, np.ones(s)))
        wanted = complex(mpmath.polyval(p[::-1], z) / mpmath.polyval(q[::-1], z))
        assert value == pytest.approx(wanted, abs=1e-12)


def test_too_few_stages_are_refused():
    with pytest.raises(ValueError, match="s: lobatto-iiic wants at least 2 stages, got 1"):
        lobatto_iiic(1)
    with pytest.raises(ValueError, match="s: gauss"):
        gauss(0)


def test_a_method_of_order_twelve_runs():
    """Six Gauss stages, against the closed form of a linear problem."""
    w = torch.randn(3, 3, dtype=F64, generator=rng(1))
    y0, h = torch.randn(4, 3, dtype=F64, generator=rng(2)), times(0.5)[0]
    y = implicit_runge_kutta_step(gauss(6), Start(lambda t, y: y @ w.T, Euclidean(1).action, 0 * h, h, y0)).y
    assert (y - y0 @ torch.linalg.matrix_exp(h * w).T).abs().max() < 1e-13


# stiff problems ------------------------------------------------------------------------------------------------------
class Dissipative:
    """f = -A' tanh(A x + b cos t) + S x: one-sided Lipschitz constant 0, slopes up to |A|^2 + |S|."""

    def __init__(self, scale):
        self.a = scale * torch.randn(200, 4, 3, dtype=F64, generator=rng(3))
        self.b = torch.randn(200, 4, dtype=F64, generator=rng(4))
        s = scale * torch.randn(200, 3, 3, dtype=F64, generator=rng(5))
        self.s = s - s.mT

    def __call__(self, t, y):
        pull = torch.tanh((self.a @ y[..., None])[..., 0] + self.b * torch.cos(t))
        return -(pull[..., None, :] @ self.a)[..., 0, :] + (self.s @ y[..., None])[..., 0]


@pytest.mark.parametrize("scale", [1.0, pytest.param(30.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [n for n in IMPLICIT if METHODS[n].is_b_stable])
def test_steps_of_length_1000_do_not_expand(name, scale):
    field, h = Dissipative(scale), times(1e3)[0]
    x, y = 3 * torch.randn(2, 200, 3, dtype=F64, generator=rng(6))
    action = Euclidean(1).action
    for k in range(3):
        before = (x - y).norm(dim=-1)
        x, y = (METHODS[name].step(field, action, k * h, h, p) for p in (x, y))
        assert ((x - y).norm(dim=-1) <= before * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("radau-iia5", "gauss4") else pytest.mark.slow) for n in IMPLICIT]
)
def test_van_der_pol_with_a_thousandth(name):
    """The stiff oscillator through its first fast transition, against scipy's Radau."""
    from scipy.integrate import solve_ivp

    def field(t, y):
        return torch.stack([y[..., 1], ((1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]) * 1e3], -1)

    def right_hand_side(t, y):
        return [y[1], ((1 - y[0] ** 2) * y[1] - y[0]) * 1e3]

    wanted = solve_ivp(right_hand_side, (0, 0.5), [2, 0], method="Radau", rtol=1e-11, atol=1e-12).y[:, -1]
    found = odeint(field, times(2, 0), times(0, 0.5), method=name, steps=200)[-1]
    assert found[0].item() == pytest.approx(wanted[0], abs=3e-3 if METHODS[name].order < 2 else 1e-4)


def test_stages_with_no_solution_are_an_error():
    def field(t, y):  # z = 4 (1 + z^2) has no real solution
        return torch.where(t < 5, 0.0, 1.0) * (1 + y * y)

    with pytest.raises(StageError, match=r"t = 4: .*not solved"):
        odeint(field, times(0.0)[None], times(0, 4, 8), method="implicit-euler")
    with pytest.raises(StageError, match="not solved"):
        odeint(lambda t, y: y / 0.0, times(1.0)[None], times(0, 1), method="gauss4")


# the solver ----------------------------------------------------------------------------------------------------------
def test_many_unknowns_are_solved_without_their_jacobian():
    """2000 unknowns a sample, contraction 0.9 by a symmetric matrix: Anderson's acceleration, value and gradient."""
    n = 2000
    v = torch.randn(n, 3, dtype=F64, generator=rng(7))
    q = torch.linalg.qr(v)[0]
    c = torch.randn(2, n, dtype=F64, generator=rng(8)).requires_grad_()
    values = times(-5.0, 0.9, 0.5)

    def G(z):
        return (z @ q * values) @ q.T + c

    z = solve_stages(G, torch.zeros(2, n, dtype=F64), 1)
    assert (G(z) - z).abs().max() < 1e-12
    (found,) = torch.autograd.grad((z * torch.arange(n)).sum(), c)
    w = torch.arange(n, dtype=F64)
    wanted = w + (w @ q * (values / (1 - values))) @ q.T
    assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()


def test_samples_converge_on_their_own():
    """A stiff, an easy and an already solved sample in one batch."""
    rate = times(1e6, 0.1, 0.0)[:, None]

    def G(z):
        return -rate * (z + 0.1 * z**3 - 1)

    z = solve_stages(G, torch.zeros(3, 1, dtype=F64), 1)
    assert (z + 0.1 * z**3 - 1)[0].abs().max() < 2e-6
    assert (G(z) - z)[1:].abs().max() < 1e-15
    start = torch.zeros(1, 1, dtype=F64)
    alone = torch.cat([solve_stages(lambda z, r=r: -r * (z + 0.1 * z**3 - 1), start, 1) for r in rate])
    assert (z - alone).abs().max() < 1e-14


def test_the_derivative_is_the_implicit_functions_and_memory_does_not_grow_with_iterations():
    c = torch.tensor([[0.3]], dtype=F64, requires_grad=True)
    saved = []
    for slope in (0.1, 0.29, 50.0):
        with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
            z = solve_stages(lambda z, a=slope: torch.sin(c) - a * torch.tanh(z), torch.zeros(1, 1, dtype=F64), 1)
        (found,) = torch.autograd.grad(z.sum(), c, retain_graph=True)
        wanted = torch.cos(c) / (1 + slope * (1 - torch.tanh(z) ** 2))
        assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
        with pytest.raises(RuntimeError, match="differentiated once"):
            torch.autograd.grad(z.sum(), c, create_graph=True)
    assert len(saved) <= 3 * 8


def test_under_transforms_every_derivative_exists():
    def solved(c):
        return solve_stages(lambda z: torch.sin(c) - 3 * torch.tanh(z), torch.zeros(1, 1, dtype=F64), 1).sum()

    c = times(0.3)[0]
    z = torch.tensor(float(solved(c)), dtype=F64)
    u = 1 - torch.tanh(z) ** 2
    slope = torch.cos(c) / (1 + 3 * u)
    assert torch.func.grad(solved)(c).item() == pytest.approx(slope.item(), rel=1e-12)
    second = (-torch.sin(c) + 6 * torch.tanh(z) * u * slope**2) / (1 + 3 * u)
    assert torch.func.grad(torch.func.grad(solved))(c).item() == pytest.approx(second.item(), rel=1e-10)
    batch = torch.func.vmap(solved)(times(0.1, 0.3))
    assert batch[1].item() == pytest.approx(z.item(), abs=1e-14)
