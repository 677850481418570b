"""Pictures of interferograms."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from manifoldnet.errors import InputError
from manifoldnet.files import written_whole
from manifoldnet.insar.metrics import wrap

PAD = 0.03  # between a panel and its colour bar, of a panel's width
ACROSS = 6  # panels in a row


def compare(panels: dict[str, Float[np.ndarray, "_ _"]], path: str | Path) -> None:
    """Write a PNG with the images of ``panels`` side by side under their names, six in a row.

    Images (H, W), of any sizes, are phases in radians, drawn in cyclic colours, but for those with
    "coherence" in their name, drawn in grey from 0 to 1. Pixels without data (NaN) stay blank.

    Raises InputError when there is nothing to draw and when ``path`` does not end in ``.png``.
    """
    if not panels:
        raise InputError("panels: is empty; wanted at least one image")
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{path}: wanted a name ending in .png")
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4 * across, 4 * down), layout="compressed")
    canvas = FigureCanvasAgg(figure)
    phases, coherences = [], []
    places = figure.subplots(down, across, squeeze=False).flatten()
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, (name, image) in zip(places, panels.items(), strict=False):
        # no interpolation: the mean of angles on both sides of a fringe is neither
        if "coherence" in name.lower():
            coherences.append(axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest"))
        else:
            phases.append(axes.imshow(wrap(image), cmap="twilight", vmin=-np.pi, vmax=np.pi, interpolation="nearest"))
        axes.set_title(name)
        axes.set_axis_off()
    if phases:
        bar = figure.colorbar(phases[0], ax=[image.axes for image in phases], shrink=0.8, pad=PAD / across)
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
        bar.set_label("radians")
    if coherences:
        figure.colorbar(coherences[0], ax=[image.axes for image in coherences], shrink=0.8, pad=PAD / across)
    with written_whole(path) as scratch:
        canvas.print_png(scratch)
