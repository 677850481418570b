"""Recordings as arrays in numpy's files."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.activity.options import Options, recording_of
from manifoldnet.activity.recording import Recording
from manifoldnet.errors import InputError


def read_npy(path: Path, options: Options) -> list[Recording]:
    """The recording in a ``.npy`` file."""
    return [recording_of(str(path), name, array, options, options.rate) for name, array in _arrays(path).items()]


def read_npz(path: Path, options: Options) -> list[Recording]:
    """The recordings in a ``.npz`` file: one array each, or all end to end with their lengths.

    Scalars ``rate``, ``content`` and ``skeleton`` and two ``units`` say what the caller does not say.
    """
    arrays = _arrays(path)
    found: dict[str, Any] = {}
    inside = arrays.pop("rate", None)
    if inside is not None and (inside.size != 1 or inside.dtype.kind not in "iuf"):
        raise InputError(f"{path}: rate is {inside.dtype} of shape {inside.shape}, wanted one number in Hz")
    for key, size in (("content", 1), ("skeleton", 1), ("units", 2)):
        words = arrays.pop(key, None)
        if words is None:
            continue
        if words.dtype.kind != "U" or words.size != size:
            raise InputError(f"{path}: {key} is {words.dtype} of shape {words.shape}, wanted {size} text")
        texts = tuple(str(word) for word in words.reshape(-1))
        if getattr(options, key) is None:
            found[key] = texts if size == 2 else texts[0]
    told = replace(options, **found)
    rate = options.rate if options.rate is not None or inside is None else float(inside.reshape(()))
    if "samples" in arrays and "lengths" in arrays:
        return _unpacked(path, arrays, told, rate)
    return [recording_of(f"{path}: {name}", name, array, told, rate) for name, array in arrays.items()]


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


def _unpacked(path: Path, arrays: Mapping[str, np.ndarray], options: Options, rate: float | None) -> list[Recording]:
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
        recording_of(f"{path}: recording {i}", f"{path.stem}-{i:03d}", part, options, rate, **about[i])
        for i, part in enumerate(parts)
    ]
