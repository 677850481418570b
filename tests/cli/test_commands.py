"""The commands but ``denoise`` on good input."""

import functools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from cli_inputs import recording
from safetensors.torch import load_file

import manifoldnet.activity.train
import manifoldnet.demo
import manifoldnet.dti.evaluate
import manifoldnet.dti.model
import manifoldnet.dti.train
import manifoldnet.insar.evaluate
import manifoldnet.insar.train
from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.data import DATASETS, cached
from manifoldnet.integrators import METHODS

# tables --------------------------------------------------------------------------------------------------------------


def test_methods(cli):
    code, out, _ = cli("methods")
    assert code == 0
    for method in METHODS.values():
        (row,) = [line for line in out.splitlines() if line.split()[:1] == [method.name]]
        assert row.rstrip().endswith(method.source)  # a pipe cuts nothing


def test_data(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))
    code, out, _ = cli("data", "list")
    assert code == 0
    rows = {line.split()[0]: line.split()[-1] for line in out.splitlines() if line.split()[:1]}
    assert {rows[name] for name in DATASETS} == {"no"}
    code, out, err = cli("data", "get", "small-64d")  # a part of dipy: no download
    assert (code, err) == (0, "")
    folder = Path(out.removesuffix("\n"))  # nothing but the folder, for $(...)
    assert nib.load(folder / "dwi.nii").shape == (10, 10, 10, 65)
    assert str(folder) in cli("data", "list").out


def test_help_of_every_command(cli):
    for command in ([], ["denoise"], ["denoise", "insar"], ["denoise", "dti"], ["classify"], ["train"],
                    ["evaluate"], ["evaluate", "insar"], ["evaluate", "dti"], ["evaluate", "activity"],
                    ["data"], ["data", "list"], ["data", "get"], ["methods"], ["demo"]):  # fmt: skip
        code, out, _ = cli(*command, "--help")
        assert code == 0
        assert "Usage" in out


# recordings ----------------------------------------------------------------------------------------------------------


def test_classify(cli, weights, tmp_path):
    path = tmp_path / "walk [1].csv"
    columns = np.concatenate([np.arange(120)[:, None] / 50, recording(1)[:, [3, 4, 5, 0, 1, 2]]], 1)
    rows = [",".join(map(repr, map(float, row))) + ",moving" for row in columns]
    path.write_text("\n".join(["t,ax,ay,az,gx,gy,gz,label", *rows]))
    code, out, err = cli("classify", path, "--weights", weights["activity"])
    assert (code, err) == (0, "")
    assert "walk [1].csv" in out
    (row,) = [line for line in out.splitlines() if line.startswith(" walk [1] ")]
    assert row.split()[2::2] == ["moving", "moving"]
    assert float(row.split()[3]) > 0.5


def test_classify_many_at_another_rate(cli, weights, tmp_path):
    slow = {f"r{k}": recording(k).reshape(60, 2, 6).mean(1) for k in (0, 1)}
    np.savez(tmp_path / "two.npz", rate=25.0, **slow)
    code, out, err = cli("classify", tmp_path / "two.npz", "--weights", weights["activity"])
    assert (code, err) == (0, "")
    found = dict(line.split()[:2] for line in out.splitlines() if line.startswith(" r"))
    assert {name: found[name] for name in slow} == {"r0": "still", "r1": "moving"}


def test_classify_along_a_recording(cli, weights, tmp_path):
    np.save(tmp_path / "a.npy", np.concatenate([recording(0), recording(1), recording(1)]))
    code, out, err = cli(
        "classify", tmp_path / "a.npy", "--rate", "50", "--every", "0.5", "--weights", weights["activity"]
    )
    assert (code, err) == (0, "")
    found = [line.split() for line in out.splitlines() if line.startswith(" a ")]
    assert [float(words[1]) for words in found] == [4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]
    np.save(tmp_path / "b.npy", recording(0))
    code, out, err = cli(
        "classify", tmp_path / "b.npy", "--rate", "50", "--every", "1", "--weights", weights["activity"]
    )
    assert (code, out) == (2, "")
    assert "4 s" in err


def test_classify_with_sides(cli, tmp_path):
    """Weights that were told the side ask for it."""
    classifier = ActivityClassifier(options={"families": 2})
    classifier.fit([recording(0), recording(1)], ["still", "moving"], sides=[0, 1]).save(tmp_path / "w.safetensors")
    header, samples = "gx,gy,gz,ax,ay,az", recording(1)
    for name, end in (("told", ",right"), ("untold", "")):
        rows = [",".join(map(repr, map(float, row))) + end for row in samples]
        head = header + (",side" if end else "")
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *rows]))
        code, out, err = cli(
            "classify", tmp_path / f"{name}.csv", "--rate", 50, "--weights", tmp_path / "w.safetensors"
        )
        assert code == (0 if end else 2)
        assert ("moving" in out) if end else ("side" in err)


def test_classify_with_shipped_weights(cli, tmp_path):
    np.save(tmp_path / "a.npy", recording(3, 500))
    code, out, err = cli("classify", tmp_path / "a.npy", "--rate", "50")
    assert (code, err) == (0, "")
    classifier = ActivityClassifier.load(manifoldnet.activity.train.SHIPPED)
    assert any(label in out for label in classifier.classes_)


# training and evaluation ---------------------------------------------------------------------------------------------

