"""The stepping rules keep the order of any tableau, not only of the registered ones."""

import pytest
import torch
from law_cases import F64, SPACES
from order_problems import (
    check_order,
    check_order_on_generic_problem,
    distance,
    generic_problem,
    rotation_problem,
    steps_for,
)

from manifoldnet import SO3, Power, Product
from manifoldnet.integrators import Tableau
from manifoldnet.integrators.methods import FAMILIES
from manifoldnet.integrators.stepping import Start


def tableau(rows, b, order):
    s = len(b)
    A = tuple(tuple(map(float, row)) + (0.0,) * (s - len(row)) for row in rows)
    return Tableau(A=A, b=tuple(map(float, b)), c=tuple(map(sum, A)), order=order)


KUTTA3 = tableau([[], [1 / 2], [-1, 2]], [1 / 6, 2 / 3, 1 / 6], 3)
DOPRI5 = tableau(
    [
        [],
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    5,
)
# Owren and Marthinsen 1999; with the exponentials of a product the other way round it has order 2
CG3 = tableau([[], [3 / 4], [119 / 216, 17 / 108]], [13 / 51, -2 / 3, 24 / 17], 3)
# Jackiewicz, Marthinsen and Owren 2000
CG4 = tableau(
    [
        [],
        [0.8177227988124852],
        [0.3199876375476427, 0.0659864263556022],
        [0.9214417194464946, 0.4997857776773573, -1.0969984448371581],
        [0.3552358559023322, 0.2390958372307326, 1.3918565724203247, -1.1092979392113465],
    ],
    [0.1370831520630755, -0.018369853156402, 0.739781398537078, -0.1907142565505889, 0.3322195591068374],
    4,
)
CASES = {
    "rkmk-kutta3": ("rkmk", KUTTA3),
    "rkmk-dopri5": ("rkmk", DOPRI5),
    "cg3": ("crouch-grossman", CG3),
    "cg4": ("crouch-grossman", CG4),
}

# spaces whose group has brackets; products and powers of them add time and no case
COUNTED = [
    n for n, space in SPACES.items() if not space.action.group.is_commutative and not isinstance(space, Product | Power)
]


def errors(name, space, field, y0, wanted, steps=None):
    family, coefficients = CASES[name]
    step, action, found = FAMILIES[family].step, space.action, {}
    for n in steps or steps_for(coefficients.order):
        y, h = y0, torch.tensor(1.0 / n, dtype=F64)
        for k in range(n):
            y = step(coefficients, Start(field, action, k * h, h, y)).y
        found[n] = distance(space, y, wanted)
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("frozen", [False, True], ids=["nonautonomous", "autonomous"])
def test_order_on_rotations(name, frozen):
    check_order(CASES[name][1].order, errors(name, SO3(), *rotation_problem(frozen, body=False)))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("rkmk-dopri5", "cg4") else ()) for n in CASES]
)
@pytest.mark.parametrize("space", COUNTED)
def test_order_where_brackets_are_counted(name, space):
    """On these spaces the series of dexpinv is cut after order - 2 brackets."""
    problem = generic_problem(space)
    check_order_on_generic_problem(CASES[name][1].order, lambda steps: errors(name, SPACES[space], *problem, steps))


def test_a_crouch_grossman_method_is_not_a_munthe_kaas_method():
    """CG3's coefficients satisfy the classical conditions, so both rules have order 3, with different errors."""
    problem = rotation_problem(False, body=False)
    step = FAMILIES["rkmk"].step, FAMILIES["crouch-grossman"].step
    field, y0, _ = problem
    t, h = torch.zeros((), dtype=F64), torch.tensor(0.1, dtype=F64)
    one, two = (f(CG3, Start(field, SO3().action, t, h, y0)).y for f in step)
    assert 1e-9 < (one - two).abs().max() < 1e-4
