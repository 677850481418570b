import dataclasses
import math

import numpy as np
import pytest

from manifoldnet.integrators import METHODS, Tableau
from manifoldnet.integrators.tableau import rooted_trees


def make(rows, b, order):
    """Explicit or full tableau from its rows; c are the row sums."""
    s = len(b)
    A = tuple(tuple(map(float, row)) + (0.0,) * (s - len(row)) for row in rows)
    return Tableau(A=A, b=tuple(map(float, b)), c=tuple(math.fsum(row) for row in A), order=order)


ROOT3, ROOT15 = math.sqrt(3), math.sqrt(15)
TABLEAUX = {
    "euler": make([[]], [1], 1),
    "midpoint": make([[], [1 / 2]], [0, 1], 2),
    "heun2": make([[], [1]], [1 / 2, 1 / 2], 2),
    "ralston2": make([[], [2 / 3]], [1 / 4, 3 / 4], 2),
    "ssprk32": make([[], [1 / 2], [1 / 2, 1 / 2]], [1 / 3, 1 / 3, 1 / 3], 2),
    "ssprk33": make([[], [1], [1 / 4, 1 / 4]], [1 / 6, 1 / 6, 2 / 3], 3),
    "kutta3": make([[], [1 / 2], [-1, 2]], [1 / 6, 2 / 3, 1 / 6], 3),
    "heun3": make([[], [1 / 3], [0, 2 / 3]], [1 / 4, 0, 3 / 4], 3),
    "rk4": make([[], [1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6], 4),
    "rk38": make([[], [1 / 3], [-1 / 3, 1], [1, -1, 1]], [1 / 8, 3 / 8, 3 / 8, 1 / 8], 4),
    "bosh3": make([[], [1 / 2], [0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]], [2 / 9, 1 / 3, 4 / 9, 0], 3),
    "dopri5": make(
        [
            [],
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
            [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
        ],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
        5,
    ),
    "implicit-euler": make([[1]], [1], 1),
    "implicit-midpoint": make([[1 / 2]], [1], 2),
    "trapezoid": make([[], [1 / 2, 1 / 2]], [1 / 2, 1 / 2], 2),
    "two-half-steps": make([[], [1 / 2]], [1 / 2, 1 / 2], 1),
    "gauss4": make([[1 / 4, 1 / 4 - ROOT3 / 6], [1 / 4 + ROOT3 / 6, 1 / 4]], [1 / 2, 1 / 2], 4),
    "gauss6": make(
        [
            [5 / 36, 2 / 9 - ROOT15 / 15, 5 / 36 - ROOT15 / 30],
            [5 / 36 + ROOT15 / 24, 2 / 9, 5 / 36 - ROOT15 / 24],
            [5 / 36 + ROOT15 / 30, 2 / 9 + ROOT15 / 15, 5 / 36],
        ],
        [5 / 18, 4 / 9, 5 / 18],
        6,
    ),
    "radau-iia3": make([[5 / 12, -1 / 12], [3 / 4, 1 / 4]], [3 / 4, 1 / 4], 3),
    "radau-ia3": make([[1 / 4, -1 / 4], [1 / 4, 5 / 12]], [1 / 4, 3 / 4], 3),
    "lobatto-iiic2": make([[1 / 2, -1 / 2], [1 / 2, 1 / 2]], [1 / 2, 1 / 2], 2),
}
RADII = {
    "euler": 1.0,
    "midpoint": 0.0,
    "heun2": 1.0,
    "ralston2": 0.7912878475,
    "ssprk32": 2.0,
    "ssprk33": 1.0,
    "kutta3": 0.5,
    "heun3": 0.0,
    "rk4": 1.0,
    "rk38": 0.4641016151,
    "bosh3": 0.8989794856,
    "dopri5": 0.0,
    "trapezoid": 2.0,
    "two-half-steps": 2.0,
} | dict.fromkeys(
    ("implicit-euler", "implicit-midpoint", "gauss4", "gauss6", "radau-iia3", "radau-ia3", "lobatto-iiic2"), math.inf
)


@pytest.mark.parametrize("name", TABLEAUX)
def test_circle_radius_is_the_published_one(name):
    assert TABLEAUX[name].circle_radius == pytest.approx(RADII[name], abs=1e-9)


@pytest.mark.parametrize("name", TABLEAUX)
def test_structure_is_the_known_one(name):
    tableau = TABLEAUX[name]
    implicit = {"trapezoid", *(n for n, r in RADII.items() if r == math.inf)}
    assert tableau.is_explicit == (name not in implicit)
    assert tableau.is_symplectic == (name in {"implicit-midpoint", "gauss4", "gauss6"})
    assert tableau.is_symmetric == (name in {"implicit-midpoint", "gauss4", "gauss6", "trapezoid"})
    assert tableau.is_b_stable == (RADII[name] == math.inf)
    assert tableau.stages == len(tableau.b)


def stability_function(tableau, z):
    """R(z) = 1 + z b' (I - z A)^-1 1."""
    A, b = np.array(tableau.A), np.array(tableau.b)
    return 1 + z * (b @ np.linalg.solve(np.eye(len(b)) - z * A, np.ones(len(b))))


@pytest.mark.parametrize("name", [name for name, r in RADII.items() if 0 < r < math.inf])
def test_the_disc_of_the_radius_lies_in_the_stability_region(name):
    """|R(z)| <= 1 for |z + r| <= r, which is what contractivity says of constant linear problems."""
    circle = RADII[name] * (np.exp(1j * np.linspace(0, 2 * np.pi, 400)) - 1)
    assert max(abs(stability_function(TABLEAUX[name], z)) for z in circle) < 1 + 1e-9


@pytest.mark.parametrize("name", TABLEAUX)
@pytest.mark.parametrize("entry", ["A", "b", "c"])
def test_one_wrong_coefficient_is_refused(name, entry):
    tableau = TABLEAUX[name]
    values = np.array(getattr(tableau, entry))
    values.flat[-1] += 1e-9
    wrong = tuple(map(tuple, values.tolist())) if entry == "A" else tuple(values.tolist())
    with pytest.raises(ValueError, match="tableau: "):
        dataclasses.replace(tableau, **{entry: wrong})


@pytest.mark.parametrize("name", ["kutta3", "rk4", "rk38", "dopri5", "gauss4", "gauss6"])
def test_a_weight_in_the_wrong_place_is_refused(name):
    tableau = TABLEAUX[name]
    b = (*tableau.b[1:2], *tableau.b[:1], *tableau.b[2:])
    if len(set(tableau.b[:2])) > 1:
        with pytest.raises(ValueError, match="condition of tree"):
            dataclasses.replace(tableau, b=b)
    with pytest.raises(ValueError, match="condition of tree"):
        dataclasses.replace(tableau, order=tableau.order + 1 if tableau.order < 6 else 6, b=tuple(2 * w for w in b))


@pytest.mark.parametrize("name", ["kutta3", "heun3", "bosh3", "rk4", "rk38", "dopri5"])
def test_swapped_stages_are_refused(name):
    """Stage 3 takes a31 times stage 2 and a32 times stage 1: row sums agree, only the order conditions can tell."""
    tableau = TABLEAUX[name]
    rows = list(tableau.A)
    rows[2] = (rows[2][1], rows[2][0], *rows[2][2:])
    with pytest.raises(ValueError, match="condition of tree"):
        dataclasses.replace(tableau, A=tuple(rows))


@pytest.mark.parametrize("name", [name for name in TABLEAUX if name != "gauss6"])
def test_a_higher_order_than_the_true_one_is_refused(name):
    tableau = TABLEAUX[name]
    with pytest.raises(ValueError, match=f"the order {tableau.order + 1} condition"):
        dataclasses.replace(tableau, order=tableau.order + 1)


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="2 x 2"):
        Tableau(A=((0.0,),), b=(0.5, 0.5), c=(0.0, 1.0), order=1)
    with pytest.raises(ValueError, match="2 x 2"):
        Tableau(A=((0.0, 0.0), (1.0, 0.0)), b=(0.5, 0.5), c=(0.0,), order=1)


def test_there_are_as_many_rooted_trees_as_cayley_counted():
    assert [len(rooted_trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert len(set(rooted_trees(6))) == 20


def test_registered_tableaux_are_the_textbook_ones():
    for name, namesake in {"lie-euler": "euler", "cg2": "midpoint", "rkmk4": "rk4", "rk4": "rk4"}.items():
        registered, wanted = METHODS[name].tableau, TABLEAUX[namesake]
        assert np.allclose(registered.A, wanted.A, atol=1e-16, rtol=1e-16)
        assert np.allclose(registered.b, wanted.b, atol=1e-16, rtol=1e-16)
        assert registered.order == wanted.order
