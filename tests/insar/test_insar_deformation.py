"""Displacement sources against published numbers and closed forms."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from manifoldnet.insar.deformation import mogi, rectangular_dislocation

EAST = math.pi / 2
VERTICAL = math.pi / 2 - 1e-4


def at(value: float) -> np.ndarray:
    return np.array([[float(value)]])


@pytest.mark.parametrize(
    ("x", "y", "dip", "rake", "table"),
    [
        (2, 3, math.radians(70), 0, (-8.689e-3, -4.298e-3, -2.747e-3)),
        (2, 3, math.radians(70), math.pi / 2, (-4.682e-3, -3.527e-2, -3.564e-2)),
        (0, 0, VERTICAL, 0, (0, 5.253e-3, 0)),
        (0, 0, VERTICAL, math.pi / 2, (0, 0, 0)),
    ],
)
def test_okada_checklist(x, y, dip, rake, table):
    """Table 2 of Okada (1985): a fault 3 long and 2 wide whose lower edge is at depth 4."""
    shape = {"depth": 4, "length": 3, "width": 2, "strike": EAST, "dip": dip, "rake": rake}
    moved = rectangular_dislocation(at(x), at(y), **shape).ravel()
    # the published vertical fault is exactly vertical
    assert_allclose(moved, table, rtol=2e-4, atol=4e-5 if dip == VERTICAL else 0)


def test_long_strike_slip_fault_is_a_pair_of_screw_dislocations():
    """Weertman & Weertman (1964): slip between two depths moves the ground by differences of arc tangents."""
    y = np.linspace(-20, 20, 81)[None]
    shape = {"depth": 5, "length": 2e4, "width": 3, "strike": EAST, "dip": VERTICAL, "rake": 0}
    moved = rectangular_dislocation(np.full_like(y, 1e4), y, **shape)
    expected = (np.arctan(y / 5) - np.arctan(y / 2)) / math.pi
    # the fault is 1e-4 off vertical
    assert_allclose(moved[0], expected, atol=1e-4)
    assert abs(moved[1:]).max() < 1e-4


def test_strike_turns_the_displacement():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-9, 9, (2, 5, 5))
    shape = {"depth": 6, "length": 5, "width": 4, "dip": 0.9, "rake": 0.7}
    angle = 0.8  # clockwise, as strike is
    c, s = math.cos(angle), math.sin(angle)
    north = rectangular_dislocation(x, y, strike=0, **shape)
    turned = rectangular_dislocation(c * x + s * y, c * y - s * x, strike=angle, **shape)
    assert_allclose(turned, [c * north[0] + s * north[1], c * north[1] - s * north[0], north[2]], atol=1e-12)


def test_mogi():
    x, y = np.meshgrid(np.linspace(-5, 5, 11), np.linspace(-4, 4, 9))
    east, north, up = mogi(x, y, 2.5)
    assert up[4, 5] == 1
    assert_allclose(up, (1 + (x**2 + y**2) / 2.5**2) ** -1.5)
    assert_allclose(east * 2.5, up * x, atol=1e-15)
    assert_allclose(north * 2.5, up * y, atol=1e-15)
