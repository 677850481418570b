import itertools
import json
import math
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import geoopt
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, SequentialLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from manifoldnet import SO3, SPD
from manifoldnet.errors import InputError
from manifoldnet.fields import ManifoldGradientFlow
from manifoldnet.nn import Flow
from manifoldnet.training.callbacks import Callback, EarlyStopping, TensorBoard
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.fit import fit, riemannian_sgd
from manifoldnet.training.loop import clip_gradients


def batches(seed=0, size=16):
    """Endless batches of a linear regression."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([[1.0, -2.0, 0.5]])
    while True:
        x = torch.randn(size, 3, generator=generator)
        yield x, x @ truth.mT


def squared(model, x, y):
    return (model(x) - y).square().mean()


def model_at_zero():
    model = nn.Linear(3, 1)
    for p in model.parameters():
        nn.init.zeros_(p)
    return model


def run(seed=0, steps=120, lr=0.05, **options):
    model = model_at_zero()
    return model, fit(model, batches(seed), squared, riemannian_sgd(model, lr), steps=steps, **options)


def test_the_loss_falls_and_is_returned_for_each_step():
    model, losses = run()
    assert len(losses) == 120
    assert losses[-1] < 1e-3 * losses[0]
    assert torch.allclose(model.weight, torch.tensor([[1.0, -2.0, 0.5]]), rtol=0.05, atol=0.05)
    assert not model.training


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.15), (20, 0.05), (4, 0.25), (3, 0.9)])
def test_the_rise_of_the_learning_rate_may_be_as_short_as_a_step(steps, warmup):
    assert len(run(steps=steps, warmup=warmup)[1]) == steps


def test_the_same_seed_gives_the_same_training():
    before = torch.get_rng_state()
    one, losses = run(seed=3)
    two, again = run(seed=3)
    assert losses == again
    assert torch.equal(one.weight, two.weight)
    assert losses != run(seed=4)[1]
    assert before.shape == torch.get_rng_state().shape


def test_the_learning_rate_rises_to_its_peak_and_falls():
    model = model_at_zero()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []

    def loss(model, x, y):
        seen.append(optimiser.param_groups[0]["lr"])
        return squared(model, x, y)

    fit(model, batches(), loss, optimiser, steps=100, warmup=0.2)
    peak = seen.index(max(seen))
    assert max(seen) == pytest.approx(0.1, rel=0.01)
    assert abs(peak - 20) <= 2
    assert seen[0] < 0.01
    assert seen[-1] < 0.001
    assert seen[peak:] == sorted(seen[peak:], reverse=True)


def test_gradients_are_clipped():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    data = itertools.repeat((torch.ones(1, 1),))
    fit(model, data, lambda m, x: 1e6 * m(x).sum(), optimiser, steps=3, warmup=0.5, clip=0.5)
    assert model.weight.abs().item() <= 3 * 0.5 + 1e-6


def test_parameters_on_manifolds_stay_there():
    class Turn(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = geoopt.ManifoldParameter(torch.eye(3), manifold=SO3())

        def forward(self, x):
            return x @ self.r.mT

    target = SO3().random(3, 3, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    data = ((x, x @ target.mT) for x in iter(lambda: torch.randn(16, 3, generator=generator), None))
    model = Turn()
    losses = fit(model, data, squared, riemannian_sgd(model, 0.1), steps=150)
    assert losses[-1] < 1e-4 * losses[0]
    assert SO3().dist(model.r.detach(), target) < 1e-2
    assert SO3().check_point_on_manifold(model.r.detach(), explain=True) == (True, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training(bad):
    model = model_at_zero()
    count = 0

    def loss(model, x, y):
        nonlocal count
        count += 1
        return squared(model, x, y) * (bad if count == 3 else 1.0)

    with pytest.raises(InputError, match=r"loss: .*step 3"):
        fit(model, batches(), loss, riemannian_sgd(model, 0.01), steps=10)
    assert count == 3


def test_too_little_data_is_an_error():
    model = model_at_zero()
    with pytest.raises(InputError, match="data: wanted 10 batches, got 4"):
        fit(model, itertools.islice(batches(), 4), squared, riemannian_sgd(model, 0.01), steps=10)


def test_no_more_batches_are_drawn_than_steps():
    model, drawn = model_at_zero(), 0

    def counted():
        nonlocal drawn
        for batch in batches():
            drawn += 1
            yield batch

    fit(model, counted(), squared, riemannian_sgd(model, 0.01), steps=5)
    assert drawn <= 6


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match=r"device: .*'tpu'"):
        run(device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device: 'cuda'"):
            run(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_trains_on_cuda():
    model, losses = run(device="cuda")
    assert model.weight.is_cuda
    assert losses[-1] < 1e-3 * losses[0]


def test_progress_is_shown_only_on_request(capsys):
    run(steps=3)
    assert capsys.readouterr().out == ""
    run(steps=3, progress="learning")
    assert "learning" in capsys.readouterr().out


class Recorder(Callback):
    """Notes the step of every call."""

    def __init__(self):
        self.calls = []
        self.sum = 0.0

    def note(self, name, training):
        self.calls.append((name, training.step))

    def on_start(self, training):
        self.note("start", training)

    def on_step(self, training):
        self.note("step", training)
        self.sum += training.losses[-1]

    def on_epoch(self, training):
        self.note("epoch", training)

    def on_end(self, training):
        self.note("end", training)

    def state_dict(self):
        return {"sum": self.sum}

    def load_state_dict(self, state):
        self.sum = state["sum"]


def loader(n=20, batch_size=4, seed=7, **options):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    return DataLoader(data, batch_size=batch_size, shuffle=True, generator=generator, **options)


class Noisy(Dataset):
    """Samples with noise from the global random state."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        x = index + torch.randn(3)
        return x, x.sum(0, keepdim=True)


