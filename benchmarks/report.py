"""Tables of the figures of manifolds.py, and which of the wanted ratios they reach."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

# operation -> least ratio of the best peer to ours; for functions of symmetric matrices of fwd+bwd only
BARS = {"logm": 5.0, "expm": 5.0, "expmap": 5.0, "logmap": 5.0, "dist": 5.0, "so3 exp": 1.2, "so3 log": 1.2}
ROTATION_PEERS = ("pypose", "roma")
OTHERS = ("ours", "copy")
LEFT = ("operation", "", "best peer")


def best_peer(row: dict[str, Any]) -> str | None:
    """The peer with the right value and the smallest ratio; of rotations only those that the wanted ratios name."""
    names = [n for n in row["ms"] if not n.startswith(OTHERS) and n not in row["not counted"]]
    if row["operation"].startswith("so3"):
        names = [n for n in names if n.startswith(ROTATION_PEERS)]
    return min(names, key=row["ratios"]["ours"].get, default=None)


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Two tables for each number of threads and precision: the best peer, and all of them."""
    for threads, dtype in dict.fromkeys((row["threads"], row["dtype"]) for row in rows):
        chosen = [row for row in rows if (row["threads"], row["dtype"]) == (threads, dtype)]
        console.print(_summary(chosen, f"{threads} thread(s), {dtype}: milliseconds; ratio is best peer / ours"))
        console.print(_everyone(chosen, f"{threads} thread(s), {dtype}: peer / ours, as eager | compiled"))
        for row in chosen:
            for name, reason in row["not counted"].items():
                console.print(f"  {row['operation']} {row['direction']}, {name}: not counted, {reason}")


def bars(rows: list[dict[str, Any]], console: Console) -> None:
    """The smallest ratio found for each operation that has a bar, and a last line that sums them up."""
    held: dict[str, bool] = {}
    for operation, least in BARS.items():
        found = []
        for row in rows:
            best = best_peer(row)
            wanted = operation.startswith("so3") or row["direction"] == "fwd+bwd"
            if row["operation"] == operation and wanted and best:
                where = f"{row['threads']} thread(s), {row['dtype']}, {row['direction']}, {best}"
                found.append((row["ratios"]["ours"][best], where))
        if found:
            smallest, where = min(found)
            held[operation] = smallest >= least
            console.print(f"{operation}: wanted {least}, smallest {smallest:.2f} ({where})")
    lists = [", ".join(o for o, h in held.items() if h is value) or "none" for value in (True, False)]
    console.print("bars that hold: {}; missed: {}".format(*lists))


def _summary(rows: list[dict[str, Any]], title: str) -> Table:
    columns = ("operation", "", "ours", "eager", "compiled", "best peer", "ms", "ratio", "eager", "compiled")
    table = _table(title, (*columns, "GB/s", "copy GB/s"))
    for row in rows:
        ms, ratios, rate, best = row["ms"], row["ratios"], row["GB/s"], best_peer(row)
        own = [f"{ms[name]:.1f}" for name in ratios]
        peer = [best, f"{ms[best]:.1f}", *(f"{r[best]:.1f}" for r in ratios.values())] if best else ["none"] + 4 * [""]
        rates = [f"{rate['ours']:.1f}", f"{rate['copy']:.1f}"]
        table.add_row(row["operation"], row["direction"], *own, *peer, *rates)
    return table


def _everyone(rows: list[dict[str, Any]], title: str) -> Table:
    names = dict.fromkeys(
        name.removesuffix(", compiled")
        for row in rows
        for name in (*row["ms"], *row["not counted"])
        if not name.startswith(OTHERS)
    )
    table = _table(title, ("operation", "", *names))
    for row in rows:
        cells = [" | ".join(_cell(row, label) for label in (name, f"{name}, compiled")) for name in names]
        table.add_row(row["operation"], row["direction"], *cells)
    return table


def _cell(row: dict[str, Any], label: str) -> str:
    """Ratio to ours; in brackets where the value is wrong, a dash where there is none."""
    value = row["ratios"]["ours"].get(label)
    if value is None:
        return "-"
    return f"({value:.1f})" if label in row["not counted"] else f"{value:.1f}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE)
    for column in columns:
        table.add_column(column, justify="left" if column in LEFT else "right")
    return table
