"""The table of errors, on inputs small enough for a test."""

import math

import numpy as np
import pytest
import torch

from manifoldnet.data import load_diffusion
from manifoldnet.dti import evaluate
from manifoldnet.dti.baselines import log_euclidean_gaussian
from manifoldnet.dti.metrics import distance_to_truth, fa
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.errors import InputError

SEED = 4


@pytest.fixture(scope="module")
def model():
    config = {"width": 4, "embedding": 2, "radius2": 1}
    return DtiDenoiser(config, torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def rows(model):
    return evaluate.evaluate_phantoms(2, 12, (5.0, 20.0), model, SEED)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """dipy's scan is installed with it; the copy goes here."""
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))


def test_rows(rows):
    assert len(rows) == 10
    assert all(row.keys() == rows[0].keys() for row in rows)
    for snr in ("5", "20"):
        methods = [row["method"] for row in rows if row["data"] == f"phantom, SNR {snr}"]
        assert methods[0] == "noisy"
        assert methods[-2:] == ["manifoldnet, tensors only", "manifoldnet, with noise level"]
        assert sum("tuned" in name for name in methods) == 2
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))


def test_figures(rows):
    """The noisy input and the log-Euclidean filter, against the same phantoms drawn here."""
    for snr in (5.0, 20.0):
        pairs = evaluate._phantom_pairs(2, 12, snr, SEED, evaluate.TEST)
        here = {row["method"].split(",")[0]: row for row in rows if row["data"] == f"phantom, SNR {snr:g}"}
        noisy = [evaluate.clamped(p.noisy, p.mask) for p in pairs]
        true = torch.cat([evaluate.clamped(p.true, p.mask)[p.mask] for p in pairs])
        sigma = float(here["log-Euclidean Gaussian"]["method"].split("sigma ")[1].split()[0])
        outputs = {
            "noisy": noisy,
            "log-Euclidean Gaussian": [
                log_euclidean_gaussian(x, p.mask, sigma) for x, p in zip(noisy, pairs, strict=True)
            ],
        }
        for name, volumes in outputs.items():
            found = torch.cat([x[p.mask] for x, p in zip(volumes, pairs, strict=True)])
            assert here[name]["d2"] == pytest.approx(float(distance_to_truth(found, true).mean()), rel=1e-6)
            assert here[name]["FA error"] == pytest.approx(float((fa(found) - fa(true)).abs().mean()), rel=1e-6)
        assert here["noisy"]["dSNR dB"] == pytest.approx(0, abs=1e-6)
        assert here["log-Euclidean Gaussian"]["not SPD %"] == 0


def test_noise_falls_with_the_ratio(rows):
    noisy = {row["data"]: row["d2"] for row in rows if row["method"] == "noisy"}
    assert noisy["phantom, SNR 5"] > 3 * noisy["phantom, SNR 20"]


def test_parts_of_a_scan_share_nothing_weighted(cache, monkeypatch):
    """The two fits of a pair see different volumes, and each direction is seen."""
    seen = []
    original = evaluate.wls
    monkeypatch.setattr(evaluate, "wls", lambda signal, b, v: seen.append((b, v)) or original(signal, b, v))
    drawn = evaluate.scan_pair("small-64d", None, 12)
    assert drawn.mask.shape == (10, 10, 10)
    assert drawn.noisy[~drawn.mask].isnan().all()
    (b_first, v_first), (b_rest, v_rest) = seen
    assert (b_first <= 60).sum() == 1
    assert (b_first > 60).sum() == 12
    assert (b_rest > 60).sum() == 52
    weighted = v_first[b_first > 60]
    assert (weighted @ v_rest[b_rest > 60].T).abs().max() < 0.99999
    scan = load_diffusion("small-64d")
    together = torch.cat([weighted, v_rest[b_rest > 60]]).numpy()
    assert {tuple(v) for v in together} == {tuple(v) for v in scan.bvecs[scan.bvals > 60].astype(np.float32)}
    # the chosen directions are spread: no two are close as axes
    cosines = (weighted @ weighted.T).abs() - torch.eye(12)
    assert torch.rad2deg(cosines.max().acos()) > 20


def test_scan(cache, model):
    rows = evaluate.evaluate_scan("small-64d", model)
    assert {row["data"] for row in rows} == {"small-64d, 12 directions"}
    assert rows[0]["method"] == "noisy"
    assert rows[0]["d2"] > 0


def test_a_scan_with_too_few_directions(cache, model):
    """64 directions leave none for the reference."""
    with pytest.raises(InputError, match=r"small-64d has 64 volumes.*at least 66"):
        evaluate.evaluate_scan("small-64d", model, 60)
    with pytest.raises(InputError, match="nothing"):
        evaluate.evaluate_scan("nothing", model)


def test_clamped():
    tensors = torch.diag_embed(torch.tensor([[1e-3, 1.0, 9.0], [0.5, 0.6, 0.7]])).reshape(2, 1, 1, 3, 3)
    out = evaluate.clamped(tensors, torch.tensor([True, False]).reshape(2, 1, 1))
    torch.testing.assert_close(out[0, 0, 0], torch.diag(torch.tensor([0.05, 1.0, 4.0])))
    assert out[1].isnan().all()


@pytest.mark.skipif(not DtiDenoiser.shipped.is_file(), reason="no shipped weights")
def test_shipped_weights_lead_the_table():
    """In squared distance, before both filters, which were tuned on phantoms of the same kind."""
    rows = evaluate.evaluate_phantoms(1, 24, (8.0,))
    errors = {row["method"]: row["d2"] for row in rows}
    ours = [error for name, error in errors.items() if name.startswith("manifoldnet")]
    others = [error for name, error in errors.items() if not name.startswith("manifoldnet")]
    assert max(ours) < min(others)
