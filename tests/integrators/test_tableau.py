import dataclasses
import math

import numpy as np
import pytest

from manifoldnet.integrators import METHODS, Tableau
from manifoldnet.integrators.partitioned import DriftsAndKicks
from manifoldnet.integrators.rooted_trees import rooted_trees


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


NAMESAKES = {
    "lie-euler": "euler",
    "rkmk2": "heun2",
    "rkmk3": "kutta3",
    "rkmk4": "rk4",
    "rkmk3-one-bracket": "kutta3",
    "rkmk4-two-brackets": "rk4",
    "rkmk-bs32": "bosh3",
    "rkmk-dopri5": "dopri5",
    "cg2": "midpoint",
    "cf3": "heun3",
    "cf4": "rk4",
    "lie-midpoint": "implicit-midpoint",
    "lie-trapezoid": "trapezoid",
    "lie-gauss4": "gauss4",
    "ssprk22": "heun2",
} | {name: name for name in TABLEAUX if name in METHODS}


@pytest.mark.parametrize("name", NAMESAKES)
def test_registered_tableaux_are_the_textbook_ones(name):
    registered, wanted = METHODS[name].tableau, TABLEAUX[NAMESAKES[name]]
    assert np.allclose(registered.A, wanted.A, atol=2e-16, rtol=1e-15)
    assert np.allclose(registered.b, wanted.b, atol=2e-16, rtol=1e-15)
    assert registered.order == wanted.order


@pytest.mark.parametrize("name", NAMESAKES)
def test_registered_methods_have_the_published_circle_radius(name):
    assert METHODS[name].circle_radius == pytest.approx(RADII[NAMESAKES[name]], abs=1e-9)


def test_an_unused_last_stage_does_not_count():
    """bosh3 without its FSAL stage is Ralston's rule of order 3; with it the radius would be 0."""
    assert METHODS["bosh3"].circle_radius == pytest.approx(METHODS["ralston3"].circle_radius, abs=1e-12)


# pairs and dense output ----------------------------------------------------------------------------------------------
RK4, DOPRI5 = METHODS["rk4"].tableau, METHODS["dopri5"].tableau


def test_a_wrong_pair_is_refused():
    with pytest.raises(ValueError, match="b_embedded is b"):
        dataclasses.replace(DOPRI5, b_embedded=DOPRI5.b)
    with pytest.raises(ValueError, match=r"the order 1 condition.*b_embedded"):
        dataclasses.replace(DOPRI5, b_embedded=tuple(1.1 * w for w in DOPRI5.b))
    with pytest.raises(ValueError, match=r"the order 5 condition.*b_embedded"):
        dataclasses.replace(DOPRI5, embedded_order=5)
    with pytest.raises(ValueError, match="together or neither"):
        dataclasses.replace(DOPRI5, embedded_order=None)
    with pytest.raises(ValueError, match="7 entries in b_embedded"):
        dataclasses.replace(DOPRI5, b_embedded=DOPRI5.b[:-1])


def test_wrong_dense_output_is_refused():
    assert RK4.weights_at(1.0) == pytest.approx(RK4.b, abs=1e-15)
    assert RK4.weights_at(0.0) == [0.0] * 4
    with pytest.raises(ValueError, match="theta = 1 are not b"):
        dataclasses.replace(RK4, dense=tuple(tuple(1.01 * w for w in row) for row in RK4.dense))
    with pytest.raises(ValueError, match=r"the order 2 condition.*b\(0.3\)"):
        dataclasses.replace(RK4, dense=tuple((w, 0.0, 0.0) for w in RK4.b))
    with pytest.raises(ValueError, match="the order 4 condition"):
        dataclasses.replace(RK4, dense_order=4)
    with pytest.raises(ValueError, match="4 rows"):
        dataclasses.replace(RK4, dense=RK4.dense[:3])
    with pytest.raises(ValueError, match="together or neither"):
        dataclasses.replace(RK4, dense_order=None)


def test_needed_stages_and_costs():
    assert [METHODS[n].tableau.needed_stages for n in ("dopri5", "bosh3", "rk4", "heun3", "euler")] == [6, 3, 4, 3, 1]
    fsal = {n for n, m in METHODS.items() if m.is_fsal}
    assert fsal == {"bosh3", "dopri5", "tsit5", "rkmk-bs32", "rkmk-dopri5", "rkmk-tsit5", "cf4"}


def test_shares_of_drifts_and_kicks_must_sum_to_one():
    with pytest.raises(ValueError, match=r"moves: the shares of the kicks sum to 0\.5"):
        DriftsAndKicks((("drift", 1.0), ("kick", 0.5)), 1)
