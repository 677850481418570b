"""Notebooks run, and each is the executed twin of a script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def cells_of_script(path):
    """Code cells of a py:percent script."""
    blocks = path.read_text().split("\n# %%")[1:]
    return [block.split("\n", 1)[1].strip() for block in blocks if not block.startswith(" [markdown]")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_is_the_script_with_its_outputs(path):
    notebook = json.loads(path.with_suffix(".ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in code] == cells_of_script(path)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    images = sum("image/png" in output.get("data", {}) for cell in code for output in cell["outputs"])
    assert images >= 3


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_script_runs(path):
    """In a process of its own, without a screen."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, "-W", "ignore", str(path)], env=environment, check=True, capture_output=True)
