"""The models of windows by name, all fixed before any test subject was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple

from manifoldnet.activity.ensemble import EnsembleModel
from manifoldnet.activity.window_model import WindowModel
from manifoldnet.errors import InputError


class Part(NamedTuple):
    """One window model: the class ``name`` in ``manifoldnet.activity.<module>``, and its arguments."""

    module: str
    name: str
    arguments: Mapping[str, Any]


class Named(NamedTuple):
    """A named model: its ``parts``, the kinds of recordings it takes, and how many training windows cover a moment."""

    parts: tuple[Part, ...]
    kinds: tuple[str, ...] = ("imu",)
    overlap: int = 1


MODELS: dict[str, Named] = {
    "fast": Named((Part("convolutions", "ConvolutionModel", {}),)),
    "best": Named(
        (
            Part("convolutions", "ConvolutionModel", {"copies": 2}),
            Part("network", "LieNetworkClassifier", {}),
        ),
    ),
    "inception": Named((Part("inception", "InceptionModel", {}),), overlap=4),
    "invariant": Named((Part("convolutions", "ConvolutionModel", {"names": ("invariants",)}),)),
    "network": Named((Part("network", "LieNetworkClassifier", {}),), kinds=("imu", "rotations")),
    "pieces": Named((Part("elastic_model", "ElasticClassifier", {}),)),
    "prototypes": Named((Part("elastic_prototypes", "ElasticPrototypeClassifier", {}),)),
    "sequences": Named((Part("elastic_sequences", "ElasticSequenceClassifier", {}),), kinds=("rotations",)),
    "elastic": Named((Part("neighbours", "ElasticNeighbours", {}),), kinds=("imu", "rotations")),
}
DEFAULT = {"imu": "fast", "rotations": "sequences"}


def named(model: str, kind: str) -> Named:
    """What a name stands for; "auto" is :data:`DEFAULT` of the kind.

    Raises:
        InputError: an unknown name, or a model that does not take recordings of this kind.
    """
    model = DEFAULT[kind] if model == "auto" else model
    if model not in MODELS:
        raise InputError(f"model: wanted one of auto, {', '.join(MODELS)}, got {model!r}")
    if kind not in MODELS[model].kinds:
        raise InputError(f"model: {model!r} takes recordings of kind {', '.join(MODELS[model].kinds)}, got {kind!r}")
    return MODELS[model]


def build(model: str, kind: str, **arguments: Any) -> WindowModel:
    """An unfitted model; each part is given those of ``arguments`` that it takes, and each must be taken by one.

    Raises:
        InputError: as :func:`named`, or an argument that no part takes.
    """
    members, taken = [], {"rate", "seed", "device", "mirror"}
    for module, name, own in named(model, kind).parts:
        made = getattr(import_module(f"manifoldnet.activity.{module}"), name)
        given = {key: value for key, value in arguments.items() if key in signature(made).parameters}
        taken |= given.keys()
        members.append(made(**{**own, **given}))
    unknown = sorted(arguments.keys() - taken)
    if unknown:
        raise InputError(f"options: the model {model!r} does not take {', '.join(unknown)}")
    return members[0] if len(members) == 1 else EnsembleModel(members)
