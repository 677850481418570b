"""The table of a certificate: what is claimed beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One property.

    Attributes:
        property: its name, with the part of the module that has it.
        bound: what is claimed of the measured number; None where nothing is claimed.
        measured: the number found on the sample.
        holds: whether the claim stands; None where there is none.
    """

    property: str
    bound: float | None
    measured: float
    holds: bool | None


def at_most(name: str, bound: float, measured: float, rounding: float) -> Row:
    """The claim measured <= bound, up to rounding in proportion to the larger of them and 1."""
    return Row(name, bound, measured, measured <= bound + rounding * max(1.0, abs(bound)))


def at_least(name: str, bound: float, measured: float, rounding: float) -> Row:
    """The claim measured >= bound, up to rounding in proportion to the larger of them and 1."""
    return Row(name, bound, measured, measured >= bound - rounding * max(1.0, abs(bound)))


def unclaimed(name: str, measured: float) -> Row:
    """A number without a claim."""
    return Row(f"{name} (not claimed)", None, measured, None)


class Certificate(Sequence[Row]):
    """Rows (property, bound, measured, holds); printing it gives the table."""

    def __init__(self, rows: Sequence[Row], title: str = "") -> None:
        self.rows = tuple(rows)
        self.title = title

    @property
    def holds(self) -> bool:
        """Whether no claim is refuted."""
        return all(row.holds is not False for row in self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | str) -> Row | tuple[Row, ...]:  # type: ignore[override]
        """The row of that number, or the first whose property starts with the given text.

        Raises:
            KeyError: if no property does.
        """
        if isinstance(index, str):
            for row in self.rows:
                if row.property.startswith(index):
                    return row
            raise KeyError(f"{index!r}: wanted one of {', '.join(row.property for row in self.rows)}")
        return self.rows[index]

    def __str__(self) -> str:
        table = Table(title=self.title or None, title_justify="left")
        for name in ("property", "bound", "measured", "holds"):
            table.add_column(name, justify="left" if name == "property" else "right")
        words = {True: "yes", False: "NO", None: ""}
        for row in self.rows:
            bound = "" if row.bound is None else f"{row.bound:.6g}"
            table.add_row(row.property, bound, f"{row.measured:.6g}", words[row.holds])
        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip()

    __repr__ = __str__
