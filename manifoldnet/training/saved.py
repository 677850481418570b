"""Models that live in files of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from manifoldnet.errors import InputError
from manifoldnet.training.weights import load_weights, save_weights

Model = TypeVar("Model", bound="SavedModel")


class SavedModel(nn.Module):
    """A module that its configuration describes, and that is stored with it.

    Subclasses take (config, generator=None) and set what their files are called.

    Attributes:
        kind: the word in a file that says which model its weights are for.
        shipped: file of the weights that come with the package.
        config: sizes of the model, and whatever else made its weights.
    """

    kind: ClassVar[str]
    shipped: ClassVar[Path]

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config

    def save(self, path: str | Path) -> None:
        """Write weights and configuration."""
        save_weights(path, self.kind, self.state_dict(), self.config)

    @classmethod
    def load(cls: type[Model], path: str | Path) -> Model:
        """The model of a file of :meth:`save`.

        Raises:
            InputError: if the file is missing, unreadable, of another kind or of a model that is built otherwise.
        """
        state, config = load_weights(path, cls.kind)
        try:
            model = cls(config)
            model.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"{path}: its weights do not fit the model, another version may have made it") from error
        return model.eval()

    @classmethod
    def named(cls: type[Model], model: str | Path | Model) -> Model:
        """The shipped model for "default", the model in a file for a path, a model itself otherwise."""
        if isinstance(model, SavedModel):
            return model
        path = cls.shipped if model == "default" else Path(model)
        modified = path.stat().st_mtime if path.is_file() else 0.0
        if (cls, path, modified) not in _LOADED:
            _LOADED[cls, path, modified] = cls.load(path)
        return _LOADED[cls, path, modified]  # type: ignore[return-value]  # keyed by the class


_LOADED: dict[tuple[type, Path, float], SavedModel] = {}
