"""The constants of fields: sharp where they say so, and the certified step at its edge."""

import numpy as np
import pytest
import torch

from manifoldnet.certificates import max_step, pair_quotients
from manifoldnet.fields import GradientField, ProjectedField, ResNetField, SkewDissipative, leaky_relu, strong
from manifoldnet.fields.layer_field import ENUMERATED
from manifoldnet.integrators import METHODS

F64 = torch.float64
ZERO = torch.zeros((), dtype=F64)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def at_corner(field, corner):
    """A point at which the slopes of tanh are those of the corner, 0 far out and 1 in the middle."""
    s = torch.tensor([0.0 if c else 40.0 for c in corner], dtype=F64)
    return torch.linalg.solve(field.A.detach(), s - field.b.detach())


@pytest.mark.parametrize("make", [ResNetField, lambda n, **k: SkewDissipative(n, 0.3, **k)], ids=["resnet", "skew"])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_exact_constant_is_met_by_some_pair_within_one_percent(make, n):
    field = make(n, generator=rng(n)).double()
    nu, is_exact = field.one_sided_lipschitz()
    assert is_exact
    worst = -np.inf
    for corner in np.ndindex(*(2,) * n):
        x = at_corner(field, corner)
        J = torch.func.jacrev(lambda p: field(ZERO, p))(x)
        direction = torch.linalg.eigh(0.5 * (J + J.T))[1][:, -1]
        worst = max(worst, pair_quotients(field, ZERO, x, x + 1e-4 * direction)["nu"].item())
    assert worst <= nu + 1e-10
    assert worst >= nu - 0.01 * abs(nu) - 1e-12


def test_a_skew_map_with_half_active_units_expands_at_half_its_norm():
    """A = [[0, 1], [-1, 0]], D = diag(1, 0): the bound |A| / 2 is attained."""
    field = SkewDissipative(2, activation="relu").double()
    with torch.no_grad():
        field.S.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        field.b.zero_()
    assert field.nu().item() == pytest.approx(0.5, abs=1e-15)
    x = torch.tensor([1.0, 1.0], dtype=F64)  # A x = (1, -1)
    y = x + 1e-3 * torch.tensor([1.0, 1.0], dtype=F64)
    assert pair_quotients(field, ZERO, x, y)["nu"].item() == pytest.approx(0.5, abs=1e-10)


def test_beyond_the_width_of_enumeration_the_constant_is_a_bound_above_the_exact_one():
    wide = ResNetField(ENUMERATED + 1, generator=rng(0)).double()
    nu, is_exact = wide.one_sided_lipschitz()
    assert not is_exact
    corners = torch.randint(0, 2, (4000, ENUMERATED + 1, 1), generator=rng(1)).double()
    DA = corners * wide.A.detach()
    assert torch.linalg.eigvalsh(0.5 * (DA + DA.mT)).max() <= nu
    skew = SkewDissipative(ENUMERATED + 1, generator=rng(0)).double()
    assert skew.nu().item() == pytest.approx(0.5 * np.linalg.norm(skew.A.detach().numpy(), 2), rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "softplus"])
def test_activations_that_flatten_out_give_nu_zero(activation):
    assert GradientField(3, 5, activation).double().nu().item() == 0.0
    assert ProjectedField(3, 5).double().nu().item() == 0.0


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("make", [strong, leaky_relu])
@pytest.mark.parametrize(("width", "dim"), [(5, 3), (3, 3), (2, 3)])
def test_activations_of_positive_slope_give_minus_alpha_mu_squared(alpha, make, width, dim):
    field = GradientField(dim, width, make(alpha), generator=rng(3)).double()
    A = field.A.detach().numpy()
    assert field.nu().item() == pytest.approx(-alpha * max(np.linalg.eigvalsh(A.T @ A)[0], 0), abs=1e-10)
    assert field.cocoercivity().item() == pytest.approx(-1 / np.linalg.norm(A, 2) ** 2, rel=1e-12)
    if width >= dim:
        close = pair_quotients(field, ZERO, *far_and_near(field, A))["nu"]
        assert close.item() == pytest.approx(field.nu().item(), rel=0.01)


def far_and_near(field, A):
    """Two points along the least singular direction, where every unit has its least slope if b and x allow it."""
    direction = torch.from_numpy(np.linalg.svd(A)[2][-1].copy())
    with torch.no_grad():
        field.b.copy_(-1e4)
    return torch.zeros_like(direction), direction


def test_the_constant_of_a_matrix_that_moves_holds_between_its_knots():
    """Between A and -A the matrix is singular halfway, although it is the identity at the knots."""
    field = GradientField(2, activation="strong", time="piecewise-linear", knots=2).double()
    with torch.no_grad():
        field.A.copy_(torch.stack([torch.eye(2), -torch.eye(2)]))
    assert field.nu().item() == 0.0
    with torch.no_grad():
        field.A.copy_(torch.stack([torch.eye(2), 3 * torch.eye(2)]))
    assert -0.1 <= field.nu().item() <= -0.095


EXPLICIT = ["euler", "heun2", "rk4", "ssprk33", "bosh3", "dopri5"]


@pytest.mark.parametrize("name", [n for n in EXPLICIT if METHODS[n].circle_radius > 0])
@pytest.mark.parametrize("activation", ["relu", "tanh", "strong"])
def test_certified_steps_do_not_expand(name, activation):
    method = METHODS[name]
    for seed in range(20):
        field = GradientField(
            3, 1 + seed % 6, activation, generator=rng(seed), time="piecewise-constant", knots=8
        ).double()
        h = torch.tensor(0.999 * max_step(field, method), dtype=F64)
        x, y = 3 * torch.randn(2, 10_000, 3, dtype=F64, generator=rng(100 + seed))
        a, b = (method.step(field, field.space.action, 0.1 * h, h, p) for p in (x, y))
        assert ((a - b).norm(dim=-1) / (x - y).norm(dim=-1)).max() <= 1 + 1e-12


@pytest.mark.parametrize("activation", ["relu", "tanh", "strong"])
def test_five_percent_beyond_the_certified_step_euler_expands_some_pair(activation):
    """Where every unit has its greatest slope, along the largest singular direction: 1 becomes |1 - 2.1|."""
    field = GradientField(3, activation=activation, generator=rng(0)).double()
    top = torch.linalg.svd(field.A.detach())[2][0]
    with torch.no_grad():
        field.b.fill_(1.0 if activation == "relu" else 0.0)
    x, y = torch.zeros(3, dtype=F64), 1e-3 * top
    euler = METHODS["euler"]
    for share, expands in ((0.999, False), (1.05, True)):
        h = torch.tensor(share * max_step(field, euler), dtype=F64)
        a, b = (euler.step(field, field.space.action, ZERO, h, p) for p in (x, y))
        ratio = ((a - b).norm() / (x - y).norm()).item()
        assert (ratio > 1.05) == expands, ratio


def test_no_step_is_certified_without_a_reason():
    with pytest.raises(ValueError, match="field: ResNetField declares no cocoercivity"):
        max_step(ResNetField(2), METHODS["euler"])
    with pytest.raises(ValueError, match="method: 'midpoint' has no circle radius"):
        max_step(GradientField(2), METHODS["midpoint"])
    assert max_step(GradientField(2), METHODS["implicit-midpoint"]) == np.inf
