"""Bad input through the command line: one line on the error stream, exit code 2, and nothing written.

``python -m pytest tests/cli/test_bad_input.py -s`` prints each case with its message.
"""

import os
import subprocess
import sys

import bad_interferograms  # noqa: F401 (registers its cases)
import bad_others  # noqa: F401
import bad_tensors  # noqa: F401
import pytest
from cli_inputs import CASES


@pytest.fixture(scope="module")
def report():
    """Collects case -> message and prints them at the end (see them with ``-s``)."""
    rows = {}
    yield rows
    width = max(map(len, rows), default=0)
    print("\n" + "\n".join(f"{name:{width}}  {message}" for name, message in rows.items()))


def checked(err, folder, before):
    """The message, if it is one line and the folder is as it was."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("manifoldnet: ")
    assert len(lines[0]) > len("manifoldnet: ") + 10
    assert sorted(folder.rglob("*")) == before
    return lines[0].replace(f"{folder}/", "")


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, cli, weights, report, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path / "cache"))
    arguments = CASES[name](tmp_path, weights)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli(*arguments)
    report[name] = checked(err, tmp_path, before)
    assert code == 2
    assert "Traceback" not in out + err


def test_not_spd_is_counted_and_located(cli, weights, tmp_path):
    arguments = CASES["dti not SPD"](tmp_path, weights)
    message = cli(*arguments).err
    assert "2 of 24" in message
    assert "(1, 2, 0)" in message
    repaired = cli(*arguments, "--repair")
    assert repaired.code == 0, repaired.err
    assert "2 tensors had eigenvalues raised" in repaired.out
    assert (tmp_path / "out.nii.gz").is_file()


def test_older_output_stays(cli, weights, tmp_path):
    """A failed run does not touch what an earlier one has written."""
    (tmp_path / "out.npy").write_text("older")
    arguments = CASES["insar all NaN"](tmp_path, weights)
    assert cli(*arguments).code == 2
    assert (tmp_path / "out.npy").read_text() == "older"


@pytest.mark.parametrize("name", ["insar truncated geotiff", "dti not SPD"])
def test_as_a_process(name, weights, tmp_path):
    """The same from a shell, where libraries could print warnings of their own."""
    arguments = CASES[name](tmp_path, weights)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "manifoldnet.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2, done.stderr
    checked(done.stderr, tmp_path, before)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["--nothing"], ["denoise", "insar", "--nothing", "a", "b"], ["train", "music", "--out", "w.safetensors"],
     ["denoise", "insar", "a"], ["evaluate", "insar", "--scenes", "0"], ["evaluate", "dti", "--phantoms", "-1"]],
)  # fmt: skip
def test_usage_errors(arguments, cli):
    """Typer's own messages may have more lines."""
    code, _, err = cli(*arguments)
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err
