"""The data sets as arrays; each loader fetches its data set on first use.

``basic-motions`` has no loader here: its text files go through :func:`manifoldnet.activity.io.read`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from manifoldnet.data.fetch import get
from manifoldnet.data.registry import named
from manifoldnet.errors import InputError


@dataclass(frozen=True)
class Diffusion:
    """A diffusion-weighted series.

    ``data`` (X, Y, Z, volumes) float32 in scanner units; ``bvals`` (volumes,) in s/mm²; ``bvecs`` (volumes,
    3) unit vectors, zero where b is 0; ``mask`` (X, Y, Z) bool where the source has one; ``affine`` (4, 4),
    voxel to world in mm; ``path`` the NIfTI file.
    """

    data: np.ndarray
    bvals: np.ndarray
    bvecs: np.ndarray
    mask: np.ndarray | None
    affine: np.ndarray
    path: Path


@dataclass(frozen=True)
class Watch:
    """The 140 recordings of ``watch`` at 50 Hz.

    ``samples`` holds arrays (T, 6): gyroscope x y z in rad/s, acceleration x y z in g with gravity.
    ``labels`` (140,) names of the exercise; ``subjects`` (140,) from 1 to 10; ``sides`` (140,), 0 the left
    and 1 the right wrist.
    """

    samples: list[np.ndarray]
    labels: np.ndarray
    subjects: np.ndarray
    sides: np.ndarray
    rate: float


@dataclass(frozen=True)
class Hapt:
    """The 61 recordings of ``hapt`` at 50 Hz.

    ``samples`` holds arrays (T, 6) as in :class:`Watch`; ``labels`` arrays (T,), one label a sample: -1 none,
    1 to 6 walking, upstairs, downstairs, sitting, standing, lying, 7 to 12 transitions; ``subjects`` (61,).
    """

    samples: list[np.ndarray]
    labels: list[np.ndarray]
    subjects: np.ndarray
    rate: float


@dataclass(frozen=True)
class Hologram:
    """Off-axis holograms, ``cell`` with the cell and ``background`` without: (200, 210) uint8 intensities."""

    cell: np.ndarray
    background: np.ndarray


def load_diffusion(name: str, *, cache: str | Path | None = None) -> Diffusion:
    """The diffusion series ``name``: "tractseg", "nlsam", "mdt-b1k-b2k", "mdt-multishell",
    "small-64d", "small-101d", "stanford-hardi" or "sherbrooke-3shell".

    Raises InputError for other names and as :func:`manifoldnet.data.get` does.
    """
    targets = {member.target for member in named(name).members}
    if "dwi.bval" not in targets:
        raise InputError(f"name: the data set {name!r} is not a diffusion series")
    folder = get(name, cache=cache)
    path = next(folder / target for target in targets if target.startswith("dwi.nii"))
    image = Nifti1Image.from_filename(path)
    bvecs = np.nan_to_num(np.loadtxt(folder / "dwi.bvec"))  # small-64d writes nan where b is 0
    mask = folder / "mask.nii.gz"
    return Diffusion(
        data=np.asarray(image.dataobj, dtype=np.float32),
        bvals=np.loadtxt(folder / "dwi.bval").reshape(-1),
        bvecs=bvecs.T if bvecs.shape[0] == 3 else bvecs,
        mask=np.asarray(Nifti1Image.from_filename(mask).dataobj) > 0 if mask.is_file() else None,
        affine=image.affine,
        path=path,
    )


def _parts(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum(lengths)[:-1])


def load_watch(*, cache: str | Path | None = None) -> Watch:
    """The watch recordings. Raises InputError as :func:`manifoldnet.data.get` does."""
    with np.load(get("watch", cache=cache) / "watch.npz", allow_pickle=False) as data:
        return Watch(
            samples=_parts(data["samples"], data["lengths"]),
            labels=data["labels"],
            subjects=data["subjects"],
            sides=data["sides"],
            rate=float(data["rate"]),
        )


def load_hapt(*, cache: str | Path | None = None) -> Hapt:
    """The HAPT recordings. Raises InputError as :func:`manifoldnet.data.get` does."""
    with np.load(get("hapt", cache=cache) / "hapt.npz", allow_pickle=False) as data:
        return Hapt(
            samples=_parts(data["samples"], data["lengths"]),
            labels=_parts(data["sample_labels"], data["lengths"]),
            subjects=data["subjects"],
            rate=float(data["rate"]),
        )


def load_hologram(*, cache: str | Path | None = None) -> Hologram:
    """The hologram of a cell. Raises InputError as :func:`manifoldnet.data.get` does."""
    with np.load(get("hologram", cache=cache) / "hologram.npz", allow_pickle=False) as data:
        return Hologram(cell=data["data"], background=data["bg_data"])
