"""Certificates see what is broken, and read well."""

import pytest
import torch
from torch import nn

import manifoldnet as mn
from manifoldnet import certify
from manifoldnet.certificates import equivariance_defect, lipschitz_bound
from manifoldnet.certificates.lipschitz import step_growth
from manifoldnet.fields import DivergenceFree, GradientField, HamiltonianField, ResNetField, SkewDissipative
from manifoldnet.integrators import METHODS
from manifoldnet.nn import Flow

F64 = torch.float64


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=rng(seed))


class WrongSign(HamiltonianField):
    def force(self, t, q):
        return -super().force(t, q)


class NotAGradient(GradientField):
    def forward(self, t, x):
        return super().forward(t, x) + 1e-3 * x.roll(1, -1)


class TooBold(ResNetField):
    def nu(self):
        return super().nu() - 1

    def one_sided_lipschitz(self):
        return super().one_sided_lipschitz()._replace(value=torch.zeros(()))


class Compressing(DivergenceFree):
    def forward(self, t, y):
        return super().forward(t, y) - 1e-4 * y


class Leaking(SkewDissipative):
    def forward(self, t, x):
        return super().forward(t, x) - 1e-4 * x


@pytest.mark.parametrize(
    ("field", "property"),
    [
        (WrongSign(2), "|i_X (omega"),
        (NotAGradient(3), "|f + grad V|"),
        (TooBold(3), "one-sided Lipschitz"),
        (Compressing(3), "|div f|"),
        (Leaking(3), "|dE/dt|"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_broken_field_is_refuted(field, property):
    sample = 3 * normal(200, 4 if isinstance(field, HamiltonianField) else 3)
    table = certify(field.double(), sample)
    assert not table.holds
    assert table[property].holds is False


def test_a_broken_step_is_refuted(monkeypatch):
    """A kick by what is no gradient is not symplectic, though it can be undone."""
    field, sample = HamiltonianField(2, generator=rng(0)).double(), normal(5, 4)
    flow = Flow(field, "stormer-verlet")
    assert certify(flow, sample).holds
    force = field.force
    monkeypatch.setattr(field, "force", lambda t, q: force(t, q) + 1e-3 * q.cumsum(-1))
    table = certify(flow, sample)
    assert table["|G'JG - J|"].holds is False
    assert table["|inverse(flow(y)) - y|"].holds


def test_a_curved_flow_stays_on_its_space():
    flow = Flow(mn.fields.ManifoldGradientFlow(mn.SO3(), generator=rng(0)).double(), "rkmk4", steps=20)
    table = certify(flow, mn.SO3().random(10, 3, 3, dtype=F64, generator=rng(1)))
    assert table.holds, table
    assert table["distance of points from the space"].measured < 1e-13


def test_rows_and_table():
    table = certify(GradientField(3, generator=rng(0)).double(), normal(20, 3))
    for row in table:
        name, bound, measured, holds = row
        assert name.endswith("(not claimed)") == (bound is None)
        assert isinstance(name, str)
        assert isinstance(measured, float)
        assert bound is None or measured <= bound + 1e-14
        assert holds is (None if bound is None else True)
    assert len(table) == len(list(table))
    assert table[0].property.startswith("one-sided Lipschitz constant nu (exact)")
    text = str(table)
    assert "GradientField" in text
    assert "cocoercivity" in text
    assert "yes" in text
    with pytest.raises(KeyError, match=r"'volume': wanted one of one-sided"):
        table["volume"]


def test_a_network_has_the_product_of_its_layers_constants():
    flow = Flow(GradientField(4, 6, generator=rng(0)), "euler", steps="certified")
    network = nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.2), flow, nn.Sigmoid(), nn.Linear(4, 2)).double()
    want = 0.25
    for layer in (network[0], network[4]):
        want *= torch.linalg.svdvals(layer.weight)[0].item()
    assert lipschitz_bound(network) == pytest.approx(want, rel=1e-12)
    table = certify(network, normal(500, 5))
    assert table.holds, table
    assert table["Lipschitz constant of the map"].bound == pytest.approx(want)
    assert table["2: Lipschitz constant of the map"].bound == 1.0


def test_layers_without_a_constant_leave_the_network_unclaimed():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).double()
    with pytest.raises(ValueError, match=r"module: no Lipschitz constant is known of BatchNorm1d"):
        lipschitz_bound(network)
    assert lipschitz_bound(network, {network[1]: 2.0}) > 0
    assert certify(network, normal(5, 3))[0].bound is None


def test_the_growth_of_a_step_bounds_every_linear_field():
    """|R(h W)| <= growth(h |W|) for random matrices, and R(z) itself for W = z > 0 where weights are positive."""
    for name in ("euler", "midpoint", "rk4", "dopri5"):
        method = METHODS[name]
        for seed in range(20):
            W, h = normal(3, 3, seed=seed), torch.tensor(0.5, dtype=F64)
            step = torch.func.jacrev(
                lambda y, method=method, W=W, h=h: method.step(lambda t, x: x @ W.T, mn.Euclidean().action, 0 * h, h, y)
            )
            norm = torch.linalg.matrix_norm(step(torch.zeros(3, dtype=F64)), 2)
            assert norm <= step_growth(method, 0.5 * torch.linalg.matrix_norm(W, 2).item()) + 1e-12
    assert step_growth(METHODS["rk4"], 0.7) == pytest.approx(sum(0.7**k / f for k, f in enumerate((1, 1, 2, 6, 24))))


def test_equivariance_defect():
    flow = Flow(mn.fields.from_tangent(mn.Euclidean(), lambda t, y: -y * y.square().sum(-1, keepdim=True)), "rk4")
    turn = torch.linalg.qr(normal(3, 3))[0]
    assert equivariance_defect(flow, lambda x: x @ turn.T, lambda x: x @ turn.T, normal(10, 3)) < 1e-14
    assert equivariance_defect(torch.tanh, lambda x: x @ turn.T, lambda x: x @ turn.T, normal(10, 3)) > 0.1


def test_symmetries_are_rows_of_the_table():
    flow = Flow(mn.fields.from_tangent(mn.Euclidean(), lambda t, y: -y * y.square().sum(-1, keepdim=True)), "rk4")
    turn = torch.linalg.qr(normal(3, 3))[0]

    def act(x):
        return x @ turn.T

    table = certify(flow, normal(10, 3), {"rotation": (act, act), "shift": (lambda x: x + 1, lambda x: x + 1)})
    assert table["equivariance defect, rotation"].holds is True
    assert table["equivariance defect, shift"].holds is False


def test_what_hamiltonian_flows_keep_approximately_is_shown():
    field = HamiltonianField(2, generator=rng(0)).double()
    table = certify(Flow(field, "symplectic-euler", steps=20), normal(5, 4))
    assert table["drift of H + h/2"].measured < 0.2 * table["drift of H (not"].measured
    moving = HamiltonianField(2, time="piecewise-constant", knots=4, generator=rng(0)).double()
    assert certify(Flow(moving, "stormer-verlet", steps=20), normal(5, 4))["drift of K"].measured < 0.1
    with pytest.raises(KeyError):  # steps of 1/6 jump over the jumps
        certify(Flow(moving, "stormer-verlet", steps=6), normal(5, 4))["drift of K"]


def test_samples_that_say_nothing_are_refused():
    field = GradientField(3)
    with pytest.raises(ValueError, match=r"sample: wanted at least two points .*got shape \(1, 3\)"):
        certify(field, torch.zeros(1, 3))
    with pytest.raises(ValueError, match="sample: wanted finite numbers"):
        certify(field, torch.full((2, 3), torch.nan))
