"""The README tells the truth: its Python runs, and its commands exist."""

import re
from pathlib import Path

from typer.testing import CliRunner

from manifoldnet.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_command_that_is_shown_exists() -> None:
    shown = set(re.findall(r"manifoldnet ((?:denoise|evaluate|data|train) [a-z]+|classify|methods|demo)\b", README))
    assert len(shown) >= 8
    for command in shown:
        result = CliRunner().invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command
