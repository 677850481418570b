import copy
import itertools
import math

import pytest
import torch
from torch import nn

from manifoldnet import SO3, SPD
from manifoldnet.errors import InputError
from manifoldnet.fields import DivergenceFree, GradientField, HamiltonianField, ManifoldGradientFlow, ResNetField
from manifoldnet.nn import Flow
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.fit import fit
from manifoldnet.training.multilevel import fit_multilevel, prolong

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


FLOWS = {
    "constant": lambda: Flow(ResNetField(2), "euler", steps=5),
    "piecewise-constant": lambda: Flow(ResNetField(2, time="piecewise-constant", knots=5, t1=2.0), steps=5, t1=2.0),
    "piecewise-linear": lambda: Flow(GradientField(2, time="piecewise-linear", knots=4), "heun2", steps=3),
    "hamiltonian": lambda: Flow(HamiltonianField(1, time="piecewise-constant", knots=3), "stormer-verlet", steps=6),
    "divergence-free": lambda: Flow(DivergenceFree(2, time="piecewise-linear", knots=3), "strang", steps=2),
    "rotations": lambda: Flow(ManifoldGradientFlow(SO3(), time="piecewise-linear", knots=5), "rkmk4", steps=4),
}


def points_of(flow):
    if flow.space.name == "SO(3)" or isinstance(flow.space, SO3):
        return SO3().random(4, 3, 3, dtype=F64, generator=seeded(1))
    return torch.randn(4, 2, dtype=F64, generator=seeded(1))


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("name", FLOWS)
def test_the_field_is_the_same_function_of_time_and_place(name, factor):
    coarse = FLOWS[name]().double()
    before = copy.deepcopy(coarse.state_dict())
    fine = prolong(coarse, factor)
    assert fine.steps == factor * coarse.steps
    x = points_of(coarse)
    t1 = coarse.t1
    for t in [*torch.linspace(-0.1, 1.1 * t1, 61, dtype=F64), *(torch.arange(13, dtype=F64) / 12 * t1)]:
        change = (fine.field(t, x) - coarse.field(t, x)).abs().max()
        assert change <= (1e-13 if "linear" in name or name in ("rotations", "divergence-free") else 0)
    assert all(torch.equal(before[key], value) for key, value in coarse.state_dict().items())
    shared = {p.data_ptr() for p in coarse.parameters()} & {p.data_ptr() for p in fine.parameters()}
    assert not shared


@pytest.mark.parametrize("name", FLOWS)
def test_prolonging_twice_is_prolonging_by_the_product(name):
    coarse = FLOWS[name]().double()
    twice, once = prolong(prolong(coarse, 2), 3), prolong(coarse, 6)
    assert twice.steps == once.steps
    for key, value in once.state_dict().items():
        assert torch.allclose(value, twice.state_dict()[key], rtol=0, atol=1e-14)


ORDERS = [
    ("piecewise-constant", "euler", 1),
    ("piecewise-constant", "rk4", 1),  # its last stage sees the next piece
    ("piecewise-constant", "midpoint", 2),
    ("piecewise-constant", "gauss4", 4),
    ("piecewise-linear", "euler", 1),
    ("piecewise-linear", "heun2", 2),
    ("piecewise-linear", "rk4", 4),
]


