"""Ridge regression from many features of few windows, its penalty chosen by leaving whole groups out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.linalg import cho_factor, cho_solve

SHARPNESS = 3.0  # of a softmax over scores, which aim at 1 for the class and -1 for the others
FOLDS = 4  # of the choice of the penalty
PENALTIES = tuple(10.0**k for k in (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5))  # of the mean square norm of a row


def class_targets(codes: Int[np.ndarray, "n"], classes: int) -> Float[np.ndarray, "n classes"]:
    """What scores aim at, 1 for the class and -1 for the others."""
    return np.where(codes[:, None] == np.arange(classes), 1.0, -1.0)


def folds_of(parts: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """At most :data:`FOLDS` sets of whole parts 0, 1, ...; sets of examples where there is one part alone."""
    return np.arange(len(parts)) % FOLDS if parts.max() == 0 else parts % FOLDS


def group_residuals(
    gram: Float[np.ndarray, "n n"],
    targets: Float[np.ndarray, "n k"],
    parts: Shaped[np.ndarray, "n"],
    penalty: float,
) -> Float[np.ndarray, "n k"]:
    """Errors of kernel ridge regression on every part, fitted to the other parts, from one inverse.

    With G = (gram + penalty)^-1 the errors on part B are (G_BB)^-1 (G targets)_B: the block form of the leave-one-out
    formula (Rifkin and Lippert 2007, eq. 9).
    """
    n = len(gram)
    inverse = cho_solve(cho_factor(gram + penalty * np.eye(n)), np.eye(n))
    dual = inverse @ targets
    residuals = np.empty_like(targets)
    for part in np.unique(parts):
        here = parts == part
        residuals[here] = np.linalg.solve(inverse[np.ix_(here, here)], dual[here])
    return residuals


def choose_penalty(
    gram: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n k"], parts: Shaped[np.ndarray, "n"]
) -> float:
    """The penalty among :data:`PENALTIES` times the mean diagonal with the least squared error on parts left out."""
    scale = float(np.trace(gram)) / len(gram) or 1.0
    errors = [np.square(group_residuals(gram, targets, parts, scale * p)).sum() for p in PENALTIES]
    return scale * PENALTIES[int(np.argmin(errors))]


def dual_weights(
    gram: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n k"], penalty: float
) -> Float[np.ndarray, "n k"]:
    """(gram + penalty)^-1 targets; the primal weights are the features' transpose times these."""
    return cho_solve(cho_factor(gram + penalty * np.eye(len(gram))), targets)
