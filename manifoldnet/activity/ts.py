"""The text format ``.ts`` of the UEA archive of time series."""

from pathlib import Path

import numpy as np

from manifoldnet.activity.recording import Recording, checked
from manifoldnet.activity.units import STANDARD_GRAVITY
from manifoldnet.errors import InputError

BASIC_MOTIONS_RATE = 10.0  # Hz


def cases(path: Path) -> tuple[str, list[tuple[np.ndarray, str | None]]]:
    """The problem name of a ``.ts`` file and its cases: an array (channels, length) and the label, if any.

    A case is one line: the channels, separated by colons, are lists of numbers with commas ("?" is nan);
    the label comes last. Raises InputError for files with time stamps, without data, and for malformed
    cases.
    """
    header: dict[str, str] = {}
    found: list[tuple[np.ndarray, str | None]] = []
    in_data = False
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if in_data:
            labelled = header.get("classlabel", "").lower().startswith("true")
            found.append(_case(path, number, line, labelled=labelled))
        elif line.lower() == "@data":
            in_data = True
        elif line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
        else:
            raise InputError(f"{path}: line {number} is neither a comment nor a header line (@...)")
        if header.get("timestamps", "").lower() == "true":
            raise InputError(f"{path}: .ts files with time stamps are not read")
    if not found:
        raise InputError(f"{path}: no cases after @data")
    return header.get("problemname", ""), found


def _case(path: Path, number: int, line: str, *, labelled: bool) -> tuple[np.ndarray, str | None]:
    channels = line.split(":")
    label = channels.pop().strip() if labelled else None
    try:
        values = [[float(cell.replace("?", "nan")) for cell in channel.split(",")] for channel in channels]
        return np.array(values, dtype=np.float64), label
    except ValueError:
        raise InputError(f"{path}: line {number} is not lists of numbers of equal length") from None


def read(path: Path, rate: float | None) -> list[Recording]:
    """The cases of BasicMotions, 10 Hz unless ``rate`` says otherwise.

    The file does not say which channel is what: here acceleration comes first, in m/s² without gravity. Raises
    InputError for other problems.
    """
    problem, found = cases(path)
    if problem.lower() != "basicmotions":
        raise InputError(
            f"{path}: problem {problem!r}; the file does not say which channel is what, so only BasicMotions "
            "is read: write the arrays (N, 6) to a .npz file instead"
        )
    recordings = []
    for i, (channels, label) in enumerate(found):
        where, name = f"{path}: case {i}", f"{path.stem}-{i:03d}"
        if len(channels) != 6:
            raise InputError(f"{where} has {len(channels)} channels, wanted 6")
        samples = np.concatenate([channels[3:], channels[:3] / STANDARD_GRAVITY]).T
        recordings.append(checked(where, name, samples, rate or BASIC_MOTIONS_RATE, label=label))
    return recordings
