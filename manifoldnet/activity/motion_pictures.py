"""Pictures of movements that are the same but for their pace: two aligned, and the mean of each activity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from manifoldnet.activity.windows import resample_imu
from manifoldnet.curves import align, elastic_mean, inverse_srvt, srvt_of_increments
from manifoldnet.errors import InputError
from manifoldnet.files import written_whole
from manifoldnet.manifolds import SO3

CELLS = 40
MOST = 12  # windows that a mean is of
AXES = "xyz"


def moved_to(
    first: Float[np.ndarray, "t 3"], second: Float[np.ndarray, "t 3"]
) -> tuple[Float[np.ndarray, "t 3"], Float[np.ndarray, "nodes"]]:
    """Angular velocities of ``second`` at the pace of ``first``, w(phi) phi', and phi at t + 1 shares of the time.

    phi is the best one for the square-root velocities (:func:`manifoldnet.curves.align`).
    """
    q0, q1 = (srvt_of_increments(torch.from_numpy(np.ascontiguousarray(w, np.float64))) for w in (first, second))
    phi = align(q0, q1).numpy()
    count = len(second)
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(second, axis=0)])  # of which w is the rise over a sample
    place = phi * count
    left = np.minimum(place.astype(np.int64), count - 1)
    travelled = path[left] + (place - left)[:, None] * second[left]
    return np.diff(travelled, axis=0), phi


def warped_pair(
    first: Float[np.ndarray, "t 6"], second: Float[np.ndarray, "t 6"], rate: float, path: str | Path
) -> None:
    """Write a PNG of the angular velocities (rad/s) of two windows, of the second at the pace of the first, and of the
    reparametrisation between.

    Args:
        first: inertial samples, gyroscope first.
        second: likewise, as many.
        rate: in Hz.
        path: .png.

    Raises:
        InputError: for another ending.
    """
    path = _png(path)
    w0, w1 = first[:, :3], second[:, :3]
    moved, phi = moved_to(w0, w1)
    time = np.arange(len(w0)) / rate
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col")
    for panel, other, title in (
        (panels[0, 0], w1, "as recorded"),
        (panels[1, 0], moved, "the second at the first's pace"),
    ):
        for axis, colour in zip(range(3), ("C0", "C1", "C2"), strict=True):
            panel.plot(time, w0[:, axis], color=colour, label=AXES[axis])
            panel.plot(time, other[:, axis], color=colour, linestyle=":")
        panel.set(title=title, ylabel="rad/s")
    panels[0, 0].legend(ncols=3)
    panels[1, 0].set_xlabel("s")
    length = len(w0) / rate
    panels[0, 1].plot(np.linspace(0, length, len(phi)), length * phi)
    panels[0, 1].set(title="time in the second", ylabel="s")
    panels[1, 1].plot(time, np.linalg.norm(w0 - w1, axis=1), label="as recorded")
    panels[1, 1].plot(time, np.linalg.norm(w0 - moved, axis=1), label="aligned")
    panels[1, 1].set(title="difference", xlabel="s", ylabel="rad/s")
    panels[1, 1].legend()
    _save(figure, path)


def mean_motions(windows: Float[np.ndarray, "n t 6"], labels: np.ndarray, rate: float, path: str | Path) -> None:
    """Write a PNG of the elastic mean of each activity, up to 12 of its windows, as rotation vectors from the start.

    The mean is the Fréchet mean of shapes of curves on SO(3) (:func:`manifoldnet.curves.elastic_mean`), integrated to a
    curve; thin lines are the windows that it is of, each at the pace of the mean.

    Raises:
        InputError: if there is no window, or the path does not end in .png.
    """
    path = _png(path)
    if not len(windows):
        raise InputError("windows: wanted at least one, got none")
    names = np.unique(labels)
    figure = Figure(figsize=(2.6 * len(names), 3), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        chosen = windows[labels == name]
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(MOST, len(chosen))).astype(int)]
        cells = resample_imu(chosen, CELLS, rate)[..., :3] * (chosen.shape[1] / rate / CELLS)
        found = elastic_mean(srvt_of_increments(torch.from_numpy(cells)))
        for one in found.aligned:
            panel.plot(_vectors(one), color="grey", linewidth=0.4)
        for axis, line in enumerate(_vectors(found.mean).T):
            panel.plot(line, linewidth=2, label=AXES[axis])
        panel.set(title=str(name), xlabel="share of the time", xticks=[0, CELLS], xticklabels=["0", "1"])
    panels[0].set_ylabel("rotation vector, rad")
    panels[0].legend()
    _save(figure, path)


def _vectors(transform: Float[Tensor, "n 3"]) -> Float[np.ndarray, "nodes 3"]:
    """Rotation vectors of the curve with this square-root velocity, from the identity."""
    group = SO3()
    curve = inverse_srvt(transform, group, torch.eye(3, dtype=transform.dtype))
    return group.log(curve).numpy()


def _png(path: str | Path) -> Path:
    if Path(path).suffix != ".png":
        raise InputError(f"{path}: wanted a file name that ends in .png")
    return Path(path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=120)
