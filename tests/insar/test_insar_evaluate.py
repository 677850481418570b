"""The table of errors, on inputs small enough for a test."""

import math

import numpy as np
import pytest
import torch

from manifoldnet.errors import InputError
from manifoldnet.insar import baselines, evaluate
from manifoldnet.insar.baselines.methods import METHODS, Method
from manifoldnet.insar.evaluate import scenes
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.shapes import cone

COUNT, SIZE, SEED = 3, 48, 4
SOME = ("noisy", "boxcar 5x5", "Gaussian", "Goldstein of amplitudes", "Goldstein-Baran", "WFF weighted by coherence")


@pytest.fixture(scope="module")
def model():
    return InsarDenoiser({"channels": [[4, 6]], "blocks": 1}, torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def methods(model):
    return [METHODS[name] for name in SOME] + evaluate.networks(model)


@pytest.fixture(scope="module")
def rows(methods):
    return evaluate.evaluate(COUNT, SIZE, (1.0, 4.0), methods, seed=SEED)


def row_of(rows, looks, start):
    (row,) = [row for row in rows if row["looks"] == f"{looks:g}" and row["method"].startswith(start)]
    return row


def test_methods(rows):
    names = {looks: [row["method"] for row in rows if row["looks"] == looks] for looks in ("1", "4")}
    assert len(rows) == len(names["1"]) + len(names["4"])
    # at one look there is no coherence to be had
    assert names["1"][-1] == "manifoldnet, phase only"
    assert names["4"][-1] == "manifoldnet, with coherence"
    assert not any("weighted by coherence" in name for name in names["1"])
    assert any("weighted by coherence" in name for name in names["4"])
    for methods in names.values():
        assert methods[0] == "noisy"
    assert all(row.keys() == rows[0].keys() for row in rows)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name.startswith(("TV", "BM3D")) else name for name in METHODS],
)
def test_every_classical_filter_runs(name):
    """With the last parameters of its grid, on a batch, with coherence only where it is needed."""
    z = torch.randn(2, 20, 24, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    coherence = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(1))
    method = METHODS[name]
    if not method.installed:
        pytest.skip(f"{method.package} is not installed")
    filtered = method(z, coherence if method.coherence else None, 4.0, **method.grid[-1])
    assert filtered.shape == z.shape
    assert bool(torch.isfinite(torch.view_as_real(filtered)).all())
    assert method.label(method.grid[-1]).startswith(name)


def test_baran_takes_the_coherence_if_it_is_known():
    z = torch.randn(2, 20, 24, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    coherence = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(1))
    known, unknown = (METHODS["Goldstein-Baran"](z, c, 4.0) for c in (coherence, None))
    assert (known - unknown).abs().max() > 0.01


