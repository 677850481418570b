"""The training of the denoiser of diffusion tensors: reproducible, fed with what it says, and it learns."""

import itertools

import pytest
import torch

from manifoldnet.data import cached
from manifoldnet.dti.examples import batches, phantom_sources
from manifoldnet.dti.metrics import INPUT_RANGE
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.dti.train import relative_error, shipped_config, train
from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_from_vector

CONFIG = {**shipped_config(), "seed": 5, "phantoms": 3, "phantom_size": 12, "scan": None, "crop": 8, "batch": 2,
          "steps": 3, "width": 4, "embedding": 2, "radius2": 1}  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def test_one_configuration_one_model():
    torch.manual_seed(1)
    first = train(CONFIG)
    torch.manual_seed(2)  # nothing global matters
    assert same(first, train(CONFIG))
    assert not same(first, train({**CONFIG, "seed": 6}))
    assert first.config == CONFIG
    assert not first.training


def test_metric_stays_on_its_manifold():
    before, after = DtiDenoiser(CONFIG, generator(5)), train({**CONFIG, "steps": 10, "lr": 0.5})
    assert torch.equal(before.net.metric, torch.eye(2))
    assert not torch.equal(after.net.metric, torch.eye(2))
    assert torch.equal(after.net.metric, after.net.metric.mT)
    assert torch.linalg.eigvalsh(after.net.metric.detach()).min() > 0


def test_it_learns():
    """A tiny model trained for seconds does better than before on phantoms it never saw."""
    config = {**CONFIG, "phantoms": 4, "phantom_size": 16, "crop": 12, "steps": 60, "radius2": 2, "width": 8}
    fixed = next(batches([phantom_sources(3, 16, 99, 0)], 12, 12, generator(1)))
    before, after = DtiDenoiser(config, generator(5)).eval(), train(config)
    noisy, target, sigma, mask = fixed
    with torch.inference_mode():
        errors = [float(relative_error(model, noisy, target, sigma, mask)) for model in (before, after)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[1] < 0.95  # 1 is the noisy input itself


def test_batches():
    """Logarithms within the range of tissue, noise levels that are withheld at times, masks a third full."""
    stream = batches([phantom_sources(2, 12, 5, 0)], 8, 6, generator())
    known, levels = [], []
    for noisy, target, sigma, mask in itertools.islice(stream, 6):
        assert noisy.shape == target.shape == (6, 6, 8, 8, 8)
        assert sigma.shape == mask.shape == (6, 1, 8, 8, 8)
        assert mask.dtype == torch.bool
        assert (mask.flatten(1).float().mean(1) >= 1 / 3).all()
        everywhere = mask.expand_as(noisy)
        for logs in (noisy, target):
            assert (logs[~everywhere] == 0).all()
            values = torch.linalg.eigvalsh(sym_from_vector(logs.movedim(1, -1)[mask[:, 0]].double()))
            assert values.min() > torch.tensor(INPUT_RANGE[0]).log() - 1e-4
            assert values.max() < torch.tensor(INPUT_RANGE[1]).log() + 1e-4
        assert not torch.equal(noisy, target)
        assert (sigma[~mask] == 0).all()
        assert sigma.isfinite().all()
        assert (sigma >= 0).all()
        levels += [float(part[part > 0].median()) for part in sigma if (part > 0).any()]
        known += (sigma.flatten(1) > 0).any(1).tolist()
    assert 0.3 < sum(known) / len(known) < 0.95  # two in three of 36
    assert 0.5 / 30 < min(levels) < max(levels) < 1.5 / 4  # signal-to-noise ratios 4 to 30


def test_a_loss_of_one_is_the_input_and_zero_the_truth():
    noisy, target, sigma, mask = next(batches([phantom_sources(2, 12, 5, 0)], 8, 4, generator()))

    class Answers(torch.nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer

        def forward(self, logs, mask, sigma):
            return self.answer

    assert relative_error(Answers(target), noisy, target, sigma, mask) == 0
    assert relative_error(Answers(noisy), noisy, target, sigma, mask) == pytest.approx(1, abs=0.05)
    # voxels outside the mask do not count
    elsewhere = torch.where(mask, target, 100.0)
    assert relative_error(Answers(elsewhere), noisy, target, sigma, mask) == 0
    # a crop counts as much as any other, however noisy it is
    louder = noisy.clone()
    louder[0] = target[0] + 10 * (noisy[0] - target[0])
    assert relative_error(Answers(louder), louder, target, sigma, mask) == pytest.approx(1, abs=0.05)


def test_phantoms_of_one_seed():
    first, again, other = (phantom_sources(1, 12, 3, stream)[0].scene for stream in (0, 0, 1))
    assert torch.equal(first.tensors, again.tensors)
    assert first.mask.shape != other.mask.shape or not torch.equal(first.mask, other.mask)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": 13}, "crop.*12.*13"),
        ({"phantom_size": 7, "crop": 7}, "size"),
        ({"scan": "nothing"}, "nothing"),
        ({"scan": "watch"}, "watch"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        train({**CONFIG, **change})


@pytest.mark.parametrize("device", ["abacus", "cuda"])
def test_refused_devices_at_once(device, monkeypatch):
    """Before the phantoms are made and the scan is fetched."""
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.setattr("manifoldnet.dti.train.phantom_sources", None)
    with pytest.raises(InputError, match=device):
        train({**CONFIG, "scan": "tractseg"}, device=device)


@pytest.mark.skipif(cached("tractseg") is None, reason="needs manifoldnet data get tractseg")
def test_training_on_a_scan():
    config = {**CONFIG, "scan": "tractseg", "scan_slices": [20, 30]}
    model = train(config)
    assert same(model, train(config))
    assert not same(model, train({**config, "scan": None}))
    with pytest.raises(InputError, match="crop"):
        train({**config, "scan_slices": [20, 24]})
