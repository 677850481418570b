"""Pictures of what the classifier takes for what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from manifoldnet.errors import InputError
from manifoldnet.files import written_whole


def confusion(truth: np.ndarray, predicted: np.ndarray, path: str | Path) -> None:
    """Write a PNG of the counts of predicted (across) for true labels (down).

    Raises:
        InputError: the arrays are empty or differ in length, or a name that does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise InputError(f"{path}: wanted a file name that ends in .png")
    if not len(truth):
        raise InputError("truth: wanted at least one label, it is empty")
    if len(truth) != len(predicted):
        raise InputError(f"predicted: wanted {len(truth)} labels, got {len(predicted)}")
    labels = np.unique(np.concatenate([truth, predicted]))
    counts = confusion_matrix(truth, predicted, labels=labels)
    figure = Figure(figsize=(1.5 + 0.6 * len(labels), 1.2 + 0.6 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(counts, cmap="Blues", vmin=0)
    axes.set_xticks(range(len(labels)), labels, rotation=45)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("recognised as")
    axes.set_ylabel("activity")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if 2 * count > counts.max() else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade)
    FigureCanvasAgg(figure)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=120)
