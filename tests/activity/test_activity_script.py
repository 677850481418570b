"""scripts/activity_recognition.py on recordings in a file."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from test_activity_train import recordings

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "activity_recognition.py"


@pytest.fixture
def script(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        monkeypatch.setattr(
            "manifoldnet.activity.train.shipped_config", lambda: {"classifier": {"samples": 10, "steps": 0}}
        )
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
    lengths = [len(x) for x in data.samples]
    packed = {"samples": np.concatenate(data.samples), "lengths": lengths, "labels": data.labels, "rate": 50.0}
    np.savez(tmp_path / "with.npz", **packed, subjects=data.subjects)
    np.savez(tmp_path / "without.npz", **packed)
    return tmp_path


def test_accuracy_beside_chance(script, file):
    code, out, err = script(file / "with.npz", "--folds", "2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "24 recordings of 4 people, 3 activities: ABD, PEN, ROW"
    assert lines[1].startswith("chance 0.333")
    folds = [float(line.split()[2]) for line in lines if line.startswith("fold")]
    assert len(folds) == 2
    assert float(lines[-1].split()[1].rstrip(",")) == pytest.approx(np.mean(folds), abs=1e-3)
    assert np.mean(folds) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere.npz"], "nowhere"), (["without.npz"], "subject"), (["with.npz", "--folds", "5"], "2 to 4")],
)
def test_refusals(script, file, arguments, words):
    code, out, err = script(file / arguments[0], *arguments[1:])
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
