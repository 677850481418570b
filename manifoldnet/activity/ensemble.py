"""Several models of windows, and the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, clone
from torch import Tensor

from manifoldnet.activity.window_model import WindowModel


class EnsembleModel(BaseEstimator):
    """The mean of the probabilities of ``members``, which are fitted as copies and equally weighted."""

    classes_: np.ndarray

    def __init__(self, members: Sequence[WindowModel]) -> None:
        self.members = members

    def fit(
        self,
        windows: Float[np.ndarray, "n t *point"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> EnsembleModel:
        """Learn; see :class:`~manifoldnet.activity.window_model.WindowModel`."""
        self.classes_ = np.unique(labels)
        self.members_ = [clone(member).fit(windows, labels, groups, sides) for member in self.members]
        return self

    def predict_proba(
        self, windows: Float[np.ndarray, "n t *point"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Mean of the members' probabilities."""
        return np.mean([member.predict_proba(windows, sides) for member in self.members_], axis=0)

    def tensors(self) -> dict[str, Tensor]:
        """What a fit found; keys begin with the number of the member."""
        return {
            f"{k}:{name}": tensor for k, member in enumerate(self.members_) for name, tensor in member.tensors().items()
        }

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> EnsembleModel:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_ = classes
        self.members_ = []
        for k, member in enumerate(self.members):
            own = {name[len(f"{k}:") :]: tensor for name, tensor in tensors.items() if name.startswith(f"{k}:")}
            self.members_.append(clone(member).restore(classes, own))
        return self