@pytest.mark.parametrize(("kind", "method", "order"), ORDERS)
def test_the_map_changes_by_the_error_of_the_steps(kind, method, order):
    knots = 4 if kind == "piecewise-constant" else 5
    flow = Flow(ResNetField(2, time=kind, knots=knots, generator=seeded()), method, steps=4).double()
    x = points_of(flow)
    changes = []
    for _ in range(4):
        fine = prolong(flow)
        changes.append((fine(x) - flow(x)).abs().max().item())
        flow = fine
    assert math.log2(changes[-2] / changes[-1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("kind", ["free", "positive", "simplex"])
@pytest.mark.parametrize("t1", [1.5, -1.5])
def test_learned_steps_are_cut_into_equal_ones(kind, t1):
    flow = Flow(ResNetField(2), steps=4, t1=t1, step_sizes=kind).double()
    with torch.no_grad():
        flow.step_sizes.raw.add_(0.3 * torch.randn(4, dtype=F64, generator=seeded()))
    fine = prolong(flow, 3)
    want = flow.step_sizes().repeat_interleave(3) / 3
    assert torch.allclose(fine.step_sizes(), want, rtol=1e-13, atol=0)
    assert fine.step_sizes.raw.requires_grad


@pytest.mark.parametrize("kind", ["free", "positive", "simplex"])
@pytest.mark.parametrize(("steps", "t1"), [(0, 1.0), (4, 0.0)])
def test_no_steps_and_no_time_cannot_be_learned(kind, steps, t1):
    with pytest.raises(ValueError, match=f"steps, t1: .* got {steps} and {t1}"):
        Flow(ResNetField(2), steps=steps, t1=t1, step_sizes=kind)


def test_a_network_keeps_the_rest_and_a_field_of_two_flows_is_refined_once():
    shared = ResNetField(2, time="piecewise-constant", knots=2)
    shared.b.requires_grad_(False)
    lone = ResNetField(2, time="piecewise-constant", knots=2)
    net = nn.Sequential(nn.Linear(2, 2), Flow(shared, steps=2), Flow(shared, steps=3), lone)
    fine = prolong(net)
    assert torch.equal(fine[0].weight, net[0].weight)
    assert (fine[1].steps, fine[2].steps) == (4, 6)
    assert fine[1].field is fine[2].field
    assert fine[1].field.A.shape[0] == 4
    assert not fine[1].field.b.requires_grad
    assert fine[3].A.shape[0] == 2


def test_a_field_that_waits_for_its_first_points_is_prolonged():
    field = ManifoldGradientFlow(SPD(metric="log-euclidean"), time="piecewise-constant", knots=2)
    fine = prolong(Flow(field, "rkmk4", steps=2))
    fine(torch.eye(3).expand(2, 3, 3))
    assert fine.field.A.shape[0] == fine.field.b.shape[0] == 4


BAD = {
    "factor: wanted at least 1, got 0": (Flow(ResNetField(2)), 0),
    "model: wanted a Flow or a network with some, got none": (nn.Linear(1, 1), 2),
    "model: wanted flows with a number of steps, got steps='adaptive'": (Flow(ResNetField(2), "dopri5", "adaptive"), 2),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    with pytest.raises(InputError, match=message):
        prolong(*BAD[message])


def swirl(step, n=64):
    """Points of the plane and where a whirl takes them."""
    x = torch.randn(n, 2, generator=seeded(1000 + step))
    angle = 2 * torch.exp(-0.5 * x.square().sum(1))
    c, s = angle.cos(), angle.sin()
    return x, torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], 1)


def network(steps, seed=0):
    torch.manual_seed(seed)
    field = ResNetField(4, time="piecewise-constant", knots=steps, t1=3.0, generator=seeded(seed))
    return nn.Sequential(nn.Linear(2, 4), Flow(field, "euler", steps=steps, t1=3.0), nn.Linear(4, 2))


def squared(model, x, y):
    return (model(x) - y).square().mean()


def adam(model):
    return torch.optim.Adam(model.parameters(), 2e-2)


def test_every_level_goes_on_from_the_one_before():
    levels = fit_multilevel(network(4), swirl, squared, adam, steps=[30, 20, 10])
    assert [level.depth for level in levels] == [4, 8, 16]
    assert [len(level.losses) for level in levels] == [30, 20, 10]
    assert [level.evaluations for level in levels] == [120, 160, 160]
    for before, after in itertools.pairwise(levels):
        first = squared(prolong(before.model), *swirl(30 if before is levels[0] else 50))
        assert after.losses[0] == pytest.approx(first.item(), rel=1e-5)
    assert not any(level.model.training for level in levels)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_functions_and_iterators_count_on_from_level_to_level(accumulate):
    seen = []

    def data(step):
        seen.append(step)
        return swirl(step, 4)

    fit_multilevel(network(2), data, squared, adam, steps=[3, 2], accumulate=accumulate)
    assert seen == list(range(5 * accumulate))
    fit_multilevel(network(2), (swirl(k, 4) for k in range(5)), squared, adam, steps=[3, 2])
    with pytest.raises(InputError, match="steps: wanted a number for every level, got none"):
        fit_multilevel(network(2), swirl, squared, adam, steps=[])


def test_a_training_killed_at_any_level_goes_on_to_the_bit(tmp_path):
    class Crash(BaseException):
        pass

    def run(folder, last=10**9):
        def data(step):
            if step >= last:
                raise Crash
            return swirl(step, 8)

        saves = None if folder is None else Checkpoints(folder, every=2)
        levels = fit_multilevel(network(2), data, squared, adam, steps=[5, 4, 3], checkpoints=saves)
        return [level.losses for level in levels], levels[-1].model.state_dict()

    losses, state = run(None)
    for last in (4, 5, 8, 11):
        with pytest.raises(Crash):
            run(tmp_path / str(last), last)
        found, reached = run(tmp_path / str(last))
        assert found == losses
        assert all(torch.equal(state[key], value) for key, value in reached.items())


@pytest.mark.slow
def test_coarse_to_fine_needs_fewer_layers_for_the_same_loss():
    """Measured on the whirl, three seeds: 0.0011, 0.0005, 0.0010 by 8000 layers, 0.0020, 0.0022, 0.0075 by 12800."""
    test = swirl(-1, 4000)
    for seed in range(3):
        model = network(32, seed)
        fit(model, swirl, squared, adam(model), steps=400)
        levels = fit_multilevel(network(8, seed), swirl, squared, adam, steps=[400, 150, 75])
        assert sum(level.evaluations for level in levels) == 8000 < 32 * 400
        assert squared(levels[-1].model, *test) <= squared(model, *test)
