"""Configurations of trainings in YAML or JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from manifoldnet.errors import InputError
from manifoldnet.files import existing


def read_config(path: str | Path, like: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration in a file, which must be of the form of ``like``, a configuration that works, if that is given.

    It needs every key of ``like`` and may have more. Values have the type of ``like``'s, a whole number where a
    fraction is wanted included, and null where a word is; numbers are positive, but for ``seed`` and those in lists,
    which may be 0. A nested object needs no key but may have only those of ``like``'s; one in a list needs all of those
    of the first in ``like``'s, with values of their types.

    Raises:
        InputError: if the file is missing, is neither YAML nor JSON, or is of another form.
    """
    text = existing(path, "configuration").read_bytes()
    is_json = Path(path).suffix.lower() == ".json"  # YAML's numbers and words are others: 1e-3 is a word there
    try:
        config = json.loads(text) if is_json else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not valid {'JSON' if is_json else 'YAML'} ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: wanted an object of names and values, got {type(config).__name__}")
    if like is None:
        return config
    missing = like.keys() - config.keys()
    if missing:
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}")
    for key, example in like.items():
        wanted = _wanted(config[key], example, least=int(key != "seed"))
        if wanted is not None:
            raise InputError(f"{path}: {key}: wanted {wanted}, got {json.dumps(config[key])}")
    return config


def _wanted(value: Any, example: Any, least: int) -> str | None:
    """What was wanted instead of ``value``; None if it will do."""
    if isinstance(example, dict):
        fits = isinstance(value, dict) and value.keys() <= example.keys()
        return None if fits else f"an object with none but the keys {', '.join(example)}"
    if isinstance(example, list):
        kind = _wanted_item(object(), example[0])  # which is of no type that is wanted
        fits = isinstance(value, list) and all(_wanted_item(item, example[0]) is None for item in value)
        return None if fits else f"a list, each item {kind}"
    if isinstance(example, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(example, float):
        return None if type(value) in (int, float) and value > 0 else "a positive number"
    if isinstance(example, int):
        return None if type(value) is int and value >= least else f"a whole number of at least {least}"
    return None if value is None or isinstance(value, str) else "a word or null"


def _wanted_item(value: Any, example: Any) -> str | None:
    """The same for an item of a list."""
    if not isinstance(example, dict):
        return _wanted(value, example, least=0)
    fits = isinstance(value, dict) and value.keys() == example.keys()
    if fits and all(_wanted(value[key], example[key], least=0) is None for key in example):
        return None
    kinds = (f"{key} ({_wanted(object(), example[key], least=0)})" for key in example)
    return f"an object of {', '.join(kinds)}"
