"""Displacement sources against published numbers, closed forms, and integrals of point sources."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import quad

from manifoldnet.insar.deformation import circular_crack, mogi, rectangular_dislocation

EAST = math.pi / 2
VERTICAL = math.pi / 2


def at(value) -> torch.Tensor:
    return torch.tensor([[float(value)]], dtype=torch.float64)


def random_points(*shape: int) -> torch.Tensor:
    return 18 * torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 9


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
    # the published vertical fault is exactly vertical, ours 1e-5 off
    assert_allclose(moved, table, rtol=2e-4, atol=4e-6 if dip == VERTICAL else 0)


def test_long_strike_slip_fault_is_a_pair_of_screw_dislocations():
    """Weertman & Weertman (1964): slip between two depths moves the ground by differences of arc tangents."""
    y = torch.linspace(-20, 20, 81, dtype=torch.float64)[None]
    shape = {"depth": 5, "length": 2e4, "width": 3, "strike": EAST, "dip": VERTICAL, "rake": 0}
    moved = rectangular_dislocation(torch.full_like(y, 1e4), y, **shape)
    expected = ((y / 5).atan() - (y / 2).atan()) / math.pi
    assert_allclose(moved[0], expected, atol=1e-5)
    assert abs(moved[1:]).max() < 1e-5


def test_strike_turns_the_displacement():
    x, y = random_points(5, 5)
    shape = {"depth": 6, "length": 5, "width": 4, "dip": 0.9, "rake": 0.7}
    angle = 0.8  # clockwise, as strike is
    c, s = math.cos(angle), math.sin(angle)
    north = rectangular_dislocation(x, y, strike=0, **shape)
    turned = rectangular_dislocation(c * x + s * y, c * y - s * x, strike=angle, **shape)
    expected = torch.stack((c * north[0] + s * north[1], c * north[1] - s * north[0], north[2]))
    assert_allclose(turned, expected, atol=1e-12)


@pytest.mark.parametrize("dip", [0.4, 1.2])
def test_small_fault_is_okadas_point_source(dip):
    """Okada (1985), equations 8 and 9."""
    x, y = random_points(4, 5)
    d, side, sin, cos = 3.0, 0.01, math.sin(dip), math.cos(dip)
    R = (x * x + y * y + d * d).sqrt()
    I1 = 0.5 * y * (1 / (R * (R + d) ** 2) - x * x * (3 * R + d) / (R**3 * (R + d) ** 3))
    I2 = 0.5 * x * (1 / (R * (R + d) ** 2) - y * y * (3 * R + d) / (R**3 * (R + d) ** 3))
    I3 = 0.5 * x / R**3 - I2
    I4 = -0.5 * x * y * (2 * R + d) / (R**3 * (R + d) ** 2)
    I5 = 0.5 * (1 / (R * (R + d)) - x * x * (2 * R + d) / (R**3 * (R + d) ** 2))
    p, q = y * cos + d * sin, y * sin - d * cos
    strike_slip = [3 * axis * x * q / R**5 + term * sin for axis, term in ((x, I1), (y, I2), (d, I4))]
    dip_slip = [3 * axis * p * q / R**5 - term * sin * cos for axis, term in ((x, I3), (y, I1), (d, I5))]
    where = {"depth": d + side / 2 * sin, "length": side, "width": side, "strike": EAST, "dip": dip}
    for rake, expected in ((0, strike_slip), (math.pi / 2, dip_slip)):
        moved = rectangular_dislocation(x + side / 2, y + side / 2 * cos, rake=rake, **where)
        assert_allclose(moved / side**2, -torch.stack(expected) / (2 * math.pi), atol=1e-6)


def test_mogi():
    x, y = np.meshgrid(np.linspace(-5, 5, 11), np.linspace(-4, 4, 9))
    east, north, up = mogi(torch.from_numpy(x), torch.from_numpy(y), 2.5).numpy()
    assert up[4, 5] == 1
    assert_allclose(up, (1 + (x**2 + y**2) / 2.5**2) ** -1.5)
    assert_allclose(east * 2.5, up * x, atol=1e-15)
    assert_allclose(north * 2.5, up * y, atol=1e-15)


def test_crack_is_the_integral_of_point_cracks():
    """Over the disc, weighted with the opening; a point crack is Okada's (1985) horizontal tensile source."""
    d, a = 3.0, 1.8
    s, ws = np.polynomial.legendre.leggauss(100)
    s, ws = np.sin(math.pi / 4 * (1 + s)), math.pi / 4 * np.cos(math.pi / 4 * (1 + s)) * ws  # smooth at the rim
    turn = np.arange(64) * 2 * math.pi / 64
    weight = np.sqrt(1 - s**2) * s * ws
    dx, dy = a * np.outer(np.cos(turn), s), a * np.outer(np.sin(turn), s)

    def integral(x, y):
        x, y = x - dx, y - dy
        R = np.sqrt(x**2 + y**2 + d**2)
        return [((part / R**5) @ weight).sum() for part in (x * d**2, y * d**2, d**3)]

    x, y = (axis.numpy().ravel() for axis in random_points(4, 3))
    expected = np.array([integral(*point) for point in zip(x, y, strict=True)]).T / integral(0, 0)[2]
    moved = circular_crack(torch.tensor(x)[None], torch.tensor(y)[None], d, a)
    assert_allclose(moved[:, 0], expected, atol=1e-9)


def test_crack_has_the_published_limits():
    """Small: u = d^3 (x, y, d) / R^5 (Davis, 1986), 5th power where Mogi has 3; any: the uplift has the volume."""
    x, y = random_points(4, 5)
    R = (x * x + y * y + 9).sqrt()
    point = torch.stack((3 * x, 3 * y, torch.full_like(x, 9))) * 27 / R**5
    assert_allclose(circular_crack(x, y, 3, 0.03), point, atol=2e-4)
    d, a = 2.0, 1.5

    def ring(r):
        return 2 * math.pi * r * float(circular_crack(at(r), at(0), d, a)[2])

    # with 1 above the centre the crack's volume is 2 pi (d^2 + a^2) / 3
    assert_allclose(quad(ring, 0, math.inf)[0], 2 * math.pi * (d * d + a * a) / 3, rtol=1e-6)


def test_parameters_go_with_the_images():
    x, y = random_points(3, 4, 5)
    depth, radius = torch.tensor([4.0, 5.0, 6.0]), torch.tensor([0.5, 1.0, 2.0])
    angles = {"strike": torch.tensor([0.1, 2.0, 4.0]), "dip": torch.tensor([0.4, 1.0, 1.5]), "rake": radius}
    extents = {"depth": depth, "length": 3 * radius, "width": 2.5}
    everything = (
        mogi(x, y, depth),
        circular_crack(x, y, depth, radius),
        rectangular_dislocation(x, y, **extents, **angles),
    )
    for k in range(3):
        faults = {name: value[k] if torch.is_tensor(value) else value for name, value in (extents | angles).items()}
        alone = (
            mogi(x[k], y[k], depth[k]),
            circular_crack(x[k], y[k], float(depth[k]), float(radius[k])),
            rectangular_dislocation(x[k], y[k], **faults),
        )
        for batched, single in zip(everything, alone, strict=True):
            assert batched.shape == (3, 3, 4, 5)
            assert_allclose(batched[k], single, atol=1e-12)
