"""Tensor images in NRRD files (.nrrd, .nhdr), as Teem, 3D Slicer and ITK write them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from manifoldnet.dti import layout
from manifoldnet.errors import InputError
from manifoldnet.files import existing

#: kinds of the axis of components (Teem's definition of the format, section 6): order, and whether a mask goes first
KINDS = {
    "3d-symmetric-matrix": ("fsl", False),
    "3d-masked-symmetric-matrix": ("fsl", True),
    "3d-matrix": ("full", False),
    "3d-masked-matrix": ("full", True),
}
COUNTS = {6: False, 7: True, 9: False, 10: True}  # components: whether the first is a mask
CONFIDENT = 0.5  # what Teem takes for a tensor
TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
ROUNDING = 1e-3  # of a measurement frame written with few digits


class TensorFile(NamedTuple):
    """What a NRRD file holds.

    Attributes:
        tensors: as they are stored, maybe not symmetric, in scanner axes (x to the right, y to the front, z up).
        inside: where the file's own mask says that there is a tensor; everywhere if it has none.
        affine: voxel to scanner coordinates (mm), NIfTI's axes.
    """

    tensors: Float[np.ndarray, "x y z 3 3"]
    inside: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


def is_nrrd(path: Path) -> bool:
    """Whether the name of a file ends as those of NRRD files do."""
    return path.suffix.lower() in (".nrrd", ".nhdr")


def read(path: Path, order: str | None = None) -> TensorFile:
    """The tensors of a NRRD file, with its measurement frame applied.

    One axis holds the 6 or 9 components, or 7 or 10 where a confidence goes first: below .5 there is no tensor. Its
    kind tells their order; where it does not, ``order`` must. A frame M, whose columns are the measurement axes in
    space, turns D into M D M^T. Axes of a file that names no anatomical space are taken as x, y, z of the scanner.

    Args:
        order: of ``layout.ORDERS``, for six components of an axis of no matrix kind.

    Raises:
        InputError: pynrrd is not installed, the file is damaged or holds no tensors, its order is not known or is
            another than ``order``, or its frame is no rotation.
    """
    data, header = _content(path)
    axis, order, masked = _components(path, data.shape, header, order)
    components = np.moveaxis(data, axis, -1).astype(np.float32)
    inside = components[..., 0] >= CONFIDENT if masked else np.ones(components.shape[:3], bool)
    tensors = layout.unpack(components[..., 1:] if masked else components, order)
    flips = np.array(TO_RAS.get(str(header.get("space", "")).lower(), (1, 1, 1)), np.float64)
    frame = flips[:, None] * _frame(path, header)
    return TensorFile((frame @ tensors @ frame.T).astype(np.float32), inside, _affine(path, header, axis, flips))


def _content(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        import nrrd
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: NRRD files need pynrrd, which is not installed: pip install 'manifoldnet[nrrd]'"
        ) from None
    try:
        data, header = nrrd.read(str(existing(path)))
    except (nrrd.NRRDError, OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        raise InputError(f"{path}: not a NRRD file, or damaged ({error})") from None
    if data.dtype.kind not in "iuf":
        raise InputError(f"{path}: wanted real numbers, got data type {data.dtype}")
    return data, header


def _components(path: Path, shape: tuple[int, ...], header: dict[str, Any], order: str | None) -> tuple[int, str, bool]:
    """The axis of components, their order, and whether a mask goes first."""
    if len(shape) != 4:
        raise InputError(f"{path}: shape {shape}, wanted 4 dimensions, one of them of tensor components")
    kinds = [str(kind).lower() for kind in header.get("kinds", [""] * 4)]
    declared = [axis for axis, kind in enumerate(kinds) if kind in KINDS]
    if len(declared) == 1:
        axis = declared[0]
        found, masked = KINDS[kinds[axis]]
        if order not in (None, found):
            raise InputError(f"order: got {order!r}, but {path} declares {', '.join(layout.ORDERS[found])}")
        if shape[axis] != len(layout.ORDERS[found]) + masked:
            raise InputError(f"{path}: {shape[axis]} components along an axis of kind {kinds[axis]}")
        return axis, found, masked
    # an axis without direction in space is none of the image's
    axes = [axis for axis, vector in enumerate(_directions(header)) if not np.isfinite(vector).all()]
    if len(axes) != 1 or shape[axes[0]] not in COUNTS:
        raise InputError(f"{path}: no tensor image: of shape {shape} no axis is of 6, 7, 9 or 10 components")
    count, masked = shape[axes[0]], COUNTS[shape[axes[0]]]
    if count - masked == 9:
        return axes[0], "full", masked
    if order not in layout.ORDERS or order == "full":
        got = "the file does not tell it" if order is None else f"got {order!r}"
        raise InputError(f"order: {path} needs its component order, {got}; one of {layout.choices()}")
    return axes[0], order, masked


def _directions(header: dict[str, Any]) -> np.ndarray:
    """One vector an axis, NaN for an axis that is not in space."""
    if "space directions" in header:
        return np.asarray(header["space directions"], np.float64)
    spacings = np.asarray(header.get("spacings", [np.nan] * 4), np.float64)
    vectors = np.full((len(spacings), 3), np.nan)
    known = np.flatnonzero(np.isfinite(spacings))
    if len(known) == 3:
        vectors[known] = np.diag(spacings[known])
    return vectors


def _frame(path: Path, header: dict[str, Any]) -> np.ndarray:
    """Measurement axes in space, as columns; a list of vectors in the file."""
    frame = np.asarray(header.get("measurement frame", np.eye(3)), np.float64).T
    if frame.shape != (3, 3) or not np.allclose(frame @ frame.T, np.eye(3), rtol=0, atol=ROUNDING):
        raise InputError(f"{path}: the measurement frame is no rotation or reflection")
    return frame


def _affine(path: Path, header: dict[str, Any], axis: int, flips: np.ndarray) -> np.ndarray:
    vectors = np.delete(_directions(header), axis, 0)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise InputError(f"{path}: wanted a direction in space for each of the three axes of the image")
    affine = np.eye(4)
    affine[:3, :3] = flips[:, None] * vectors.T
    affine[:3, 3] = flips * np.asarray(header.get("space origin", np.zeros(3)), np.float64)
    return affine
