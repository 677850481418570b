"""The training of the denoiser of interferograms: reproducible, fed with what it says, and it learns."""

import itertools
import math

import pytest
import torch

from manifoldnet.errors import InputError
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser
from manifoldnet.insar.train import batches, scenes, shipped_config, squared_error, train

CONFIG = {"seed": 5, "scenes": 3, "scene_size": 40, "patch": 24, "batch": 4, "looks": [1, 4], "steps": 3, "lr": 0.1,
          "momentum": 0.9, "channels": [4, 6], "blocks": 1, "window": 3, "threads": 1}  # fmt: skip


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


def test_training_changes_every_parameter():
    before, after = InsarDenoiser(CONFIG, generator(CONFIG["seed"])), train(CONFIG)
    unchanged = [name for name, value in before.named_parameters() if torch.equal(value, after.state_dict()[name])]
    assert unchanged == []


def test_it_learns():
    """A tiny model trained for seconds is better than before and than the noise on scenes it never saw."""
    config = {**CONFIG, "scenes": 8, "scene_size": 64, "steps": 120, "batch": 6, "looks": [4]}
    models = {"before": InsarDenoiser(config, generator(5)).eval(), "after": train(config)}
    phasor, coherence, phase = next(batches({**config, "seed": 77, "batch": 40}, generator(1)))
    with torch.inference_mode():
        errors = {name: wrapped_rmse(model(phasor, coherence).angle(), phase) for name, model in models.items()}
    noisy = wrapped_rmse(phasor.angle(), phase)
    assert errors["after"] < 0.75 * noisy
    assert errors["after"] < 0.75 * errors["before"]


def test_batches():
    """Unit phasors, estimates in [0, 1] that are withheld at one look and at times at others, and the truth."""
    config = {**CONFIG, "batch": 50}
    shown = {1: [], 4: []}
    for looks in shown:
        stream = batches({**config, "looks": [looks]}, generator())
        for phasor, coherence, phase in itertools.islice(stream, 4):
            assert phasor.shape == coherence.shape == phase.shape == (50, 24, 24)
            torch.testing.assert_close(phasor.abs(), torch.ones_like(phase))
            assert coherence.min() >= 0
            assert coherence.max() <= 1
            shown[looks] += (coherence.flatten(1) > 0).any(1).tolist()
            error = wrapped_rmse(phasor.angle(), phase)
            assert 0.3 < error < math.pi / math.sqrt(3) + 0.1  # noisy, but no worse than noise alone
    assert not any(shown[1])
    share = sum(shown[4]) / len(shown[4])
    assert abs(share - 0.6) < 5 * math.sqrt(0.6 * 0.4 / len(shown[4]))


def test_patches_come_from_the_scenes():
    """Every patch is a window of a scene, perhaps flipped, transposed or negated, as its differences show."""
    phases, _ = scenes(3, 40, seed=5, stream=0)
    steps = torch.cat([phases.diff(dim=-1).flatten(), phases.diff(dim=-2).flatten()]).abs().sort().values
    _, _, phase = next(batches(CONFIG, generator()))
    found = phase.diff(dim=-1).flatten().abs()
    place = torch.searchsorted(steps, found).clamp(max=len(steps) - 1)
    nearest = torch.minimum((steps[place] - found).abs(), (steps[(place - 1).clamp(min=0)] - found).abs())
    assert nearest.max() < 1e-6


def test_streams_of_scenes_differ():
    first, second, again = scenes(2, 32, 3, 0), scenes(2, 32, 3, 1), scenes(2, 32, 3, 0)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], second[0])
    assert first[0].shape == first[1].shape == (2, 32, 32)


def test_loss_is_smallest_at_the_mean_phasor():
    """The best constant for angles theta is the mean of exp(i theta); its modulus is the resultant length."""
    angles = torch.tensor([0.3, 0.9, -0.4, 0.5])[:, None, None]
    mean = torch.polar(torch.ones_like(angles), angles).mean()
    unused = torch.zeros_like(angles)

    class Constant(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, phasor, coherence):
            return self.value

    def loss(value):
        return squared_error(Constant(value), unused, unused, angles)

    # the variance of unit numbers about their mean
    torch.testing.assert_close(loss(mean), 1 - mean.abs().square())
    for direction in (1, -1, 1j, -1j):
        assert loss(mean + 0.01 * direction) > loss(mean)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 64}, "patch.*scene_size = 40.*64"),
        ({"patch": 23}, "patch.*multiple of 2.*23"),
        ({"window": 4}, "window.*odd.*4"),
        ({"looks": [0]}, "looks"),
        ({"scene_size": 6, "patch": 6}, "size"),
        ({"lr": 1e30}, "loss"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        train({**CONFIG, **change})


def test_refused_devices():
    with pytest.raises(InputError, match="abacus"):
        train(CONFIG, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="cuda"):
            train(CONFIG, device="cuda")


def test_shipped_configuration():
    config = shipped_config()
    assert config.keys() == CONFIG.keys()
    InsarDenoiser(config)
