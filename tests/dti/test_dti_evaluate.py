"""The table of errors, on inputs small enough for a test."""

import math

import numpy as np
import pytest
import torch

from manifoldnet.dti import evaluate
from manifoldnet.dti.baselines import log_euclidean_gaussian
from manifoldnet.dti.methods import METHODS, Method, networks
from manifoldnet.dti.metrics import distance_to_truth, fa
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.dti.protocol import Trial, reference_noise, splits
from manifoldnet.errors import InputError

SEED = 4
GAUSSIANS = METHODS[:2]


@pytest.fixture(scope="module")
def model():
    config = {"members": 1, "width": 4, "embedding": 2, "radius2": 1}
    return DtiDenoiser(config, torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def rows(model):
    return evaluate.evaluate_phantoms(2, 12, (5.0, 20.0), seed=SEED, methods=[*GAUSSIANS, *networks(model)])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """dipy's scan is installed with it; the copy goes here."""
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))


def test_rows(rows):
    assert len(rows) == 10
    assert all(row.keys() == rows[0].keys() for row in rows)
    for snr in ("5", "20"):
        here = [row for row in rows if row["data"] == f"phantom, SNR {snr}"]
        assert here[0]["method"] == "noisy"
        assert [row["method"] for row in here[-2:]] == ["manifoldnet, tensors only", "manifoldnet, with signals"]
        assert [row["sees"] for row in here] == ["tensors"] * 4 + ["signals"]
        assert sum("sigma" in row["method"] for row in here) == 2
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))


def test_figures(rows):
    """The noisy input and the log-Euclidean filter, against the same phantoms drawn here."""
    for snr in (5.0, 20.0):
        cases = evaluate.phantom_cases(2, 12, snr, SEED, evaluate.TEST)
        here = {row["method"].split(",")[0]: row for row in rows if row["data"] == f"phantom, SNR {snr:g}"}
        sigma = float(here["log-Euclidean Gaussian"]["method"].split("sigma ")[1])
        outputs = {
            "noisy": [one.noisy for one in cases],
            "log-Euclidean Gaussian": [log_euclidean_gaussian(one.noisy, one.mask, sigma) for one in cases],
        }
        distances = {}
        for name, volumes in outputs.items():
            found = [(x[one.mask], one.reference[one.mask]) for x, one in zip(volumes, cases, strict=True)]
            distances[name] = np.array([float(distance_to_truth(*pair).mean()) for pair in found])
            assert here[name]["d2"] == pytest.approx(distances[name].mean(), rel=1e-6)
            differences = [float((fa(x) - fa(y)).abs().mean()) for x, y in found]
            assert here[name]["FA error"] == pytest.approx(np.mean(differences), rel=1e-6)
        gains = 10 * np.log10(distances["noisy"] / distances["log-Euclidean Gaussian"])
        row = here["log-Euclidean Gaussian"]
        assert row["dSNR dB"] == pytest.approx(gains.mean(), abs=1e-3)
        assert row["worst split"] == pytest.approx(gains.min(), abs=1e-3)
        assert row["+-"] == pytest.approx(abs(gains[0] - gains[1]) / 2, abs=1e-3)
        assert here["noisy"]["dSNR dB"] == pytest.approx(0, abs=1e-6)
        assert row["not SPD %"] == 0


def test_noise_falls_with_the_ratio(rows):
    noisy = {row["data"]: row["d2"] for row in rows if row["method"] == "noisy"}
    assert noisy["phantom, SNR 5"] > 3 * noisy["phantom, SNR 20"]


