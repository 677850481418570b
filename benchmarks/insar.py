"""The denoiser of interferograms beside the strongest classical filters, tuned on other scenes; see README.md.

python benchmarks/insar.py              # 16 scenes, half an hour: BM3D takes 10 s an image
python benchmarks/insar.py --scenes 2
"""

from __future__ import annotations

import argparse

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from manifoldnet.insar.baselines.methods import METHODS
from manifoldnet.insar.evaluate import evaluate, networks

SIZE = 256
PEERS = ("noisy", "Goldstein", "BM3D", "WFF")


def main() -> None:
    """Print the table of :func:`manifoldnet.insar.evaluate.evaluate`, speeds, and the errors over BM3D's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--looks", type=float, nargs="+", default=[1, 2, 4, 9])
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = evaluate(
        given.scenes, SIZE, looks=given.looks, methods=[*(METHODS[name] for name in PEERS), *networks(name="ours")]
    )
    table = Table(*rows[0], "Mpx/s", "over BM3D", box=box.SIMPLE)
    for row in rows:
        (bm3d,) = [r["RMSE"] for r in rows if r["looks"] == row["looks"] and str(r["method"]).startswith("BM3D")]
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        speed = 1e-6 * SIZE**2 / float(row["s/image"])
        table.add_row(*cells, f"{speed:.3g}", f"{float(row['RMSE']) / float(bm3d):.3f}")
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
