"""The training of the denoiser of interferograms: reproducible, fed with what it says, and it learns."""

import math
import subprocess
import sys

import pytest
import torch
import yaml

from manifoldnet.errors import InputError
from manifoldnet.insar.evaluate import scenes
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser
from manifoldnet.insar.train import shipped_config, squared_error, train
from manifoldnet.insar.training_data import SimulatedPatches
from manifoldnet.training.checkpoint import Checkpoints

CONFIG = {
    "seed": 5, "scenes": 3, "scene_size": 64, "patch": 32, "batch": 4, "steps": 3, "optimizer": "riemannian-adam",
    "lr": 0.003, "warmup": 0.05, "precision": "float32", "calibration": 1, "channels": [[4, 6], [4, 6]], "blocks": 1,
    "threads": 1,
}  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Constant(torch.nn.Module):
    """Says the same whatever it is told."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, *known):
        return list(self.outputs)


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


@pytest.mark.parametrize("optimizer", ["riemannian-adam", "riemannian-sgd"])
def test_training_changes_every_parameter_and_calibrates(optimizer):
    config = {**CONFIG, "optimizer": optimizer}
    before, after = InsarDenoiser(config, generator(CONFIG["seed"])), train(config)
    assert [n for n, value in before.state_dict().items() if torch.equal(value, after.state_dict()[n])] == []


@pytest.mark.slow
def test_a_killed_training_goes_on(tmp_path):
    whole = train(CONFIG)
    train({**CONFIG, "steps": 3}, checkpoints=tmp_path)
    assert same(train(CONFIG, checkpoints=tmp_path), whole)


def test_it_starts_from_given_weights(tmp_path):
    first, path = InsarDenoiser(CONFIG, generator(3)), tmp_path / "w.safetensors"
    first.save(path)
    after = train({**CONFIG, "lr": 1e-9}, start=path).state_dict()
    for name, value in first.net.state_dict().items():
        torch.testing.assert_close(after["net." + name], value, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"start.*channels.*4, 8.*4, 6"):
        train({**CONFIG, "channels": [[4, 8], [4, 6]]}, start=path)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """The same losses, step by step, and the same weights; both from the command line."""
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, "steps": 8}))
    seen = {}
    for processes in (1, 2):
        out, folder = tmp_path / f"{processes}.safetensors", tmp_path / str(processes)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        options = ["--config", config, "--out", out, "--checkpoints", folder]
        command = [*launcher, "-m", "manifoldnet.cli", "train", "insar", *map(str, options)]
        subprocess.run(command, check=True, capture_output=True)
        newest = Checkpoints(folder).newest()
        assert newest is not None
        seen[processes] = newest[1]["training"]["losses"], InsarDenoiser.named(out).state_dict()
    assert len(seen[1][0]) == 8
    assert seen[2][0] == pytest.approx(seen[1][0], rel=1e-5)
    for name, value in seen[1][1].items():
        torch.testing.assert_close(seen[2][1][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_learns():
    """A tiny model trained for half a minute is better than its gauge and than the noise on scenes it never saw."""
    config = {**CONFIG, "scenes": 12, "scene_size": 64, "steps": 150, "batch": 6}
    models = {"before": InsarDenoiser(config, generator(5)).eval(), "after": train(config)}
    *known, phase = SimulatedPatches({**config, "seed": 77, "batch": 40})(0)
    with torch.inference_mode():
        errors = {name: wrapped_rmse(model(*known)[-1].angle(), phase) for name, model in models.items()}
    assert errors["after"] < 0.75 * wrapped_rmse(known[0].angle(), phase)
    assert errors["after"] < 0.97 * errors["before"]


def test_batches():
    """Unit phasors or none, estimates in [0, 1], moduli about 1, and the truth; each step draws its own."""
    config = {**CONFIG, "scenes": 6, "batch": 200}
    data = SimulatedPatches(config)
    phasor, coherence, modulus, looks, phase = data(0)
    assert all(image.shape == (200, 32, 32) for image in (phasor, coherence, modulus, looks, phase))
    there = phasor.abs() > 0.5
    torch.testing.assert_close(phasor.abs(), there.float())
    assert coherence.min() >= 0
    assert coherence.max() <= 1
    assert coherence[~there].abs().max() == 0
    assert 0.05 < (~there).flatten(1).any(1).float().mean() < 0.2  # holes
    assert abs(modulus.mean() - 1) < 0.1
    shown = {"looks": looks, "moduli": (modulus - 1).abs()}
    shares = {name: (image.flatten(1).amax(1) > 0).float().mean().item() for name, image in shown.items()}
    known = 1 / looks[looks > 0]
    assert known.min() >= 0.999
    assert known.max() > 12
    for unseen in (2, 9):
        assert (known - unseen).abs().min() > 0.49
    assert (coherence[there] > 0).all()
    assert 0.3 < shares["looks"] < 0.6
    assert 0.25 < shares["moduli"] < 0.55
    noise = torch.tensor([wrapped_rmse(z.angle(), p, t) for z, p, t in zip(phasor, phase, there, strict=True)])
    assert noise.min() < 0.2  # both regimes
    assert noise.max() > 1.2
    assert noise.max() < math.pi / math.sqrt(3) + 0.15  # no worse than noise alone
    assert torch.equal(data(7)[0], SimulatedPatches(config)(7)[0])
    assert not torch.equal(data(7)[4], data(8)[4])


def test_patches_come_from_the_scenes():
    """Every patch is a window of a scene, perhaps flipped or transposed, as its differences show."""
    data = SimulatedPatches(CONFIG)
    phases = data.scenes[0]
    steps = torch.cat([phases.diff(dim=-1).flatten(), phases.diff(dim=-2).flatten()]).abs().sort().values
    found = data(0)[-1].diff(dim=-1).flatten().abs()
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
    angles = torch.tensor([0.3, 0.9, -0.4, 0.5]).reshape(1, 2, 2)
    mean = torch.polar(torch.ones_like(angles), angles).mean()
    phasor, unused = torch.ones(1, 2, 2, dtype=torch.complex64), torch.zeros_like(angles)

    def loss(value):
        return squared_error(Constant(value), phasor, unused, unused, unused, angles)

    for direction in (1, -1, 1j, -1j):
        assert loss(mean + 0.01 * direction) > loss(mean)
    half = squared_error(Constant(mean, mean), phasor, unused, unused, unused, angles)
    torch.testing.assert_close(half, 1.25 * loss(mean))  # an early stage counts for a quarter


def test_pixels_without_data_have_no_loss():
    phase = torch.zeros(1, 2, 2)
    phasor = torch.tensor([[[1, 0], [1, 1]]], dtype=torch.complex64)
    output = torch.ones(1, 2, 2, dtype=torch.complex64)
    output[0, 0, 1] = 100
    assert squared_error(Constant(output), phasor, phase, phase, phase, phase) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 80}, "patch.*scene_size = 64.*80"),
        ({"patch": 24}, "patch.*multiple of 16.*24"),
        ({"optimizer": "sgd"}, "optimizer.*riemannian-adam.*sgd"),
        ({"scene_size": 6, "patch": 32}, "scene_size = 6"),
        ({"scene_size": 48}, "scene_size.*multiple of 32.*48"),
        ({"lr": 1e30}, "loss"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        train({**CONFIG, **change})


def test_refused_devices():
    for device in ["abacus"] + ["cuda"] * (not torch.cuda.is_available()):
        with pytest.raises(InputError, match=device):
            train(CONFIG, device=device)


def test_shipped_configuration():
    config = shipped_config()
    assert config.keys() >= CONFIG.keys() - {"threads"}
    InsarDenoiser(config)
