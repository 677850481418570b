"""Windows of inertial samples told apart by how near pieces of them come elastically, and by log-signatures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from manifoldnet.activity.augment import canonical
from manifoldnet.activity.elastic import (
    ElasticPieces,
    choose_pieces,
    inertial_transform,
    mirrored_transform,
)
from manifoldnet.activity.ridge import SHARPNESS, choose_penalty, class_targets, dual_weights, folds_of
from manifoldnet.activity.windows import mirror, resample_imu
from manifoldnet.curves import logsignature
from manifoldnet.errors import InputError

WIDTH = 3.0  # of the kernels, in medians of squared distances
CELLS = 100  # of a window for signatures
SEGMENTS = ((12, 6), (25, 12), (50, 25))  # length and stride, in cells, of what signatures are taken of
DEPTH = 3
LEAST = 1e-6


class _View(NamedTuple):
    """One family of features and its part of the model.

    Attributes:
        training: (images, n, features), standardised; two images where sides are unknown, the second mirrored.
        centre, scale: (features,).
        median: of squared distances of training windows.
        dual: (n, classes).
    """

    training: Tensor
    centre: Tensor
    scale: Tensor
    median: Tensor
    dual: Tensor


class ElasticClassifier(ClassifierMixin, BaseEstimator):
    """Intrinsic classifier of inertial windows (n, t, 6) by two families of features of curves in SO(3) x R^3.

    * :class:`~manifoldnet.activity.elastic.ElasticPieces`: elastic distances, velocity and gravity's direction
      together, of pieces of a window, at all phases, to random pieces of training windows, all of norm 1.
    * Log-signatures of segments of three lengths of the path in SO(3) x R^3, their means, deviations and extremes over
      the window. How fast a segment is run through within its time changes nothing.

    Each family has a Gaussian kernel, averaged over the mirror image where sides are unknown (which makes the answer
    the same for both), and a ridge; their probabilities are averaged. Nothing depends on the attitude in which a window
    begins. How a sensor is mounted does count, and so does the speed as a whole, because accelerations do not follow
    it as velocities of rotation do.

    Args:
        rate: samples per second of the windows.
        seed: of the choice of pieces.
        cells: to which a window is resampled for elastic distances.
        length, stride: of pieces, in these cells.
        count: of pieces of training windows.
        slopes: as in :func:`manifoldnet.curves.elastic_distance`.
        turning, pull: by which angular velocities (rad/s) and accelerations (g) are divided.
        mirror: whether the mirror image x -> -x of a window is one that others make, where no sides are given.

    Attributes:
        classes_: (classes,), sorted.
    """

    def __init__(
        self,
        *,
        rate: float | int = 50.0,
        seed: int = 0,
        cells: int = 40,
        length: int = 16,
        stride: int = 4,
        count: int = 300,
        slopes: int = 3,
        turning: float | int = 2.1,
        pull: float | int = 1.0,
        mirror: bool = True,
    ) -> None:
        self.rate = rate
        self.seed = seed
        self.cells = cells
        self.length = length
        self.stride = stride
        self.count = count
        self.slopes = slopes
        self.turning = turning
        self.pull = pull
        self.mirror = mirror

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"] | None = None,
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> ElasticClassifier:
        """Learn from windows; see :class:`~manifoldnet.activity.window_model.WindowModel`.

        Raises:
            InputError: for fewer than two classes, or pieces that do not fit the cells.
        """
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"labels: wanted at least two classes, got {len(self.classes_)}")
        parts = np.arange(len(codes)) if groups is None else np.unique(groups, return_inverse=True)[1]
        whole = canonical(windows, sides)
        self.pieces_ = choose_pieces(
            self._transform(whole),
            codes,
            self.count,
            self.length,
            self.stride,
            self.slopes,
            np.random.default_rng(self.seed),
        )
        targets = class_targets(codes, len(self.classes_))
        self.offset_ = targets.mean(0)
        self.views_ = [
            _fitted(features, targets - self.offset_, parts)
            for features in self._features(whole, self.mirror and sides is None)
        ]
        return self

    def scores(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "views n classes"]:
        """Values of the ridges, elastic and of signatures, which aim at 1 for the class and -1 for the others."""
        check_is_fitted(self)
        features = self._features(canonical(windows, sides), self.mirror and sides is None)
        return np.stack([_scores(*pair) for pair in zip(self.views_, features, strict=True)]) + self.offset_

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Mean of softmax(3 scores) of both families; ``sides`` as in the fit: given if they were given there."""
        return torch.from_numpy(SHARPNESS * self.scores(windows, sides)).softmax(-1).mean(0).numpy()

    def predict(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Shaped[np.ndarray, "n"]:
        """The most probable classes."""
        return self.classes_[self.predict_proba(windows, sides).argmax(1)]

    def tensors(self) -> dict[str, Tensor]:
        """What the fit found, besides ``classes_``."""
        check_is_fitted(self)
        out = {
            "prototypes": self.pieces_.prototypes,
            "piece_scales": self.pieces_.scales,
            "offset": torch.from_numpy(self.offset_),
        }
        for name, view in zip(("elastic", "signature"), self.views_, strict=True):
            out |= {f"{name}_{field}": value for field, value in view._asdict().items()}
        return out

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> ElasticClassifier:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_, self.offset_ = classes, tensors["offset"].numpy()
        self.pieces_ = ElasticPieces(tensors["prototypes"], tensors["piece_scales"], self.stride, self.slopes)
        self.views_ = [
            _View(*(tensors[f"{name}_{field}"] for field in _View._fields)) for name in ("elastic", "signature")
        ]
        return self

    def _transform(self, windows: np.ndarray) -> Tensor:
        return inertial_transform(windows, self.rate, self.cells, self.turning, self.pull)

    def _features(self, windows: np.ndarray, both: bool) -> list[Float[Tensor, "images n features"]]:
        """The two families, of the windows and, if ``both``, of their mirror images."""
        q = self._transform(windows)
        transforms, images = ([q, mirrored_transform(q)], [windows, mirror(windows)]) if both else ([q], [windows])
        elastic = torch.stack([torch.from_numpy(self.pieces_.features(one)) for one in transforms])
        return [elastic, torch.stack([self._signatures(one) for one in images])]

    def _signatures(self, windows: np.ndarray) -> Float[Tensor, "n features"]:
        seconds = windows.shape[1] / self.rate
        path = resample_imu(windows, CELLS, self.rate) / np.repeat([self.turning, self.pull], 3) * (seconds / CELLS)
        steps = torch.from_numpy(path).float()
        return torch.cat([_pooled_signatures(steps, *segment) for segment in SEGMENTS], 1)


def _pooled_signatures(steps: Float[Tensor, "n cells 6"], length: int, stride: int) -> Float[Tensor, "n features"]:
    """Mean, deviation, least and greatest over segments of the signed roots of log-signatures."""
    words = logsignature(steps.unfold(1, length, stride).transpose(-1, -2).contiguous(), DEPTH)
    # levels have powers of the length; a root brings their tails in
    words = words.sign() * words.abs().sqrt()
    return torch.cat([words.mean(1), words.std(1, correction=0), words.amin(1), words.amax(1)], 1)


def _fitted(features: Float[Tensor, "images n f"], targets: np.ndarray, parts: np.ndarray) -> _View:
    centre = features.mean((0, 1))
    scale = features.std((0, 1)).clamp_min(LEAST)
    training = (features - centre) / scale
    one = torch.ones(())
    view = _View(training, centre, scale, one, one)
    squared = torch.cdist(training[0], training[0]).square()
    view = view._replace(median=squared.median().clamp_min(LEAST))
    kernel = _kernel(view, training)
    penalty = choose_penalty(kernel, targets, folds_of(parts))
    return view._replace(dual=torch.from_numpy(dual_weights(kernel, targets, penalty)))


def _kernel(view: _View, features: Float[Tensor, "images n f"]) -> Float[np.ndarray, "n training"]:
    """Means over the images of exp(-d^2 / width) with the training windows, from standardised features.

    The mirror is an isometry of features of both images only together: both sides of the kernel are averaged.
    """
    squared = torch.cdist(features[:, None].double(), view.training[None].double()).square()
    return (-squared / (WIDTH * view.median)).exp().mean((0, 1)).numpy()


def _scores(view: _View, features: Float[Tensor, "images n f"]) -> Float[np.ndarray, "n classes"]:
    return _kernel(view, (features - view.centre) / view.scale) @ view.dual.numpy()
