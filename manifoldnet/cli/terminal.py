"""What every command says on the terminal, and what it refuses before the work."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifoldnet.errors import InputError

# a pipe has no width: tables must not be cut there; names of files may hold what rich takes for markup
console = Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=True, markup=False, emoji=False)

Weights = Annotated[Path | None, typer.Option(help="File of weights; the shipped ones by default.")]


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; their keys are the columns, numbers get three or four digits."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


def check_target(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written before the work, not after it."""
    if not path.name.lower().endswith(endings):
        raise InputError(f"{path}: wanted a file name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; wanted the name of a file")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{path}: the folder {path.parent} cannot be written ({error.strerror})") from error


def peak_memory() -> str:
    """Largest resident size of this process so far, in words; nothing on systems that do not tell it."""
    try:
        import resource
    except ImportError:
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
