"""The training of the denoiser of diffusion tensors: reproducible, fed with what it says, and it learns."""

import importlib

import numpy as np
import pytest
import torch

from manifoldnet.data import cached
from manifoldnet.dti import uncertainty
from manifoldnet.dti.examples import PHANTOM_DIRECTIONS, Crops, Pool, phantom_sources
from manifoldnet.dti.metrics import INPUT_RANGE, fa
from manifoldnet.dti.model import COUNTS, DtiDenoiser
from manifoldnet.dti.train import LEAST, loss_function, shipped_config, train
from manifoldnet.errors import InputError
from manifoldnet.linalg import affine_squared_distance, sym_from_vector
from manifoldnet.training.ahead import Ahead

CONFIG = {**shipped_config(), "members": 1, "seed": 5, "phantoms": 3, "phantom_size": 12, "scans": [], "crop": 8,
          "slab": 10, "batch": 2, "signals_every": 2, "steps": 3, "refinement": 1, "width": 4, "embedding": 2,
          "radius2": 1}  # fmt: skip


SCAN = {"name": "tractseg", "slices": [20, 30], "block": 1, "share": 0.6, "matched": True}


@pytest.fixture(autouse=True)
def no_calibration(request, monkeypatch):
    """It takes longer than three steps; the last test has it."""
    if "calibrated" not in request.node.name:
        monkeypatch.setattr(importlib.import_module("manifoldnet.dti.train"), "calibrate", lambda *given: None)


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
    before, after = (model.net.members[0].metric.detach() for model in (before, after))
    assert torch.equal(before, torch.eye(2))
    assert not torch.equal(after, torch.eye(2))
    assert torch.equal(after, after.mT)
    assert torch.linalg.eigvalsh(after).min() > 0