def drawing():
    while True:
        x = torch.randn(4, 3)
        yield x, x.sum(1, keepdim=True)


def of_step(step):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
    return x, x.sum(1, keepdim=True)


DATA = {
    "function": lambda: of_step,
    "function of the global state": lambda: lambda step: next(drawing()),
    "loader": loader,
    "loader that is seeded by the global state": lambda: loader(seed=None),
    "loader of noise": lambda: DataLoader(Noisy(), batch_size=5, shuffle=True),
    "list": lambda: [of_step(k) for k in range(4)],
    "iterator": lambda: batches(5),
    "iterator of the global state": drawing,
}


def dropped(folder, data, steps=11, every=4, stop=None, **options):
    """A training with dropout; ``stop``: steps until it is interrupted."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.5), nn.Linear(6, 1))
    calls = 0

    def loss(model, x, y):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        # python's own random state belongs to the shape checks here, which draw from it
        return squared(model, x, y) * (1 + 0.1 * np.random.rand() * model.training)  # noqa: NPY002

    optimizer = options.pop("optimizer", lambda m: riemannian_sgd(m, 0.05))(model)
    schedule = options.pop("schedule", lambda o: None)(optimizer)
    saves = None if folder is None else Checkpoints(folder, every)
    losses = fit(model, data, loss, optimizer, steps=steps, checkpoints=saves, schedule=schedule, **options)
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()])


def interrupted(folder, data, stop, **options):
    with pytest.raises(KeyboardInterrupt):
        dropped(folder, data, stop=stop, **options)


@pytest.mark.parametrize("name", DATA)
def test_a_resume_is_the_same_training_for_all_kinds_of_data(tmp_path, name):
    losses, weights = dropped(None, DATA[name]())
    for stop in (3, 6, 10):
        interrupted(tmp_path / str(stop), DATA[name](), stop)
        torch.randn(stop)  # whatever else the new process did
        found, reached = dropped(tmp_path / str(stop), DATA[name]())
        assert found == losses
        assert torch.equal(reached, weights)
        assert dropped(tmp_path / str(stop), DATA[name]())[0] == losses


SETTINGS = {
    "accumulated": {"accumulate": 2},
    "adam": {"optimizer": lambda m: torch.optim.AdamW(m.parameters(), 1e-2, amsgrad=True)},
    "lbfgs-like lists": {"optimizer": lambda m: torch.optim.Rprop(m.parameters(), 1e-2)},
    "sequence": {
        "schedule": lambda o: SequentialLR(o, [ConstantLR(o), CosineAnnealingLR(o, 5)], [3]),
    },
    "lambda": {"schedule": lambda o: LambdaLR(o, lambda k: 1 / (1 + k))},
    "bfloat16": {"precision": "bfloat16"},
    "evaluated": {"evaluation": loader(seed=None), "epoch": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resume_is_the_same_training_with_all_options(tmp_path, name):
    losses, weights = dropped(None, loader(), **SETTINGS[name])
    interrupted(tmp_path, loader(), 10, every=2, **SETTINGS[name])
    assert len(Checkpoints(tmp_path).paths()) == 2
    found, reached = dropped(tmp_path, loader(), every=2, **SETTINGS[name])
    assert found == losses
    assert torch.equal(reached, weights)


class Private:
    """Passes that go on with random numbers of their own."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        for _ in range(3):
            x = torch.randn(4, 3, generator=self.generator)
            yield x, x