SMALL = {
    "insar": {"scenes": 2, "scene_size": 32, "patch": 16, "batch": 2, "steps": 3, "channels": [[4, 6]], "blocks": 1,
              "precision": "float32", "calibration": 1},
    "dti": {"phantoms": 2, "phantom_size": 10, "scans": [], "crop": 8, "slab": 8, "batch": 1, "steps": 2,
            "refinement": 2, "members": 1, "width": 4, "embedding": 2, "radius2": 1},
    "activity": {"held_out": [1, 2, 3, 4, 5, 6, 7, 8],
                 "classifier": {"seconds": 2.0, "options": {"families": 2}}},
}  # fmt: skip


@pytest.mark.parametrize("job", SMALL)
def test_train(cli, tmp_path, job):
    if job == "activity" and cached("watch") is None:
        pytest.skip("needs the watch recordings: manifoldnet data get watch")
    shipped = getattr(manifoldnet, job).train.shipped_config()
    config = {**shipped, **SMALL[job], "seed": 3}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        seeded = {**config, "seed": seed}
        if job == "activity":
            seeded["classifier"] = {**SMALL[job]["classifier"], "seed": seed}
        (tmp_path / f"{name}.json").write_text(json.dumps(seeded))
        code, out, err = cli(
            "train", job, "--out", tmp_path / f"{name}.safetensors", "--config", tmp_path / f"{name}.json"
        )
        assert (code, err) == (0, "")
        assert "written" in out
    a, b, c = (load_file(tmp_path / f"{name}.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)
    assert all(tensor.isfinite().all() for tensor in a.values())
    assert len(list(tmp_path.iterdir())) == 6


def test_trained_weights_are_used(cli, tmp_path):
    shipped = manifoldnet.insar.train.shipped_config()
    (tmp_path / "c.json").write_text(json.dumps({**shipped, **SMALL["insar"]}))
    assert cli("train", "insar", "--out", tmp_path / "w.safetensors", "--config", tmp_path / "c.json").code == 0
    np.save(tmp_path / "a.npy", np.random.default_rng(0).uniform(-3, 3, (30, 40)))
    for name, rest in (("own", ["--weights", tmp_path / "w.safetensors"]), ("shipped", [])):
        assert cli("denoise", "insar", tmp_path / "a.npy", tmp_path / f"{name}.npy", *rest).code == 0
    assert np.abs(np.load(tmp_path / "own.npy") - np.load(tmp_path / "shipped.npy")).max() > 0.1


def test_evaluate(cli, weights, tmp_path, monkeypatch):
    """The tables of the three commands, on inputs that are small enough for a test."""
    insar, dti = manifoldnet.insar.evaluate, manifoldnet.dti.evaluate
    monkeypatch.setattr(insar, "evaluate", functools.partial(insar.evaluate, size=32))
    monkeypatch.setattr(insar, "evaluate_shapes", functools.partial(insar.evaluate_shapes, size=32))
    monkeypatch.setattr(insar, "default_methods", lambda m: [insar.METHODS["boxcar 5x5"], *insar.networks(m)])
    monkeypatch.setattr(insar, "left_out", lambda: {"BM3D": "bm3d"})
    monkeypatch.setattr(dti, "evaluate_phantoms", functools.partial(dti.evaluate_phantoms, size=10, snrs=(10.0,)))
    monkeypatch.setattr(dti, "QUICK", dti.QUICK[:2])
    rows = [{"method": "chance", "recordings": 0.5, "sd": 0.0}]
    asked = []

    def report(data, models, *, progress, **rest):
        asked.append((data, models, rest["sides"], rest["others"], rest["folds"]))
        progress("[1/2]")
        return {"watch [windows]": rows}

    monkeypatch.setattr("manifoldnet.activity.report.report", report)
    for arguments, words in (
        (
            ["insar", "--scenes", 1, "--pictures", tmp_path / "a", "--weights", weights["insar"]],
            ["boxcar 5x5", "manifoldnet, with coherence", "BM3D is left out"],
        ),
        (["insar", "--shapes", "--pictures", tmp_path / "b", "--weights", weights["insar"]], ["squares 0.7"]),
        (["dti", "--phantoms", 1, "--weights", weights["dti"]], ["phantom, SNR 10", "manifoldnet, tensors only"]),
        (["activity"], ["watch [windows]", "chance", "0.5"]),
        (["activity", "--data", "hapt", "--models", "fast, best", "--sides", "--peers", "none"], ["chance"]),
        (["activity", "--peers", "ROCKET, Hydra", "--folds", 3], ["chance"]),
    ):
        code, out, err = cli("evaluate", *arguments)
        assert (code, err) == (0, "")
        assert all(word in out for word in words)
    assert asked == [
        ("watch", ["fast"], False, None, 5),
        ("hapt", ["fast", "best"], True, [], 5),
        ("watch", ["fast"], False, ["ROCKET", "Hydra"], 3),
    ]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"looks-1.png", "looks-4.png"}
    assert len(list((tmp_path / "b").glob("*.png"))) == 18


def test_evaluate_on_a_scan(cli, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))
    code, out, err = cli("evaluate", "dti", "--scan", "small-64d", "--splits", 1, "--weights", weights["dti"])
    assert (code, err) == (0, "")
    assert "small-64d, 12 directions" in out


def test_demo(cli, tmp_path, monkeypatch):
    rows = [{"input": "interferogram [4 looks]", "before": 1.0, "manifoldnet": float("nan")}]
    monkeypatch.setattr(manifoldnet.demo, "run", lambda folder, console: rows)
    code, out, err = cli("demo", "--out", tmp_path / "[demo]")
    assert (code, err) == (0, "")
    assert "interferogram [4 looks]" in out
    assert f"{tmp_path}/[demo]/" in out
