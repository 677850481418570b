"""What a classifier of windows offers, so that an ensemble and the classifier of recordings can hold any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@runtime_checkable
class WindowModel(Protocol):
    """A classifier of inertial windows (n, t, 6): gyroscope xyz in rad/s, then acceleration xyz in g.

    Its constructor takes keyword arguments only, ``rate`` in Hz and ``seed`` of everything random among them, and keeps
    them as attributes of those names (scikit-learn's ``get_params`` then works); fitting does not change them.

    Attributes:
        classes_: (classes,) the labels in the order of the columns of :meth:`predict_proba`, sorted.
    """

    if TYPE_CHECKING:  # a check at run time would refuse an unfitted model, which has none
        classes_: np.ndarray

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> WindowModel:
        """Learn from windows.

        Args:
            windows: as above.
            labels: of any sortable type.
            groups: who moved; parameters are chosen by leaving whole groups out.
            sides: 0 left, 1 right; None where they are unknown, and then no side is used in the prediction either.
        """

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes, rows of sum 1. ``sides`` as in the fit: given if they were given there."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, which JSON can hold."""

    def tensors(self) -> dict[str, Tensor]:
        """What a fit found, besides ``classes_``; keys without a dot."""

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> WindowModel:
        """Become the fitted model whose ``classes_`` and :meth:`tensors` these are; KeyError where one is missing."""
