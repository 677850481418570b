"""Pictures of slices of tensors as ellipsoids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from manifoldnet.dti.plot import colour_fa, slices
from manifoldnet.files import written_whole

INCHES = 0.11  # a voxel
SIDES = (3.0, 14.0)  # of a panel, in inches
FILLED = 95  # percent of the glyphs fit into their voxels
REACH = 0.46  # of a voxel, from its centre


def shadows(
    tensors: Float[np.ndarray, "n 3 3"],
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Semi-axes a >= b and angle (degrees from x to y) of the ellipsoids of tensors, seen along z.

    The ellipsoid of D is {D^(1/2) u: |u| = 1}, with semi-axes the roots of D's eigenvalues, in proportion to how far
    molecules get in a given time (Basser, Mattiello and Le Bihan 1994). Its shadow on the plane of x and y is the
    ellipse of the upper left 2 x 2 block of D.
    """
    xx, xy, yy = tensors[..., 0, 0], tensors[..., 0, 1], tensors[..., 1, 1]
    mean, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = np.degrees(np.arctan2(2 * xy, xx - yy)) / 2
    return np.sqrt(mean + radius), np.sqrt(np.maximum(mean - radius, 0)), angle


def draw(axes: Axes, tensors: Float[np.ndarray, "x y 3 3"], longest: float | int) -> None:
    """Draw the shadows of a slice into ``axes``, x to the right and y up, in voxels, coloured by ``plot.colour_fa``.

    A semi-axis of ``longest`` reaches nearly to the side of the voxel. Tensors that are NaN are left out.
    """
    known = np.isfinite(tensors).all((-1, -2))
    a, b, angle = shadows(tensors[known])
    scale = 2 * REACH / longest
    ellipses = EllipseCollection(
        scale * a, scale * b, angle, units="xy", offsets=np.argwhere(known), offset_transform=axes.transData,
        facecolors=colour_fa(tensors[known]), linewidths=0,
    )  # fmt: skip
    axes.add_collection(ellipses)
    x, y = tensors.shape[:2]
    axes.set(xlim=(-0.5, x - 0.5), ylim=(-0.5, y - 0.5), aspect="equal", xticks=[], yticks=[])


def glyphs(panels: Mapping[str, Float[np.ndarray, "x y z 3 3"]], path: str | Path, z: int | None = None) -> None:
    """Write a PNG: one column a panel, the ellipsoids of the axial slice ``z`` seen from above, see :func:`shadows`.

    Without ``z`` it is the slice of the first panel with most voxels that are not NaN. The part that is NaN all round
    in every panel is cut off. All panels have one scale, in which 95 % of the first one's glyphs fit into their voxels.

    Raises:
        InputError: as :func:`manifoldnet.dti.plot.compare`.
    """
    chosen = slices(panels, path, z)
    known = np.any([np.isfinite(flat).all((-1, -2)) for flat in chosen.values()], axis=0)
    window = tuple(_extent(known.any(1 - axis)) for axis in (0, 1))
    cropped = {title: flat[window] for title, flat in chosen.items()}
    first = next(iter(cropped.values()))
    reach = shadows(first[np.isfinite(first).all((-1, -2))])[0]
    longest = float(np.percentile(reach, FILLED)) if reach.size else 1.0
    width, height = (float(np.clip(INCHES * n, *SIDES)) for n in first.shape[:2])
    figure = Figure(figsize=(width * len(panels), height + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, flat) in zip(figure.subplots(1, len(panels), squeeze=False).flat, cropped.items(), strict=True):
        draw(axes, flat, longest)
        axes.set_title(title)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=150)


def _extent(used: np.ndarray) -> slice:
    """From the first to the last that is used; everything if none is."""
    found = np.flatnonzero(used)
    return slice(found[0], found[-1] + 1) if len(found) else slice(None)