def test_other_data_are_refused(tmp_path):
    interrupted(tmp_path / "a", batches(5), 6)
    with pytest.raises(InputError, match="data: batch 4 is not the one"):
        dropped(tmp_path / "a", batches(6))
    used = batches(5)
    next(used)
    with pytest.raises(InputError, match="data: batch 4 is not the one"):
        dropped(tmp_path / "a", used)
    with pytest.raises(InputError, match="data: wanted the 4 batches up to the checkpoint again, got fewer"):
        dropped(tmp_path / "a", itertools.islice(batches(5), 3))
    with pytest.raises(InputError, match="wanted data 'passes of 5 batches', got 'an iterator'"):
        dropped(tmp_path / "a", loader())
    interrupted(tmp_path / "b", loader(seed=3), 6)
    dropped(tmp_path / "b", loader(seed=4))  # the state of the loader's generator comes from the checkpoint
    interrupted(tmp_path / "c", Private(), 6)
    with pytest.raises(InputError, match="data: batch 4 is not the one"):
        dropped(tmp_path / "c", Private())
    step = itertools.count()
    interrupted(tmp_path / "d", lambda _: of_step(next(step)), 6)
    with pytest.raises(InputError, match="data: batch 4 is not the one"):
        dropped(tmp_path / "d", lambda _: of_step(next(step)))


CHANGES = {
    "steps 12, got 11": {"steps": 12},
    "accumulate 2, got 1": {"accumulate": 2},
    "options.0.lr 0.04, got 0.05": {"optimizer": lambda m: riemannian_sgd(m, 0.04)},
    "optimizer 'Adam', got 'RiemannianSGD'": {"optimizer": lambda m: torch.optim.Adam(m.parameters(), 0.05)},
    "schedule 'ConstantLR', got 'NoneType'": {"schedule": ConstantLR},
    "callbacks.0 'Recorder', got None": {"callbacks": [Recorder()]},
    "precision 'bfloat16', got 'float32'": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("message", CHANGES)
def test_another_training_is_refused(tmp_path, message):
    interrupted(tmp_path, of_step, 6)
    with pytest.raises(InputError, match=r"checkpoints: .*step-000000004\S+ is of another training: wanted " + message):
        dropped(tmp_path, of_step, **CHANGES[message])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Linear(3, 2), "model.0 'Linear"),
        (
            nn.Linear(3, 1, dtype=torch.float64),
            r"tensors.weight '\(1, 3\) torch.float64', got '\(1, 3\) torch.float32'",
        ),
        (nn.Sequential(nn.Linear(3, 1), nn.Tanh()), "model"),
    ],
)
def test_another_model_is_refused(tmp_path, other, message):
    for model in (nn.Linear(3, 1), other):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with pytest.raises(InputError, match=message) if model is other else nullcontext():
            fit(model, of_step, squared, optimizer, steps=2, checkpoints=tmp_path)


