"""Nearest neighbour under the elastic distance on the watch data, one choice changed at a time.

python benchmarks/elastic_watch.py              # fetches the data on first use

1149 windows of 4 s, 7 exercises, 10 people; five folds by subject, so that nobody is his own neighbour. A window is a
curve on SO(3) x R^3: the gyroscope and the accelerometer give the increments. The two factors are scaled to equal
mean squares over the training windows; no label is used for that.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import GroupKFold
from torch import Tensor

from manifoldnet.activity.windows import MIRROR, WatchWindows, resample_imu, watch_windows
from manifoldnet.curves import pairwise_elastic_distance, srvt_of_increments

# changes to: joint norm, slopes 4, no band, lengths kept, both sensors, 40 cells, both wrists as they are
ROWS: dict[str, dict[str, Any]] = {
    "elastic, SO(3) x R^3": {},
    "no reparametrisation": {"band": 0},
    "band of 4 cells": {"band": 4},
    "band of 10 cells": {"band": 10},
    "slopes 6": {"slopes": 6},
    "norm of each factor": {"factors": 2},
    "scale free": {"scale": "chord"},
    "refined, 8 cells": {"refine": 8},
    "80 cells": {"cells": 80},
    "gyroscope only": {"channels": slice(0, 3)},
    "gyroscope only, no reparametrisation": {"channels": slice(0, 3), "band": 0},
    "gyroscope only, scale free": {"channels": slice(0, 3), "scale": "chord"},
    "accelerometer only": {"channels": slice(3, 6)},
    "right wrist mirrored": {"mirrored": True},
    "right wrist mirrored, scale free": {"mirrored": True, "scale": "chord"},
    "right wrist mirrored, scale free, norm of each factor": {"mirrored": True, "scale": "chord", "factors": 2},
}


def transforms(increments: Tensor, train: np.ndarray, channels: slice = slice(0, 6), factors: int = 1) -> Tensor:
    """Square-root velocities of the windows, the two sensors at equal mean squares over the training windows."""
    factor = increments[torch.from_numpy(train)].unflatten(-1, (2, 3)).square().mean((0, 1, 3)).rsqrt()
    scaled = (increments.unflatten(-1, (2, 3)) * factor[:, None]).flatten(-2)[..., channels]
    return srvt_of_increments(scaled, factors=factors)


def accuracy(data: WatchWindows, cells: int = 40, mirrored: bool = False, **options: Any) -> list[float]:
    """Of each fold."""
    samples = np.where((data.sides == 1)[:, None, None] & mirrored, data.samples * MIRROR, data.samples)
    cell = samples.shape[1] / cells / data.rate
    increments = torch.from_numpy(resample_imu(samples, cells, data.rate) * cell).float()
    shape = {name: options.pop(name) for name in ("channels", "factors") if name in options}
    options.setdefault("slopes", 4)
    right = []
    for train, test in GroupKFold(5).split(samples, groups=data.subjects):
        q = transforms(increments, train, **shape)
        nearest = pairwise_elastic_distance(q[test], q[train], **options).argmin(1).numpy()
        right.append(float(np.mean(data.labels[train][nearest] == data.labels[test])))
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    data = watch_windows()
    table = Table("", "accuracy", "sd", "worst fold", "s", title=f"{len(data.samples)} windows, five folds by subject")
    figures = {}
    for name, changes in ROWS.items():
        start = time.perf_counter()
        folds = accuracy(data, **changes)
        figures[name] = folds
        cells = (f"{np.mean(folds):.3f}", f"{np.std(folds):.3f}", f"{min(folds):.3f}")
        table.add_row(name, *cells, f"{time.perf_counter() - start:.1f}")
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
