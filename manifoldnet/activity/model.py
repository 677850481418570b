"""Recognise activities in recordings of movement: a scikit-learn estimator over models of their windows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from manifoldnet.activity.io import SHORTEST, Recording
from manifoldnet.activity.models import build, named
from manifoldnet.activity.window_model import WindowModel
from manifoldnet.activity.windows import resample_imu, resample_rotations, windows
from manifoldnet.curves.estimators import CurveEstimator
from manifoldnet.errors import InputError
from manifoldnet.training import load_weights, save_weights
from manifoldnet.training.fit import check_device

KINDS = ("imu", "rotations")


class ActivityClassifier(ClassifierMixin, CurveEstimator):
    """Classifier of recordings of any lengths: of their windows, whose probabilities are averaged.

    A window is a curve on SO(3) x R^3 (attitude and velocity, whose increments a gyroscope and an accelerometer
    measure) or on SO(3)^k. Which wrist wore the sensor can be told as ``sides``, in the fit and then in every
    prediction; recordings of one side are then mirrored onto the other (polar and axial vectors each in their way).
    Where it is not told, mirror images of the training data take part and predictions are the same for both images.

    Args:
        kind: "imu", curves (N, 6), gyroscope xyz in rad/s then acceleration xyz in g; or "rotations", (N, k, 3, 3).
        rate: samples per second of all curves.
        model: a name in :data:`manifoldnet.activity.models.MODELS`, or "auto": "fast" for "imu" (random competing
            convolutions, trained in seconds), "elastic" for "rotations" (nearest neighbours under the elastic
            distance). "best" is an ensemble with a network.
        seconds: length of a window; a shorter curve is slowed down to fill one.
        mirror: whether the mirror image x -> -x of a movement is one that others make (x points across the body's plane
            of symmetry, as on a watch), where sides are not told.
        options: further arguments of the model, by name.
        seed: of everything random.
        device: "cpu" or "cuda", for the training of networks.

    Attributes:
        classes_: (classes,) the labels, sorted.
        model_: the fitted model of windows.
        with_sides_: whether sides were told.
    """

    def __init__(
        self,
        kind: str = "imu",
        rate: float = 50.0,
        *,
        model: str = "auto",
        seconds: float = 4.0,
        mirror: bool = True,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.kind = kind
        self.rate = rate
        self.model = model
        self.seconds = seconds
        self.mirror = mirror
        self.options = options
        self.seed = seed
        self.device = device

    def fit(
        self,
        X: Sequence[np.ndarray],
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sides: ArrayLike | None = None,
    ) -> ActivityClassifier:
        """Learn from curves X with labels y.

        Args:
            X: curves of any lengths.
            y: (len(X),) labels.
            groups: (len(X),) who moved. What is chosen or trained inside is then made for somebody new.
            sides: (len(X),) the wrist, 0 left and 1 right; None where it is not known.

        Raises:
            InputError: for a wrong kind, model or shape, labels that do not match, or fewer than two classes.
        """
        labels = self._of_each(X, y, "y", "label")
        who = np.arange(len(X)) if groups is None else self._of_each(X, groups, "groups", "group")
        if len(np.unique(labels)) < 2:
            raise InputError(f"y: wanted at least two classes, got {len(np.unique(labels))}")
        wrists = self._sides(X, sides)
        check_device(self.device)
        model = self._unfitted()  # what is wrong with the arguments is said before the work
        pieces, owner = self._pieces(X, self.seconds / named(self.model, self.kind).overlap)
        self.config_: dict[str, Any] = {}
        self.with_sides_ = wrists is not None
        self.model_ = model.fit(pieces, labels[owner], who[owner], None if wrists is None else wrists[owner])
        self.classes_ = self.model_.classes_
        return self

    def _of_each(self, X: Sequence[np.ndarray], values: ArrayLike, name: str, what: str) -> np.ndarray:
        array = np.asarray(values)
        if array.shape != (len(X),):
            raise InputError(f"{name}: wanted one {what} for each of the {len(X)} curves, got shape {array.shape}")
        return array

    def _sides(self, X: Sequence[np.ndarray], sides: ArrayLike | None) -> np.ndarray | None:
        if sides is None:
            return None
        array = self._of_each(X, sides, "sides", "side")
        if self.kind != "imu":
            raise InputError(f"sides: wanted None for recordings of kind {self.kind!r}")
        if not np.isin(array, (0, 1)).all():
            raise InputError(f"sides: wanted 0 (left) or 1 (right), got {np.unique(array).tolist()}")
        return array.astype(np.int64)

    def _unfitted(self) -> WindowModel:
        if self.kind not in KINDS:
            raise InputError(f"kind: wanted one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.rate > 0:
            raise InputError(f"rate: wanted a positive number of samples per second, got {self.rate}")
        given = {name: getattr(self, name) for name in ("rate", "seed", "device", "mirror")}
        return build(self.model, self.kind, **{**given, **(self.options or {})})

    def curve_of(self, recording: Recording) -> np.ndarray:
        """The samples of a recording at this classifier's rate.

        Raises:
            InputError: if the recording is of another kind.
        """
        if recording.kind != self.kind:
            raise InputError(f"{recording.name}: wanted a recording of kind {self.kind!r}, got {recording.kind!r}")
        count = round(len(recording.samples) * self.rate / recording.rate)
        if count == len(recording.samples):
            return recording.samples
        if self.kind == "imu":
            return resample_imu(recording.samples, count, recording.rate)
        return resample_rotations(recording.samples, count)

    def _pieces(self, X: Sequence[np.ndarray], step: float) -> tuple[np.ndarray, np.ndarray]:
        """The windows of all curves, ``step`` seconds apart, and for every window the number of its curve."""
        pieces = [self._windows(curve, step) for curve in X]
        sizes = {piece.shape[2] for piece in pieces}
        if len(sizes) != 1:
            raise InputError(f"X: wanted curves of one number of bodies, got {sorted(sizes) or 'no curve'}")
        return np.concatenate(pieces), np.repeat(np.arange(len(X)), [len(piece) for piece in pieces])

    def _windows(self, curve: np.ndarray, step: float) -> np.ndarray:
        """Windows (windows, length, *point) of one curve."""
        curve = np.asarray(curve, np.float64)
        wanted = (6,) if self.kind == "imu" else (3, 3)
        if curve.shape[-len(wanted) :] != wanted or curve.ndim != (2 if self.kind == "imu" else 4):
            shape = "(N, 6)" if self.kind == "imu" else "(N, k, 3, 3)"
            raise InputError(f"X: wanted curves of shape {shape} for kind {self.kind!r}, got {curve.shape}")
        least = SHORTEST[self.kind]
        if len(curve) < least:
            raise InputError(f"X: wanted curves of at least {least} samples, got one of {len(curve)}")
        if not np.isfinite(curve).all():
            raise InputError(
                f"X: wanted finite samples, got {int((~np.isfinite(curve)).sum())} that are NaN or infinite"
            )
        length = round(self.seconds * self.rate)
        if 0 < len(curve) < length:
            curve = self._slowed(curve, length)
        return windows(curve, self.rate, self.seconds, step)

    def _slowed(self, curve: np.ndarray, count: int) -> np.ndarray:
        if self.kind == "rotations":
            return resample_rotations(curve, count)
        slower = resample_imu(curve, count, self.rate)
        slower[:, :3] *= len(curve) / count  # the same turn in more time
        return slower

    def window_probabilities(
        self, X: Sequence[np.ndarray], sides: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities (windows, classes) of all curves' windows, and the curve (windows,) each is from."""
        check_is_fitted(self)
        wrists = self._sides(X, sides)
        self._check_told(wrists is not None)
        pieces, owner = self._pieces(X, self.seconds)
        return self.model_.predict_proba(pieces, None if wrists is None else wrists[owner]), owner

    def _check_told(self, told: bool) -> None:
        if told != self.with_sides_:
            wanted = "the sides, which the fit had" if self.with_sides_ else "None, as in the fit"
            raise InputError(f"sides: wanted {wanted}")

    def predict_proba(self, X: Sequence[np.ndarray], sides: ArrayLike | None = None) -> np.ndarray:
        """(len(X), classes): the mean of :meth:`window_probabilities` over a curve's windows."""
        probabilities, owner = self.window_probabilities(X, sides)
        return np.stack([probabilities[owner == k].mean(0) for k in range(len(X))])

    def predict(self, X: Sequence[np.ndarray], sides: ArrayLike | None = None) -> np.ndarray:
        """(len(X),) labels."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X, sides).argmax(1)]

    def stream(
        self, samples: Iterable[ArrayLike], side: int | None = None, *, every: float = 1.0
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Probabilities while the samples arrive: of the last window, ``every`` so many seconds.

        Args:
            samples: one (*point) after the other, (6,) or (k, 3, 3).
            side: 0 left, 1 right, if the fit had sides.
            every: seconds between answers; the first comes with the first whole window.

        Yields:
            (seconds since the first sample began, (classes,) for the window that ends then, as in a prediction).

        Raises:
            InputError: for samples of different shapes, and as a prediction.
        """
        check_is_fitted(self)
        length, stride = round(self.seconds * self.rate), round(every * self.rate)
        if stride < 1:
            raise InputError(f"every: {every:g} s at {self.rate:g} Hz are less than one sample")
        sides = None if side is None else [side]
        last: list[np.ndarray] = []
        for number, sample in enumerate(samples, 1):
            last = [*last[-(length - 1) :], np.asarray(sample, np.float64)] if length > 1 else [np.asarray(sample)]
            if last[-1].shape != last[0].shape:
                raise InputError(f"samples: wanted all of shape {last[0].shape}, got {last[-1].shape}")
            if len(last) == length and (number - length) % stride == 0:
                yield number / self.rate, self.window_probabilities([np.stack(last)], sides)[0][0]

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier, with ``config_``, what it was fitted to, if :func:`train.train` made it."""
        check_is_fitted(self)
        about = {
            "classes": self.classes_.tolist(),
            "parameters": self.get_params(),
            "config": self.config_,
            "with_sides": self.with_sides_,
        }
        try:
            json.dumps(about)
        except TypeError as error:
            raise InputError(f"options: a file holds numbers, words and lists ({error})") from error
        save_weights(path, "activity", self.model_.tensors(), about)

    @classmethod
    def load(cls, path: str | Path) -> ActivityClassifier:
        """The classifier of a file of :meth:`save`.

        Raises:
            InputError: if the file is missing, unreadable, of another kind or of another version.
        """
        state, about = load_weights(path, "activity")
        try:
            classifier = cls(**about["parameters"])
            classifier.config_ = about["config"]
            classifier.with_sides_ = about["with_sides"]
            classifier.classes_ = np.array(about["classes"])
            classifier.model_ = classifier._unfitted().restore(classifier.classes_, state)
        except (KeyError, RuntimeError, TypeError) as error:
            raise InputError(f"{path}: its weights do not fit the model, another version may have made it") from error
        return classifier
