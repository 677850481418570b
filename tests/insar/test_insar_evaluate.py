"""The table of errors, on inputs small enough for a test."""

import math

import numpy as np
import pytest
import torch

from manifoldnet.insar import baselines, evaluate
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.train import scenes

COUNT, SIZE, SEED = 3, 48, 4


@pytest.fixture(scope="module")
def rows():
    model = InsarDenoiser({"channels": [4, 4], "blocks": 1, "window": 3}, torch.Generator().manual_seed(0)).eval()
    return evaluate.evaluate(COUNT, SIZE, (1.0, 4.0), model, SEED)


def test_methods(rows):
    names = {looks: [row["method"] for row in rows if row["looks"] == looks] for looks in ("1", "4")}
    assert len(rows) == len(names["1"]) + len(names["4"])
    assert names["1"][-1] == "manifoldnet, phase only"  # at one look there is no coherence to be had
    assert names["4"][-1] == "manifoldnet, with coherence"
    for methods in names.values():
        assert methods[0] == "noisy"
        assert sum("tuned" in name for name in methods) == 2
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_figures_of_the_noisy_input_and_a_filter(rows):
    """Against the errors of the same scenes drawn here."""
    for looks in (1.0, 4.0):
        phase, coherence, observed, _ = evaluate._observed(COUNT, SIZE, looks, SEED, evaluate.TEST)
        expected = {"noisy": observed.angle(), "boxcar 5x5": baselines.boxcar(observed, 5).angle()}
        for name, estimate in expected.items():
            (row,) = [row for row in rows if (row["looks"], row["method"]) == (f"{looks:g}", name)]
            arcs = np.angle(np.exp(1j * (estimate - phase).double().numpy()))
            assert row["RMSE"] == pytest.approx(np.sqrt(np.mean(arcs**2)), rel=1e-4)
            low = arcs[coherence.numpy() < 0.3]
            assert row["RMSE <.3"] == pytest.approx(np.sqrt(np.mean(low**2)), rel=1e-4)
    noisy = [row for row in rows if row["method"] == "noisy"]
    assert [row["residues left %"] for row in noisy] == [100, 100]
    assert [row["dSNR dB"] for row in noisy] == [0, 0]


def test_share_of_scenes_on_which_ours_is_better(rows):
    for row in rows:
        last = [other["method"] for other in rows if other["looks"] == row["looks"]][-1]
        if row["method"] == last:
            assert math.isnan(row["ours better %"])
        else:
            assert 0 <= row["ours better %"] <= 100
    model = InsarDenoiser({"channels": [4, 4], "blocks": 1, "window": 3}, torch.Generator().manual_seed(0)).eval()
    phase, _, observed, _ = evaluate._observed(COUNT, SIZE, 1.0, SEED, evaluate.TEST)
    wins = [
        wrapped_rmse(denoise(z, model=model), truth) < wrapped_rmse(baselines.boxcar(z, 7).angle(), truth)
        for z, truth in zip(observed, phase, strict=True)
    ]
    (row,) = [row for row in rows if row["method"] == "boxcar 7x7" and row["looks"] == "1"]
    assert row["ours better %"] == pytest.approx(100 * np.mean(wins))


def test_tuned_filters_are_the_best_of_their_kind(rows):
    """On the tuning scenes no other parameter of the grid is better."""
    for looks in (1.0, 4.0):
        phase, _, observed, _ = evaluate._observed(3, SIZE, looks, SEED, evaluate.TUNING)
        errors = {s: wrapped_rmse(baselines.gaussian(observed, s).angle(), phase) for s in evaluate.SIGMAS}
        best = min(errors, key=errors.get)
        assert any(row["method"] == f"Gaussian, sigma {best:g} (tuned)" for row in rows if row["looks"] == f"{looks:g}")


def test_scenes_are_not_those_of_the_training_nor_of_the_tuning():
    drawn = [scenes(2, 32, SEED, stream)[0] for stream in (0, evaluate.TEST, evaluate.TUNING)]
    assert not any(torch.equal(a, b) for k, a in enumerate(drawn) for b in drawn[:k])


def test_shipped_weights_lead_the_table():
    """Before every filter, tuned or not, with and without coherence."""
    rows = evaluate.evaluate(2, 128, (1.0, 4.0))
    for looks in ("1", "4"):
        errors = {row["method"]: row["RMSE"] for row in rows if row["looks"] == looks}
        ours = [error for name, error in errors.items() if name.startswith("manifoldnet")]
        others = [error for name, error in errors.items() if not name.startswith("manifoldnet")]
        assert max(ours) < min(others)
