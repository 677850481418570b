"""Weights in safetensors files that carry the configuration which made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.files import existing, written_whole


def save_weights(path: str | Path, kind: str, state: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write a state dict with the model's ``kind`` ("insar", ...) and its configuration as metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # one key, because safetensors writes several in a random order, and equal weights should be equal files
    metadata = {"manifoldnet": json.dumps({"kind": kind, "config": config}, sort_keys=True)}
    with written_whole(path) as scratch:
        scratch.write_bytes(save(tensors, metadata=metadata))


def load_weights(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and configuration of a file of :func:`save_weights`.

    Raises:
        InputError: if the file is missing, not such a file, or of another kind of model.
    """
    path = existing(path, "file of weights")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file of weights ({error})") from error
    about = _read(metadata.get("manifoldnet", ""))
    if about["kind"] != kind:
        raise InputError(f"{path}: wanted weights of a manifoldnet {kind!r} model, got {about['kind']!r}")
    return state, about["config"]


def _read(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
        return {"kind": str(about["kind"]), "config": dict(about["config"])}
    except (ValueError, TypeError, KeyError):
        return {"kind": "none", "config": {}}
