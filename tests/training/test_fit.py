import itertools
import math

import geoopt
import pytest
import torch
from torch import nn

from manifoldnet import SO3
from manifoldnet.errors import InputError
from manifoldnet.training import fit, riemannian_sgd


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
