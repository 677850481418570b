"""Recordings as text: tables with or without a header."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.activity import columns
from manifoldnet.activity.options import Options
from manifoldnet.activity.recording import Recording
from manifoldnet.errors import InputError

_RATE = re.compile(r"sampl\w*[ _-]*(?:rate|frequency)\W*([0-9.]+)\s*hz", re.IGNORECASE)


@dataclass(frozen=True)
class TextColumns(columns.Columns):
    """The columns of a text table, whose rows are on ``lines``."""

    rows: list[list[str]]
    lines: list[int]

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        picked = [[row[column] or "nan" for column in columns] for row in self.rows]
        try:
            return np.array(picked, dtype=np.float64)
        except ValueError:
            line, name, cell = next(
                (self.lines[number], self.names[column], cell)
                for number, row in enumerate(picked)
                for column, cell in zip(columns, row, strict=True)
                if not _is_number(cell)
            )
            raise InputError(f"{self.path}: line {line}, column {name}: {cell!r} is not a number") from None

    def values(self, column: int) -> set[str]:
        return {row[column] for row in self.rows}

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"


def read(path: Path, options: Options) -> Recording:
    """The recording in a text table.

    Lines that begin with # or // are comments, of which one may tell the sampling rate in Hz. Uneven times are
    interpolated onto even ones. Raises InputError, with the line, when the table is empty or ragged, when columns
    are missing, double, not numbers or of an unknown unit, and when time stands still or has gaps.
    """
    rows, lines, rate = _rows(path)
    if any(_is_number(cell) for cell in rows[0]):
        names = [str(i) for i in range(len(rows[0]))]
        whole = TextColumns(path, names, rate, rows, lines)
        agreed = options.agreed_rate(rate, f"the comments in {path}")
        return columns.unnamed(path, whole.numbers(range(len(names))), options.at_rate(agreed))
    if len(rows) == 1:
        raise InputError(f"{path}: a header and no samples")
    return columns.read(TextColumns(path, rows[0], rate, rows[1:], lines[1:]), options)


def _rows(path: Path) -> tuple[list[list[str]], list[int], float | None]:
    """The cells of all lines that are neither empty nor comments, equally many in each; the numbers of these lines;
    the sampling rate in the comments."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    comments = [line for _, line in numbered if line.lstrip().startswith(("#", "//"))]
    numbered = [(number, line) for number, line in numbered if not line.lstrip().startswith(("#", "//"))]
    if not numbered:
        raise InputError(f"{path}: no samples, the file is empty")
    numbers, lines = zip(*numbered, strict=True)
    separator = next((mark for mark in ";\t," if mark in lines[0]), None)
    if separator is None:
        rows = [line.split() for line in lines]
    else:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    if separator == ";":  # tables from places where the comma is the decimal mark
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    for number, row in zip(numbers, rows, strict=True):
        if len(row) == len(rows[0]) + 1 and not row[-1]:
            row.pop()  # a separator at the end of every line but the header's
        if len(row) != len(rows[0]):
            raise InputError(f"{path}: line {number} has {len(row)} columns, the first has {len(rows[0])}")
    rate = next((float(match[1]) for match in map(_RATE.search, comments) if match), None)
    return rows, list(numbers), rate


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