def test_members_are_what_their_seeds_give(tmp_path):
    """Each is the network of a configuration of its own, and has its own checkpoints."""
    config = {**CONFIG, "members": 3}
    of_all = train(config, checkpoints=tmp_path)
    for k, member in enumerate(of_all.net.members):
        assert same(member, train({**CONFIG, "seed": 5 + k}).net.members[0])
    kept = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("step-*")}
    assert kept == {"member-1", "member-2", "member-3"}
    assert same(of_all, train(config, checkpoints=tmp_path))
    given = Crops([Pool(1.0, phantom_sources(1, 12, 5, 0))], config)(1)[:6]
    given = given[0], given[3], given[2], *given[4:]
    with torch.inference_mode():
        mean = sum(member(*given) for member in of_all.net.members) / 3
        torch.testing.assert_close(of_all(*given), mean, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(of_all.net.members[0](*given), mean, atol=1e-3)


@pytest.mark.slow
def test_it_learns():
    """A tiny model trained for seconds does better than before on phantoms it never saw."""
    config = {**CONFIG, "phantoms": 4, "phantom_size": 16, "crop": 12, "steps": 60, "radius2": 2, "width": 8}
    unseen = Crops([Pool(1.0, phantom_sources(3, 16, 99, 0))], {**config, "batch": 12})
    before, after, loss = DtiDenoiser(config, generator(5)).eval(), train(config), loss_function(5.0)
    for step in (0, 1):  # without and with signals
        with torch.inference_mode():
            errors = [float(loss(model, *unseen(step))) for model in (before, after)]
        assert errors[1] < errors[0] - 0.05
        assert errors[1] < -0.05  # 0 is the noisy input itself


def test_crops():
    """Logarithms within the range of tissue, what is known is withheld at times, masks a third full."""
    crops = Crops([Pool(1.0, phantom_sources(2, 12, 5, 0))], {**CONFIG, "batch": 6})
    told, counts, levels, flat = [], [], [], 0
    for step in range(12):
        noisy, target, sigma, mask, directions, filtered, matched = crops(step)
        assert matched.tolist() == [False] * 6
        shape = noisy.shape[2:]
        assert shape in ((8, 8, 8), (10, 10, 1))
        flat += shape[2] == 1
        assert noisy.shape == target.shape == (6, 6, *shape)
        assert sigma.shape == mask.shape == (6, 1, *shape)
        assert mask.dtype == torch.bool
        assert (mask.flatten(1).float().mean(1) >= 1 / 3).all()
        assert filtered.shape == (6, 6 * (step % 2), *shape)
        everywhere = mask.expand_as(noisy)
        for logs in (noisy, target, *([filtered] if step % 2 else [])):
            assert (logs[~everywhere] == 0).all()
            values = torch.linalg.eigvalsh(sym_from_vector(logs.movedim(1, -1)[mask[:, 0]].double()))
            assert values.min() > torch.tensor(INPUT_RANGE[0]).log() - 1e-4
            assert values.max() < torch.tensor(INPUT_RANGE[1]).log() + 1e-4
        assert not torch.equal(noisy, target)
        assert (sigma[~mask] == 0).all()
        assert sigma.isfinite().all()
        assert (sigma >= 0).all()
        levels += [float(part[part > 0].median()) for part in sigma if (part > 0).any()]
        known = (sigma.flatten(1) > 0).any(1).tolist()
        assert all(known) or step % 2 == 0
        told += known * (step % 2 == 0)
        counts += directions.tolist()
    assert 0 < flat < 12
    assert 0 < sum(told) / len(told) < 0.5  # one in five of 36
    assert 0.5 < sum(count > 0 for count in counts) / len(counts) < 0.95  # four in five of 72
    assert {count for count in counts if count} <= set(PHANTOM_DIRECTIONS)
    assert (min(PHANTOM_DIRECTIONS), max(PHANTOM_DIRECTIONS)) == COUNTS  # what networks are told is clamped to it
    assert 0.5 / 40 < min(levels) < max(levels) < 1.5 / 4  # signal-to-noise ratios 4 to 40


def test_refinement_goes_on_with_new_crops(tmp_path, monkeypatch):
    module = importlib.import_module("manifoldnet.dti.train")
    drawn, rates, weights = [], [], []
    taken = Crops.__call__
    monkeypatch.setattr(Crops, "__call__", lambda self, step: drawn.append(step) or taken(self, step))
    fit = module.fit
    monkeypatch.setattr(module, "fit", lambda *given, **options: rates.append(given[3]) or fit(*given, **options))
    of_weights = module.loss_function
    monkeypatch.setattr(module, "loss_function", lambda *given: weights.append(given) or of_weights(*given))
    wanted = {"tensors": 70.0, "signals": 40.0}
    refined = train({**CONFIG, "fa_weight": 3.0, "refinement": 2, "refined_fa_weight": wanted}, checkpoints=tmp_path)
    assert drawn == [0, 1, 2, 3, 4]
    assert weights == [(3.0, None), (3.0, wanted)]
    assert [optimizer.defaults["lr"] for optimizer in rates] == [CONFIG["lr"], CONFIG["lr"] / 3]
    assert not same(refined, train({**refined.config, "refinement": 0}))
    drawn.clear()
    assert same(refined, train(refined.config, checkpoints=tmp_path))  # from both last checkpoints
    assert drawn == []


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.05])
def test_a_share_of_the_refinement(share):
    """Every parameter is at that share of the way from where the first part of the training ended."""
    config = {**CONFIG, "refinement": 2, "lr": 0.3}
    start = train({**config, "refinement": 0}).state_dict()
    end = train({**config, "refined_share": 1.0}).state_dict()
    for name, value in train({**config, "refined_share": share}).state_dict().items():
        if ".error." in name:
            continue
        expected = (1 - share) * start[name].double() + share * end[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        assert value.numel() == 1 or not torch.equal(start[name], end[name])


@pytest.mark.parametrize("flat", [0.0, 1.0])
def test_single_slices(flat):
    crops = Crops([Pool(1.0, phantom_sources(2, 12, 5, 0))], {**CONFIG, "flat": flat})
    assert {crops(step).noisy.shape[2:] for step in range(4)} == {(10, 10, 1) if flat else (8, 8, 8)}


@pytest.mark.parametrize("every", [1, 2, 3])
def test_how_many_crops_have_signals(every):
    crops = Crops([Pool(1.0, phantom_sources(2, 12, 5, 0))], {**CONFIG, "batch": 1, "signals_every": every})
    found = [crops(step).filtered.shape[1] > 0 for step in range(6)]
    assert sum(found) == 6 // every
    assert sum(found[:every]) == 1


def test_crops_are_a_function_of_the_step_in_any_process():
    crops = Crops([Pool(1.0, phantom_sources(2, 12, 5, 0))], CONFIG)
    ahead = Ahead(crops, 2)
    for step in (0, 1, 2, 7, 8):
        for part, again in zip(crops(step), ahead(step), strict=True):
            assert torch.equal(part, again)
    assert not torch.equal(crops(0).noisy, crops(2).noisy)


def test_workers_change_nothing():
    assert same(train(CONFIG), train(CONFIG, workers=2))


def test_the_loss_is_the_logarithm_of_what_is_left_of_the_noise():
    noisy, target, sigma, mask, directions, filtered, matched = Crops(
        [Pool(1.0, phantom_sources(2, 12, 5, 0))], {**CONFIG, "batch": 4}
    )(0)  # fmt: skip

    told = []

    class Answers(torch.nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer

        def forward(self, logs, mask, sigma, directions, filtered):
            assert filtered is (told[-1] if told[-1].shape[1] else None)
            return self.answer

    def loss(answer, given=noisy, of_matched=None, matched=matched, of=torch.log, fit=filtered):
        told.append(fit)
        error = loss_function(5.0, of_matched, of)
        return float(error(Answers(answer), given, target, sigma, mask, directions, fit, matched))

    squares = [
        float(affine_squared_distance(*(matrices(x[k])[mask[k, 0]] for x in (noisy, target))).mean()) for k in range(4)
    ]
    best = np.mean(np.log(LEAST / (np.array(squares) + LEAST)))
    assert loss(target) == pytest.approx(best, abs=1e-4)
    bias = [
        float((fa(matrices(noisy[k])[mask[k, 0]]) - fa(matrices(target[k])[mask[k, 0]])).mean()) for k in range(4)
    ]  # fmt: skip
    assert loss(noisy) == pytest.approx(5 * np.mean(np.square(bias)), abs=1e-3)  # it rounds FA near 0
    some = torch.tensor([False, True, True, False])
    expected = np.mean(np.where(some, 50, 5) * np.square(bias))
    weights = {"tensors": 50.0, "signals": 20.0}
    assert loss(noisy, of_matched=weights) == pytest.approx(loss(noisy), abs=1e-6)
    assert loss(noisy, of_matched=weights, matched=some) == pytest.approx(expected, rel=0.02)
    expected = np.mean(np.where(some, 20, 5) * np.square(bias))
    assert loss(noisy, of_matched=weights, matched=some, fit=noisy) == pytest.approx(expected, rel=0.02)
    # the ratio in the place of its logarithm
    assert loss(noisy, of=torch.clone) == pytest.approx(1 + loss(noisy), abs=1e-6)
    # voxels outside the mask do not count
    assert loss(torch.where(mask, target, 3.0)) == loss(target)
    # half the way is worth log(.25) to every crop whose FA is right, however noisy it is
    for noise in (0.2, 2.0):
        larger = target + noise * torch.tensor([1.0, 0, 1, 0, 0, 1])[:, None, None, None] * mask
        assert loss(torch.lerp(larger, target, 0.5), larger) == pytest.approx(np.log(0.25), abs=0.03)


def matrices(logs):
    """Tensors (x, y, z, 3, 3) of coordinates of logarithms (6, x, y, z)."""
    return torch.linalg.matrix_exp(sym_from_vector(logs.movedim(0, -1)).double())


def test_phantoms_of_one_seed():
    first, again, other = (phantom_sources(1, 12, 3, stream)[0].scene for stream in (0, 0, 1))
    assert torch.equal(first.tensors, again.tensors)
    assert first.mask.shape != other.mask.shape or not torch.equal(first.mask, other.mask)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": 13}, "crop.*12.*13"),
        ({"slab": 13}, "slab.*12.*13"),
        ({"phantom_size": 7, "crop": 7}, "size"),
        ({"scans": [{**SCAN, "name": "nothing"}]}, "nothing"),
        ({"scans": [{**SCAN, "name": "watch"}]}, "watch"),
        ({"scans": [SCAN, SCAN]}, r"scans: .*1\.2"),
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
        train({**CONFIG, "scans": [SCAN]}, device=device)


@pytest.mark.slow
@pytest.mark.skipif(cached("tractseg") is None, reason="needs manifoldnet data get tractseg")
def test_training_on_a_scan():
    config = {**CONFIG, "scans": [SCAN]}
    model = train(config)
    assert same(model, train(config))
    assert not same(model, train({**config, "scans": []}))
    with pytest.raises(InputError, match="crop"):
        train({**config, "scans": [{**SCAN, "slices": [20, 24]}]})
    with pytest.raises(InputError, match="crop"):  # five slices of means
        train({**config, "scans": [{**SCAN, "block": 2}]})


def test_a_trained_model_is_calibrated(monkeypatch):
    monkeypatch.setattr(uncertainty, "PHANTOMS", 1)
    start, trained = DtiDenoiser(CONFIG, generator(5)), train({**CONFIG, "steps": 1})
    after, before = (model.net.members[0].error for model in (trained, start))
    assert not torch.equal(after.weight, before.weight)
    assert after.bias.isfinite().all()
