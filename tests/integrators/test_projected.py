"""Projected steps, and the Shu-Osher forms by which methods are made of Euler steps."""

import pytest
import torch

from manifoldnet import Euclidean, odeint
from manifoldnet.fields import ProjectedField
from manifoldnet.integrators import METHODS

F64 = torch.float64
# strong-stability-preserving coefficients (Gottlieb, Ketcheson and Shu 2011; Kutta's and RK4's forms have none)
RADII = {"euler": 1.0, "heun2": 1.0, "ralston2": 0.5, "ssprk22": 1.0, "ssprk32": 2.0, "ssprk33": 1.0, "midpoint": 0.0,
         "kutta3": 0.0, "rk4": 0.0, "bosh3": 0.0, "dopri5": 0.0}  # fmt: skip


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class Free:
    """A field whose projection changes nothing."""

    def __call__(self, t, y):
        return torch.sin(y.roll(1, -1)) + t

    def project(self, y):
        return y


@pytest.mark.parametrize("name", RADII)
def test_the_radius_is_the_published_one(name):
    assert METHODS[name].tableau.shu_osher.radius == pytest.approx(RADII[name], abs=1e-9)


@pytest.mark.parametrize("name", [n for n, r in RADII.items() if r])
def test_without_an_effect_of_the_projection_the_step_is_the_methods_own(name):
    method, y, t, h = METHODS[name], normal(5, 3), torch.tensor(0.2, dtype=F64), torch.tensor(0.3, dtype=F64)
    plain = method.step(Free().__call__, Euclidean().action, t, h, y)
    assert (method.step(Free(), Euclidean().action, t, h, y) - plain).abs().max() < 1e-14


@pytest.mark.parametrize("name", ["euler", "ssprk22", "ssprk32", "ssprk33"])
def test_pairs_never_expand_up_to_the_bound_and_stay_in_the_orthant(name):
    """3000 pairs, h = 2 r / |A|^2."""
    method = METHODS[name]
    for seed in range(5):
        field = ProjectedField(4, 3 + seed, generator=torch.Generator().manual_seed(seed)).double()
        h = 2 * method.tableau.shu_osher.radius * -field.cocoercivity()
        x, y = normal(3000, 4, seed=seed).abs(), normal(3000, 4, seed=seed + 50).abs()
        a, b = (method.step(field, field.space.action, 0 * h, h, p) for p in (x, y))
        assert min(a.min(), b.min()) >= 0
        assert ((a - b).norm(dim=-1) / (x - y).norm(dim=-1)).max() <= 1 + 1e-12


def test_non_negative_maps_are_bounded_by_their_source():
    """0 <= x(t) <= x(0) + t max(b_2, 0)."""
    field = ProjectedField(4, kind="non-negative", generator=torch.Generator().manual_seed(0)).double()
    x = normal(100, 4).abs()
    t = torch.linspace(0, 2, 41, dtype=F64)
    points = odeint(field, x, t, method="euler")
    assert points.min() >= 0
    assert (points <= x + t[:, None, None] * field.b2.relu() + 1e-14).all()


@pytest.mark.slow
def test_the_projected_euler_scheme_is_of_order_one():
    field, x = (
        ProjectedField(4, kind="general", generator=torch.Generator().manual_seed(2)).double(),
        normal(20, 4).abs(),
    )
    t = torch.tensor([0.0, 2.0], dtype=F64)
    fine = odeint(field, x, t, method="ssprk33", steps=4000)[-1]
    errors = [(odeint(field, x, t, method="euler", steps=n)[-1] - fine).abs().max().item() for n in (40, 80, 160)]
    assert 1.7 < errors[0] / errors[1] < 2.4
    assert 1.7 < errors[1] / errors[2] < 2.4
    assert (fine == 0).any()  # the constraint acts


@pytest.mark.parametrize("name", ["rk4", "implicit-euler", "rkmk4", "midpoint"])
def test_methods_that_are_not_made_of_euler_steps_are_refused(name):
    with pytest.raises(ValueError, match=f"method: a projected field wants 'euler' .*got '{name}'"):
        odeint(
            ProjectedField(3).double(), normal(2, 3).abs(), torch.tensor([0.0, 1.0], dtype=F64), method=name, steps=1
        )
