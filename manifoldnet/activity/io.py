"""Reading recordings of movement: inertial samples or rotations, each with its rate.

An inertial recording is ``(N, 6)``: gyroscope x y z in rad/s, then acceleration x y z in g. A recording
of rotations is ``(N, k, 3, 3)``: the orientations of k bodies. :func:`read` lists the formats.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from manifoldnet.activity import table
from manifoldnet.errors import InputError
from manifoldnet.files import existing

SHORTEST = 16  # samples; below this neither a window nor a spectrum makes sense
FASTEST = 35.0  # rad/s = 2000 degrees/s, the usual full scale of a gyroscope
HEAVIEST = 4.0  # g, for the median of a whole recording; gravity in m/s² gives 9.8
ORTHOGONALITY = 1e-3  # largest entry of RᵀR - 1; leaves room for text with four decimals


@dataclass(frozen=True)
class Recording:
    """One recording: ``samples`` (N, 6) or (N, k, 3, 3), see the module, at ``rate`` Hz.

    ``label``, ``subject`` and ``side`` (0 left, 1 right) are None where the file does not say.
    """

    name: str
    kind: Literal["imu", "rotations"]
    samples: np.ndarray
    rate: float
    label: str | None = None
    subject: str | None = None
    side: int | None = None


def read(path: str | Path, *, rate: float | None = None) -> list[Recording]:
    """All recordings in a file. ``rate`` in Hz, needed where the file does not give it.

    * ``.csv``, ``.txt``, ``.tsv``: one recording. With a header, columns are found by name, in any order
      and case: gx gy gz, wx wy wz or gyr_x, gyro_x, gyroscope_x ... and ax ay az, acc_x, accel_x,
      acceleration_x ...; a unit may follow in brackets (rad/s, deg/s; g, m/s^2). A column t, time or
      timestamp gives the rate: in s, ms, µs or ns, whichever makes 1 to 1000 Hz. Columns label, subject
      and side (constant) are kept. Without a header there are six columns, gyroscope then acceleration.
    * ``.npy``: (N, 6), (N, k, 3, 3), or (N, 3, 3), which is k = 1.
    * ``.npz``: one such array a recording, under its name; and ``rate`` if wanted. Or all recordings end
      to end as ``samples`` with their ``lengths``, and one of ``labels``, ``subjects``, ``sides`` each,
      as ``manifoldnet data get watch`` writes it.
    * ``.ts``: the UEA text format, for BasicMotions only (10 Hz, acceleration first, in m/s² without
      gravity; it is turned to g). The format does not name its channels, so other problems are refused.

    Raises InputError when the file is missing, empty or none of these; when values are not finite,
    rotations not orthogonal, a recording is shorter than 16 samples; and when the numbers look like
    degrees/s or m/s².
    """
    path = existing(path, "recording")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown format {path.suffix!r}, wanted one of {', '.join(_READERS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if rate is not None and not 0 < rate < float("inf"):
        raise InputError(f"rate: {rate:g}, wanted a positive number of Hz")
    recordings = reader(path, rate)
    if not recordings:
        raise InputError(f"{path}: holds no recording")
    return recordings


def _checked(where: str, name: str, samples: np.ndarray, rate: float | None, **about: Any) -> Recording:
    """A Recording from numbers that are found to be sane; ``where`` begins every error."""
    if samples.dtype.kind not in "iuf":
        raise InputError(f"{where}: values of type {samples.dtype}, wanted real numbers")
    samples = samples.astype(np.float32 if samples.dtype == np.float32 else np.float64)
    if samples.ndim == 3 and samples.shape[1:] == (3, 3):
        samples = samples[:, None]
    rotations = samples.ndim == 4 and samples.shape[2:] == (3, 3) and samples.shape[1] > 0
    if not rotations and not (samples.ndim == 2 and samples.shape[1] == 6):
        alone = samples.ndim == 2 and samples.shape[1] == 3
        raise InputError(
            f"{where}: shape {samples.shape}, wanted (N, 6), gyroscope xyz in rad/s then acceleration xyz "
            f"in g, or rotations (N, k, 3, 3){'; a gyroscope alone is not enough' if alone else ''}"
        )
    if len(samples) < SHORTEST:
        raise InputError(f"{where}: {len(samples)} samples, wanted at least {SHORTEST}")
    if rate is None:
        raise InputError(f"{where}: the sampling rate is not in the file; give rate in Hz")
    if not 0 < rate < float("inf"):
        raise InputError(f"{where}: the sampling rate is {rate:g}, wanted a positive number of Hz")
    bad = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    if bad.any():
        raise InputError(
            f"{where}: {bad.sum()} of {len(bad)} samples hold nan or infinity, the first is number "
            f"{bad.argmax()} (from 0); fill the gaps or cut the recording there"
        )
    if rotations:
        _check_rotations(where, samples)
    else:
        _check_units(where, samples)
    kind: Literal["imu", "rotations"] = "rotations" if rotations else "imu"
    return Recording(name=name, kind=kind, samples=samples, rate=float(rate), **about)


def _check_rotations(where: str, samples: np.ndarray) -> None:
    error = np.abs(samples.swapaxes(-1, -2) @ samples - np.eye(3)).max(axis=(-1, -2))
    bad = (error > ORTHOGONALITY) | (np.linalg.det(samples) < 0)
    if bad.any():
        first = np.argwhere(bad)[0]
        raise InputError(
            f"{where}: {bad.sum()} of {bad.size} matrices are not rotations (orthogonal to "
            f"{ORTHOGONALITY:g}, determinant 1); the first is sample {first[0]}, body {first[1]}"
        )


def _check_units(where: str, samples: np.ndarray) -> None:
    turning = float(np.median(np.linalg.norm(samples[:, :3], axis=1)))
    if turning > FASTEST:
        raise InputError(
            f"{where}: the median angular velocity is {turning:.3g}, too fast for rad/s; it looks like "
            "degrees/s (divide by 57.2958)"
        )
    pull = float(np.median(np.linalg.norm(samples[:, 3:], axis=1)))
    if pull > HEAVIEST:
        raise InputError(
            f"{where}: the median acceleration is {pull:.3g}, too much for g; it looks like m/s² "
            f"(divide by {table.STANDARD_GRAVITY}), or the gyroscope does not come first"
        )


def _read_table(path: Path, rate: float | None) -> list[Recording]:
    samples, found, about = table.read(path)
    if rate is not None and found is not None and abs(rate / found - 1) > 0.05:
        raise InputError(f"rate: {rate:g} Hz, but the times in {path} say {found:.4g} Hz")
    return [_checked(str(path), path.stem, samples, rate or found, **about)]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npy or .npz file by name, without pickle."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {path.stem: loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a numpy file of plain numbers ({error})") from None


def _read_npy(path: Path, rate: float | None) -> list[Recording]:
    return [_checked(str(path), name, array, rate) for name, array in _arrays(path).items()]


def _read_npz(path: Path, rate: float | None) -> list[Recording]:
    arrays = _arrays(path)
    inside = arrays.pop("rate", None)
    if inside is not None and (inside.size != 1 or inside.dtype.kind not in "iuf"):
        raise InputError(f"{path}: rate is {inside.dtype} of shape {inside.shape}, wanted one number in Hz")
    hertz = rate if rate is not None or inside is None else float(inside.reshape(()))
    if "samples" in arrays and "lengths" in arrays:
        return _unpacked(path, arrays, hertz)
    return [_checked(f"{path}: {name}", name, array, hertz) for name, array in arrays.items()]


def _unpacked(path: Path, arrays: Mapping[str, np.ndarray], rate: float | None) -> list[Recording]:
    """The recordings that lie end to end in ``samples``."""
    samples, lengths = arrays["samples"], arrays["lengths"]
    fits = lengths.ndim == 1 and lengths.dtype.kind in "iu" and (lengths >= 0).all()
    if not fits or samples.ndim == 0 or lengths.sum() != len(samples):
        raise InputError(f"{path}: lengths must be whole numbers, one a recording, with the sum of samples")
    about: list[dict[str, Any]] = [{} for _ in lengths]
    for key, field, convert in (
        ("labels", "label", str),
        ("subjects", "subject", str),
        ("sides", "side", int),
    ):
        values = arrays.get(key)
        if values is None:
            continue
        if values.shape != lengths.shape:
            raise InputError(f"{path}: {key} has shape {values.shape}, wanted {lengths.shape}, one a recording")
        for one, value in zip(about, values, strict=True):
            one[field] = convert(value)
    parts = np.split(samples, np.cumsum(lengths)[:-1])
    return [
        _checked(f"{path}: recording {i}", f"{path.stem}-{i:03d}", part, rate, **about[i])
        for i, part in enumerate(parts)
    ]


def _read_ts(path: Path, rate: float | None) -> list[Recording]:
    problem, cases = table.read_ts(path)
    if problem.lower() != "basicmotions":
        raise InputError(
            f"{path}: problem {problem!r}; the file does not say which channel is what, so only BasicMotions "
            "is read: write the arrays (N, 6) to a .npz file instead"
        )
    recordings = []
    for i, (channels, label) in enumerate(cases):
        where, name = f"{path}: case {i}", f"{path.stem}-{i:03d}"
        if len(channels) != 6:
            raise InputError(f"{where} has {len(channels)} channels, wanted 6")
        samples = np.concatenate([channels[3:], channels[:3] / table.STANDARD_GRAVITY]).T
        recordings.append(_checked(where, name, samples, rate or 10.0, label=label))
    return recordings


_READERS: dict[str, Callable[[Path, float | None], list[Recording]]] = {
    ".csv": _read_table,
    ".txt": _read_table,
    ".tsv": _read_table,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".ts": _read_ts,
}