def test_scan(cache, model):
    """Two splits; a filter that harms one slice shows there."""

    def worse(case):
        out = case.reference.clone()
        out[:, :, 4] = 2 * case.noisy[:, :, 4]
        return out

    trial = Trial("block", "small-64d", 12)
    rows = evaluate.evaluate_scans([trial], [0, 1], [Method("odd", "signals", worse), *networks(model)])
    assert [row["method"] for row in rows[:2]] == ["noisy", "odd"]
    assert rows[-1]["method"] == "noise of the reference"
    assert {row["data"] for row in rows} == {"block"}
    gains, floors = [], []
    for (one,) in splits(trial, [0, 1]):
        z = 4
        inside = one.mask[:, :, z]
        before, after = (
            distance_to_truth(x[:, :, z][inside], one.reference[:, :, z][inside]).sum() for x in (one.noisy, worse(one))
        )
        gains.append(float(10 * torch.log10(before / after)))
        floors.append(float(reference_noise([one]).mean()))
    assert min(gains) < 0 < rows[1]["dSNR dB"]
    assert rows[1]["worst slice"] == pytest.approx(min(gains), abs=1e-3)
    assert rows[-1]["d2"] == pytest.approx(np.mean(floors))
    assert 3 < rows[-1]["dSNR dB"] < 9


def test_images_of_a_split_are_pooled(cache):
    """Ten separate slices have the figures of the block, but for a filter that looks across."""
    rows = [
        evaluate.evaluate_scans([Trial("x", "small-64d", 12, separate=apart)], [0], [GAUSSIANS[0]])
        for apart in (False, True)
    ]
    for column in ("d2", "FA error", "worst slice"):
        assert rows[0][0][column] == pytest.approx(rows[1][0][column])
    assert rows[0][1]["d2"] != pytest.approx(rows[1][1]["d2"])


def test_what_there_is_no_test_for(cache, model):
    with pytest.raises(InputError, match=r"small-64d has 64 volumes.*wanted 66"):
        evaluate.evaluate_scans([Trial("x", "small-64d", 60)], methods=GAUSSIANS)
    with pytest.raises(InputError, match="nothing"):
        evaluate.trials_of("nothing")
    with pytest.raises(InputError, match="mdt-multishell"):
        evaluate.trials_of("mdt-multishell")
    assert [trial.directions for trial in evaluate.trials_of("small-64d")] == [12, 32]


def test_clamped():
    tensors = torch.diag_embed(torch.tensor([[1e-3, 1.0, 9.0], [0.5, 0.6, 0.7]])).reshape(2, 1, 1, 3, 3)
    out = evaluate.clamped(tensors, torch.tensor([True, False]).reshape(2, 1, 1))
    torch.testing.assert_close(out[0, 0, 0], torch.diag(torch.tensor([0.05, 1.0, 4.0])))
    assert out[1].isnan().all()


@pytest.mark.slow
@pytest.mark.skipif(not DtiDenoiser.shipped.is_file(), reason="no shipped weights")
def test_shipped_weights_at_full_strength_beat_filters_tuned_on_phantoms_of_the_same_kind():
    rows = evaluate.evaluate_phantoms(1, 24, (8.0,), methods=[*GAUSSIANS, *networks(strength=1)])
    errors = {row["method"]: row["d2"] for row in rows}
    ours = [error for name, error in errors.items() if name.startswith("manifoldnet")]
    others = [error for name, error in errors.items() if not name.startswith("manifoldnet")]
    assert max(ours) < 0.7 * min(others)


@pytest.mark.slow
@pytest.mark.skipif(not DtiDenoiser.shipped.is_file(), reason="no shipped weights")
def test_shipped_weights_on_smooth_fields():
    """Mean squared distances on phantoms at full strength: what a CNN trained on phantoms alone had, or less."""
    limits = {"5": (0.032, 0.030), "10": (0.0135, 0.0120), "20": (0.0078, 0.0048)}
    rows = evaluate.evaluate_phantoms(3, methods=networks(strength=1))
    for snr, both in limits.items():
        found = [row["d2"] for row in rows if row["data"] == f"phantom, SNR {snr}" and row["method"] != "noisy"]
        assert found[0] <= both[0]
        assert found[1] <= both[1]