def test_a_damaged_checkpoint_costs_steps_only(tmp_path):
    losses, weights = dropped(None, loader())
    interrupted(tmp_path, loader(), 10)
    newest = Checkpoints(tmp_path).paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="step-000000008.*going back"):
        found, reached = dropped(tmp_path, loader())
    assert found == losses
    assert torch.equal(reached, weights)


def test_callbacks_are_called_and_their_states_kept(tmp_path):
    first, second = Recorder(), Recorder()
    options = {"epoch": 3, "evaluation": [of_step(0)]}
    interrupted(tmp_path, of_step, 6, steps=8, callbacks=[first], **options)
    assert first.calls == [("start", 0), *[("step", k) for k in (1, 2, 3)], ("epoch", 3), ("step", 4)]
    losses, _ = dropped(tmp_path, of_step, steps=8, callbacks=[second], **options)
    assert second.calls == [("start", 4), ("step", 5), ("step", 6), ("epoch", 6), ("step", 7), ("step", 8), ("end", 8)]
    assert second.sum == pytest.approx(sum(losses), rel=1e-12)


@pytest.mark.parametrize("length", [3, 5])
def test_an_epoch_is_a_pass_over_the_data(length):
    seen = Recorder()
    model = model_at_zero()
    fit(model, [of_step(k) for k in range(length)], squared, riemannian_sgd(model, 0.01), steps=10, callbacks=[seen])
    assert [k for name, k in seen.calls if name == "epoch"] == list(range(length, 11, length))


def test_evaluation_leaves_the_training_as_it_is():
    want = dropped(None, loader())
    evaluated = loader(seed=None)
    got = dropped(None, loader(), evaluation=evaluated, epoch=2)
    assert got[0] == want[0]
    assert torch.equal(got[1], want[1])
    same = loader()
    assert dropped(None, same, evaluation=same, epoch=2)[0] == want[0]


def test_evaluations_are_means_over_samples_in_evaluation_mode():
    kept = []

    class Keep(Callback):
        def on_epoch(self, training):
            assert training.model.training
            kept.append((training.evaluations[-1], [p.detach().clone() for p in training.model.parameters()]))

    x, y = of_step(3)
    data = [(x[:2], y[:2]), (x[2:], y[2:])]
    dropped(None, of_step, evaluation=data, epoch=5, callbacks=[Keep()])
    assert [step for (step, _), _ in kept] == [5, 10]
    for (_, value), (A, a, B, b) in kept:
        assert value == pytest.approx(((x @ A.mT + a) @ B.mT + b - y).square().mean().item(), rel=1e-5)
    with pytest.raises(InputError, match="evaluation: wanted what can be passed over again"):
        run(steps=2, evaluation=batches())
    with pytest.raises(InputError, match="evaluation: wanted at least one batch, got none"):
        run(steps=2, evaluation=[])


def test_early_stopping_ends_at_the_best_model(tmp_path):
    """A learning rate that explodes late: the evaluation falls, then grows."""
    x, y = of_step(0)

    def run(folder, stop=None):
        model, calls = model_at_zero(), 0
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        schedule = LambdaLR(optimizer, lambda k: 0.05 if k < 20 else 3.0)

        def loss(model, x, y):
            nonlocal calls
            calls += model.training
            if calls == stop:
                raise KeyboardInterrupt
            return squared(model, x, y)

        stopping = EarlyStopping(patience=2, least_gain=1e-6)
        saves = None if folder is None else Checkpoints(folder, every=1)
        losses = fit(model, of_step, loss, optimizer, steps=100, schedule=schedule, evaluation=[(x, y)], epoch=4,
                     callbacks=[stopping], clip=math.inf, checkpoints=saves)  # fmt: skip
        return losses, stopping.best, squared(model, x, y).item()

    losses, best, reached = run(None)
    assert len(losses) == 28  # epochs end at 20, the best, 24 and 28
    assert reached == pytest.approx(best)
    for stop in (10, 22, 27):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / str(stop), stop)
        assert run(tmp_path / str(stop)) == (losses, best, reached)
        assert run(tmp_path / str(stop)) == (losses, best, reached)