def test_only_methods_of_amplitudes_see_them():
    z = torch.randn(1, 20, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    phasors = z / z.abs()
    for name in ("Gaussian", "WFF"):
        parameters = METHODS[name].grid[0]
        method = METHODS[name]
        torch.testing.assert_close(method(z, None, 1.0, **parameters), method(phasors, None, 1.0, **parameters))
        other = METHODS[f"{name} of amplitudes"]
        assert (other(z, None, 1.0, **parameters) - other(phasors, None, 1.0, **parameters)).abs().max() > 0.01


def test_figures_of_the_noisy_input_and_a_filter(rows):
    """Against the errors of the same scenes drawn here."""
    for looks in (1.0, 4.0):
        scene = evaluate.observations(COUNT, SIZE, looks, SEED, evaluate.TEST)
        unit = scene.observed / scene.observed.abs()
        expected = {"noisy": scene.observed.angle(), "boxcar 5x5": baselines.boxcar(unit, 5).angle()}
        for name, estimate in expected.items():
            row = row_of(rows, looks, name)
            arcs = np.angle(np.exp(1j * (estimate - scene.phase).double().numpy()))
            assert row["RMSE"] == pytest.approx(np.sqrt(np.mean(arcs**2)), rel=1e-4)
            low = arcs[scene.coherence.numpy() < 0.3]
            assert row["RMSE <.3"] == pytest.approx(np.sqrt(np.mean(low**2)), rel=1e-4)
    noisy = [row for row in rows if row["method"] == "noisy"]
    assert [row["residues left %"] for row in noisy] == [100, 100]
    assert [row["dSNR dB"] for row in noisy] == [0, 0]
    assert all(row["s/image"] >= 0 and -1 <= row["SSIM"] <= 1 for row in rows)


def test_number_of_scenes_on_which_ours_is_better(rows, model):
    for row in rows:
        last = [other["method"] for other in rows if other["looks"] == row["looks"]][-1]
        assert (row["ours better"] == "") == (row["method"] == last)
    scene = evaluate.observations(COUNT, SIZE, 1.0, SEED, evaluate.TEST)
    unit = scene.observed / scene.observed.abs()
    wins = [
        wrapped_rmse(denoise(u, model=model), truth) < wrapped_rmse(baselines.boxcar(u, 5).angle(), truth)
        for u, truth in zip(unit, scene.phase, strict=True)
    ]
    assert row_of(rows, 1, "boxcar 5x5")["ours better"] == f"{sum(wins)} of {COUNT}"


def test_tuned_filters_are_the_best_of_their_kind(rows):
    """On the tuning scenes no other parameter of the grid is better."""
    for looks in (1.0, 4.0):
        scene = evaluate.observations(3, SIZE, looks, SEED, evaluate.TUNING)
        unit = scene.observed / scene.observed.abs()
        errors = {
            entry["sigma"]: wrapped_rmse(baselines.gaussian(unit, **entry).angle(), scene.phase)
            for entry in METHODS["Gaussian"].grid
        }
        assert row_of(rows, looks, f"Gaussian, sigma {min(errors, key=errors.get):g}")


def test_shapes(methods, tmp_path):
    chosen = [METHODS["noisy"], METHODS["Gaussian"]]
    rows = evaluate.evaluate_shapes((0.3, 0.9), SIZE, (4.0,), chosen, seed=SEED, pictures=tmp_path / "new")
    assert list(rows[0])[2:] == [f"{name} {level}" for name in ("cone", "peaks", "squares") for level in (0.3, 0.9)]
    for row in rows:
        assert row["cone 0.3"] > row["cone 0.9"] > 0
    assert rows[1]["squares 0.3"] < rows[0]["squares 0.3"]
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"{shape}-{level}-looks-4.png" for shape in evaluate.FIGURES for level in (0.3, 0.9)}
    flat = Method("truth of the cone", lambda z, c, looks: torch.polar(torch.ones(z.shape), cone(SIZE)))
    (row,) = evaluate.evaluate_shapes((0.5,), SIZE, (1.0,), [flat], seed=SEED)
    assert row["cone 0.5"] == pytest.approx(0, abs=1e-5)
    assert row["peaks 0.5"] > 0.1


def test_pictures_and_progress(tmp_path):
    told = []
    evaluate.evaluate(1, SIZE, (1.0,), [METHODS["noisy"]], seed=SEED, pictures=tmp_path, progress=told.append)
    assert [path.name for path in tmp_path.iterdir()] == ["looks-1.png"]
    assert told == ["1 looks: noisy"]


def test_what_is_not_installed_is_left_out(monkeypatch, model):
    monkeypatch.setattr("manifoldnet.insar.baselines.methods.find_spec", lambda name: None)
    assert evaluate.left_out() == {"BM3D": "bm3d"}
    assert "BM3D" not in [method.name for method in evaluate.default_methods(model)]
    with pytest.raises(InputError, match="methods"):
        evaluate.evaluate(1, SIZE, (1.0,), [METHODS["WFF weighted by coherence"]], seed=SEED)


def test_scenes_are_not_those_of_the_training_nor_of_the_tuning():
    drawn = [scenes(2, 32, SEED, stream)[0] for stream in (0, evaluate.TEST, evaluate.TUNING)]
    assert not any(torch.equal(a, b) for k, a in enumerate(drawn) for b in drawn[:k])


def test_labels():
    assert METHODS["WFF"].label({"windows": (32, 16), "tau": 8.0}) == "WFF, windows 32+16, tau 8"
    assert METHODS["noisy"].label({}) == "noisy"
    assert not math.isnan(METHODS["Gaussian"].grid[0]["sigma"])
