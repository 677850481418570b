"""scripts/activity_recognition.py on recordings in a file."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from test_activity_evaluate import recordings

from manifoldnet.activity import models
from manifoldnet.activity.model import ActivityClassifier

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "activity_recognition.py"


@pytest.fixture
def script(monkeypatch, capsys):
    small = models.MODELS["fast"]._replace(parts=(models.Part("convolutions", "ConvolutionModel", {"families": 2}),))
    monkeypatch.setitem(models.MODELS, "fast", small)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path):
    data = recordings()
    samples = [x[:240] for x in data.samples]
    lengths = [len(x) for x in samples]
    packed = {"samples": np.concatenate(samples), "lengths": lengths, "labels": data.labels, "rate": 50.0}
    np.savez(tmp_path / "with.npz", **packed, subjects=data.subjects)
    np.savez(tmp_path / "without.npz", **packed)
    return tmp_path


def test_from_data_to_weights(script, file):
    code, out, err = script(file / "with.npz", "--folds", "2", "--pictures", file, "--save", file / "w.safetensors")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "24 windows of 4 people, 3 activities: ABD, PEN, ROW"
    assert lines[1].startswith("chance 0.333")
    folds = [float(line.split()[2]) for line in lines if line.startswith("fold")]
    assert len(folds) == 2
    mean = next(line for line in lines if line.startswith("mean"))
    assert float(mean.split()[1].rstrip(",")) == pytest.approx(np.mean(folds), abs=1e-3)
    assert np.mean(folds) > 0.8
    assert (file / "fast.png").is_file()
    with np.load(file / "with.npz") as data:
        assert ActivityClassifier(options={"families": 2}).get_params()["rate"] == 50.0
        found = ActivityClassifier.load(file / "w.safetensors").predict([data["samples"][:240]])
    assert found[0] == data_label(file)


def data_label(file):
    with np.load(file / "with.npz") as data:
        return str(data["labels"][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.npz"], "nowhere"),
        (["without.npz"], "subject"),
        (["with.npz", "--folds", "5"], "2 to 4"),
        (["with.npz", "--pictures", "/nowhere"], "/nowhere"),
        (["with.npz", "--save", "/nowhere/w.safetensors"], "/nowhere"),
    ],
)
def test_refusals(script, file, arguments, words):
    code, out, err = script(file / arguments[0], *arguments[1:])
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
