"""Checkpoints that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from manifoldnet.errors import InputError

PLAIN = (str, bool, int, float, type(None))
MARK = b'"sha256":"'  # quotes within the other metadata are escaped, so that it occurs once
BLANK = b"0" * 64


def write_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors, numbers, words and None, so that ``path`` is old or new, whole.

    A safetensors file with the rest as JSON in its metadata, and a SHA-256 of all its bytes. It is written beside
    ``path`` and on the disk before it takes the name, and so is the name before this function returns.

    Raises:
        InputError: if the state holds anything else.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encoded(state, "", tensors))
    data = save(tensors, metadata={"manifoldnet": text, "sha256": BLANK.decode()})
    place = data.index(MARK) + len(MARK)
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("wb") as file:
        file.write(data[:place] + hashlib.sha256(data).hexdigest().encode() + data[place + len(BLANK) :])
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    _sync_names(path.parent)


def _sync_names(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The state of a file of :func:`write_checkpoint`, its tensors on the CPU.

    Raises:
        InputError: if the file is missing, or one of its bits is not as it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    written = path.read_bytes()
    place = written.find(MARK) + len(MARK)
    data = written[:place] + BLANK + written[place + len(BLANK) :]
    if hashlib.sha256(data).hexdigest().encode() != written[place : place + len(BLANK)]:
        raise InputError(f"{path}: wanted a whole checkpoint, got {len(written)} bytes that do not fit their checksum")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return _decoded(json.loads(header["__metadata__"]["manifoldnet"]), load(data))


def _encoded(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON, its tensors put into ``tensors``."""
    if isinstance(value, Tensor):
        key = f"{len(tensors):05d}{name}"
        plain = value.detach()
        # safetensors knows no complex128
        tensors[key] = (torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain).cpu().clone()
        tensors[key] = tensors[key].contiguous()
        return {"complex" if plain.is_complex() else "tensor": key}
    if isinstance(value, dict):
        pairs = [[_encoded(key, name, {}), _encoded(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        return {"dict": pairs}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item, f"{name}/{k}", tensors) for k, item in enumerate(value)]}
    if isinstance(value, list):
        return [_encoded(item, f"{name}/{k}", tensors) for k, item in enumerate(value)]
    if isinstance(value, PLAIN):
        return value
    raise InputError(f"checkpoint: {name}: wanted tensors, numbers, words, lists and dicts, got {type(value).__name__}")


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content].clone()  # loaded ones may begin at odd addresses, for which kernels round otherwise
    if kind == "complex":
        return torch.view_as_complex(tensors[content].clone())
    if kind == "tuple":
        return tuple(_decoded(item, tensors) for item in content)
    return {_decoded(key, {}): _decoded(item, tensors) for key, item in content}


class Checkpoints:
    """The last checkpoints of one training, in a folder.

    A process that dies leaves whole checkpoints only, and perhaps a part of one under a name of its own.

    Args:
        folder: made when first needed.
        every: number of steps between checkpoints.
        keep: number of checkpoints that are kept.

    Raises:
        InputError: unless every and keep are at least 1.
    """

    def __init__(self, folder: str | Path, every: int = 100, keep: int = 2) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if value < 1:
                raise InputError(f"{name}: wanted at least 1, got {value}")
        self.folder = Path(folder)
        self.every = every
        self.keep = keep

    def paths(self) -> list[Path]:
        """The files, by step."""
        return [path for _, path in self._numbered()]

    def _numbered(self) -> list[tuple[int, Path]]:
        found = [(re.fullmatch(r"step-(\d+)\.safetensors", p.name), p) for p in self.folder.glob("step-*")]
        return sorted((int(match[1]), path) for match, path in found if match)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint; then remove those older than the last ``keep``, and what a dead process left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:09d}.safetensors"
        write_checkpoint(path, state)
        # later ones were damaged, or the training would have gone on from there
        later = [other for number, other in self._numbered() if number > step]
        earlier = [other for number, other in self._numbered() if number <= step][: -self.keep]
        for other in [*later, *earlier, *self.folder.glob(".step-*.part")]:
            other.unlink()
        return path

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The last checkpoint that is whole; None if there is none. Warns of damaged ones."""
        for path in reversed(self.paths()):
            try:
                return path, read_checkpoint(path)
            except InputError as error:
                warnings.warn(f"{error}; going back to the one before", stacklevel=2)
        return None