def test_early_stopping_wants_evaluations():
    with pytest.raises(InputError, match="EarlyStopping wants evaluation data"):
        run(steps=2, callbacks=[EarlyStopping(2)])
    with pytest.raises(InputError, match=r"patience, least_gain: .* got 0"):
        EarlyStopping(0)


def test_tensorboard_is_asked_for_only_when_wanted(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoard(tmp_path)
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append(("from", purge_step))

        def add_scalar(self, name, value, step):
            assert math.isfinite(value)
            written.append((name, step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    run(steps=2, callbacks=[TensorBoard(tmp_path)], evaluation=[of_step(0)])
    step = [("loss/training", 1), ("lr", 1), ("gradient norm", 1)]
    assert written == [("from", 1), *step, *[(name, 2) for name, _ in step], ("loss/evaluation", 2), "closed"]


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_are_one_large_batch(accumulate):
    """Momentum's first steps: sums of gradients."""

    def large(step):
        parts = [of_step(accumulate * step + k) for k in range(accumulate)]
        return tuple(torch.cat(p) for p in zip(*parts, strict=True))

    one, two = model_at_zero().double(), model_at_zero().double()
    as_double = lambda f: lambda step: tuple(p.double() for p in f(step))  # noqa: E731
    options = {"steps": 5, "clip": 0.5}
    many = fit(one, as_double(of_step), squared, riemannian_sgd(one, 0.1), accumulate=accumulate, **options)
    few = fit(two, as_double(large), squared, riemannian_sgd(two, 0.1), **options)
    assert many == pytest.approx(few, rel=1e-13)
    assert torch.allclose(one.weight, two.weight, rtol=1e-13)


class OnManifolds(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        r = SO3().random(4, 3, 3, dtype=dtype, generator=generator)
        s = SPD(n=3).random(2, 3, 3, dtype=dtype, generator=generator)
        self.r = geoopt.ManifoldParameter(r, manifold=SO3())
        self.s = geoopt.ManifoldParameter(s, manifold=SPD(n=3))
        self.w = nn.Parameter(torch.randn(5, dtype=dtype, generator=generator))
        self.unused = nn.Parameter(torch.zeros(3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_are_those_of_riemannian_gradients(dtype):
    """The norm is the steepest slope: the largest derivative along geodesics of unit speed."""
    model = OnManifolds(dtype)
    for p in (model.r, model.s, model.w):
        p.grad = torch.randn(p.shape, dtype=dtype, generator=torch.Generator().manual_seed(p.numel()))
    want = model.w.grad.square().sum()
    for p, space in ((model.r, SO3()), (model.s, SPD(n=3))):
        x = p.detach()
        slope = space.egrad2rgrad(x, p.grad)
        want = want + (p.grad * slope).sum()  # dF(grad F) = |grad F|^2, the metric not being asked
    before = model.s.grad.clone()
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    assert clip_gradients(model, math.inf).item() == pytest.approx(want.sqrt().item(), rel=tolerance)
    assert torch.equal(model.s.grad, before)
    clip_gradients(model, 0.1)
    assert clip_gradients(model, 0.1).item() == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(model.s.grad / before, (model.s.grad / before).mean(), rtol=1e-4)
    assert model.unused.grad is None


def test_the_norm_does_not_depend_on_the_unit_of_a_matrix():
    norms = []
    for unit in (1.0, 1e3):
        model = OnManifolds(torch.float64)
        with torch.no_grad():
            model.s.mul_(unit)
        model.s.grad = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / unit
        norms.append(clip_gradients(model, math.inf).item())
    assert norms[0] == pytest.approx(norms[1], rel=1e-10)


def test_plain_parameters_are_clipped_as_torch_does():
    one, two = nn.Linear(4, 3), nn.Linear(4, 3)
    two.load_state_dict(one.state_dict())
    for model in (one, two):
        model(torch.ones(2, 4)).square().sum().backward()
    assert torch.equal(clip_gradients(one, 0.3), nn.utils.clip_grad_norm_(two.parameters(), 0.3))
    assert torch.equal(one.weight.grad, two.weight.grad)


def test_a_model_without_values_is_resumed(tmp_path):
    space = SPD(metric="log-euclidean")
    x = space.random(4, 3, 3, generator=torch.Generator().manual_seed(0))

    def run(folder, stop=None):
        field = ManifoldGradientFlow(space, generator=torch.Generator().manual_seed(1))
        flow, calls = Flow(field, "rkmk4", steps=1), 0

        def loss(model, x):
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt
            return model(x).square().mean()

        saves = None if folder is None else Checkpoints(folder, every=1)
        return fit(flow, [(x,)], loss, torch.optim.SGD(flow.parameters(), 0.01), steps=4, checkpoints=saves)

    losses = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 3)
    assert run(tmp_path) == losses


def test_mixed_precision_leaves_no_trace_in_the_model():
    seen = []

    def loss(model, x, y):
        out = model(x)
        seen.append((nn.functional.linear(x, model.weight).dtype, out.dtype))
        return (out - y).square().mean()

    model = model_at_zero()
    losses = fit(model, batches(), loss, riemannian_sgd(model, 0.05), steps=60, precision="bfloat16")
    assert losses[-1] < 0.02 * losses[0]
    x = torch.randn(64, 3)
    assert torch.equal(model(x), nn.functional.linear(x, model.weight, model.bias))
    _, plain = run(steps=60)
    assert losses != plain
    assert run(steps=60)[1] == plain


BAD = {
    "steps: wanted at least 1, got 0": {"steps": 0},
    "accumulate: wanted at least 1, got 0": {"accumulate": 0},
    "epoch: wanted at least 1, got 0": {"epoch": 0},
    "warmup: wanted a share between 0 and 1, got 1.5": {"warmup": 1.5},
    "clip: wanted a positive norm, got nan": {"clip": math.nan},
    "precision: wanted one of float32, bfloat16, float16, got 'int8'": {"precision": "int8"},
    "precision: 'float16' wants device 'cuda'": {"precision": "float16"},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_options_are_named(message):
    with pytest.raises(InputError, match=message):
        run(**BAD[message])


def test_one_step_is_enough():
    assert len(run(steps=1)[1]) == 1


def test_a_list_without_batches_is_an_error():
    model = model_at_zero()
    with pytest.raises(InputError, match="data: wanted 3 batches, got 0"):
        fit(model, [], squared, riemannian_sgd(model, 0.01), steps=3)


PROGRAM = """
import json, os, sys
import torch
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.fit import fit

def of_step(step):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
    return x, x.sum(1, keepdim=True)

def loss(model, x, y):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os._exit(1)
    return (torch.nn.functional.dropout(model(x), float(sys.argv[4])) - y).square().mean()

calls = 0
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
torch.manual_seed(int(os.environ.get("RANK", 0)))
losses = fit(model, of_step, loss, torch.optim.Adam(model.parameters(), 0.1), steps=9, evaluation=[of_step(77)],
             accumulate=int(sys.argv[3]), epoch=3, checkpoints=Checkpoints(sys.argv[1], 2))
if os.environ.get("RANK", "0") == "0":
    print(json.dumps([losses, model.weight.tolist()]))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_share_the_batches_and_are_resumed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(folder, processes, stop=0, accumulate=1, dropout=0.0):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        arguments = [program, tmp_path / folder, stop, accumulate, dropout]
        done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=not stop)
        return None if stop else json.loads(done.stdout.splitlines()[-1])

    two, one = run("two", 2), run("one", 1, accumulate=2)
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two[1][0] == pytest.approx(one[1][0], rel=1e-5)
    run("killed", 2, stop=7, dropout=0.3)
    assert len(Checkpoints(tmp_path / "killed").paths()) == 2
    assert run("killed", 2, dropout=0.3) == run("whole", 2, dropout=0.3)
