"""Text files of motion capture, line by line, with errors that name the line."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from manifoldnet.errors import InputError


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without what surrounds them; InputError if it is not text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None


def fail(path: Path, line: int, problem: str) -> NoReturn:
    """Raise the InputError of one ``line``, counted from 1."""
    raise InputError(f"{path}: line {line}: {problem}")


def numbers(path: Path, line: int, words: Sequence[str], count: int, what: str) -> list[float]:
    """Exactly ``count`` finite numbers, or an InputError that says ``what`` they are."""
    if len(words) != count:
        fail(path, line, f"{len(words)} values for {what}, wanted {count}")
    try:
        values = [float(word) for word in words]
    except ValueError:
        bad = next(word for word in words if not _is_number(word))
        fail(path, line, f"{bad!r} is not a number ({what})")
    if not all(abs(value) < float("inf") for value in values):
        fail(path, line, f"{what} hold nan or infinity")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
