"""Pictures of tensor fields."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from manifoldnet.dti import maps
from manifoldnet.dti.metrics import fa
from manifoldnet.errors import InputError
from manifoldnet.files import written_whole


def colour_fa(tensors: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """As :func:`manifoldnet.dti.maps.colour_fa`; black for NaN."""
    known = np.isfinite(tensors).all((-1, -2))
    return maps.colour_fa(torch.from_numpy(np.where(known[..., None, None], tensors, np.eye(3)))).numpy()


def slices(
    panels: Mapping[str, Float[np.ndarray, "x y z 3 3"]], path: str | Path, z: int | None
) -> dict[str, Float[np.ndarray, "x y 3 3"]]:
    """The axial slice ``z`` of every panel of a picture; without ``z`` the one with most voxels of the first panel.

    Raises:
        InputError: as :func:`compare`.
    """
    if Path(path).suffix != ".png":
        raise InputError(f"{path}: wanted a file name that ends in .png")
    shapes = {tensors.shape for tensors in panels.values()}
    if len(shapes) != 1:
        raise InputError(f"panels: wanted one shape for all of them, got {sorted(shapes)}")
    first = next(iter(panels.values()))
    if z is None:
        z = int(np.isfinite(first).all((-1, -2)).sum((0, 1)).argmax())
    if not 0 <= z < first.shape[2]:
        raise InputError(f"z: wanted a slice from 0 to {first.shape[2] - 1}, got {z}")
    return {title: tensors[:, :, z] for title, tensors in panels.items()}


def compare(panels: Mapping[str, Float[np.ndarray, "x y z 3 3"]], path: str | Path, z: int | None = None) -> None:
    """Write a PNG: one column a panel, colour-FA above FA (0 black, 1 white), of the axial slice ``z``.

    Without ``z`` it is the slice of the first panel with most voxels that are not NaN; NaN is black.

    Raises:
        InputError: no panels, different shapes, a slice outside the volume, or a name that does not end in
        .png.
    """
    chosen = slices(panels, path, z)
    figure = Figure(figsize=(3 * len(panels), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(panels), squeeze=False)
    for column, (title, flat) in enumerate(chosen.items()):
        known = np.isfinite(flat).all((-1, -2))
        anisotropy = fa(torch.from_numpy(np.where(known[..., None, None], flat, 0))).numpy()
        axes[0, column].imshow(colour_fa(flat).swapaxes(0, 1), origin="lower")
        axes[1, column].imshow(anisotropy.T, origin="lower", cmap="gray", vmin=0, vmax=1)
        axes[0, column].set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    axes[0, 0].set_ylabel("direction × anisotropy")
    axes[1, 0].set_ylabel("fractional anisotropy")
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=150)
