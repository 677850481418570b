"""Windows told apart by random kernels that compete for every moment of their channels on SO(3) x R^3, and a ridge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator
from torch import Tensor

from manifoldnet.activity.augment import canonical, random_mounts, remount
from manifoldnet.activity.channels import FAST, channels, mirror_signs
from manifoldnet.activity.ridge import SHARPNESS, choose_penalty, class_targets, dual_weights, folds_of
from manifoldnet.activity.winners import COMPETITORS, TAPS, count_winners

MOST = 1500  # windows in it, since its time goes with their third power


class ConvolutionModel(BaseEstimator):
    """Random competing convolutions of :func:`~manifoldnet.activity.channels.channels`, and ridge regression.

    Families of eight random kernels see the sum of a few channels, or its differences, through one spacing of their
    taps. At each moment one kernel fits best and one worst; a feature is the sum of what a kernel won, or how often it
    was worst: the idea of Hydra (Dempster, Schmidt, Webb 2023), on curves of a Lie group. Where sides are unknown every
    feature is averaged over the window and its mirror image, so the answer is the same for both.

    Args:
        rate: samples per second.
        names: names of the channels.
        families: number of families for each spacing and each of series and differences.
        copies: number of re-mounted copies of each training window.
        angle: deviation in rad of the re-mounting about each axis.
        seed: of kernels and copies.
    """

    classes_: np.ndarray

    def __init__(
        self,
        *,
        rate: float = 50.0,
        names: Sequence[str] = FAST,
        families: int = 96,
        copies: int = 0,
        angle: float = 0.3,
        mirror: bool = True,
        seed: int = 0,
    ) -> None:
        self.rate = rate
        self.names = names
        self.families = families
        self.copies = copies
        self.angle = angle
        self.mirror = mirror
        self.seed = seed

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> ConvolutionModel:
        """Learn; see :class:`~manifoldnet.activity.window_model.WindowModel`."""
        rng = np.random.default_rng(self.seed)
        self.classes_ = np.unique(labels)
        codes = np.searchsorted(self.classes_, labels)
        parts = np.unique(groups, return_inverse=True)[1]
        whole = canonical(windows, sides)
        of_whole = channels(whole, self.rate, self.names)
        self.power_ = np.sqrt(np.square(of_whole).mean((0, 2))).astype(np.float32)
        self._draw(rng, of_whole.shape[1], of_whole.shape[2])
        mounts = parts if sides is None else 2 * parts + sides
        others = [
            channels(remount(whole, random_mounts(rng, mounts, self.angle)), self.rate, self.names)
            for _ in range(self.copies)
        ]
        features = np.concatenate(
            [self._features(one, mirrored=self.mirror and sides is None) for one in (of_whole, *others)]
        )
        self.centre_ = features.mean(0)
        # a feature that seldom stirs is not amplified: its share of zeros, to the fourth power, adds to the deviation
        self.scale_ = features.std(0) + np.mean(features == 0, 0) ** 4 + 1e-6
        features = (features - self.centre_) / self.scale_
        targets = class_targets(codes, len(self.classes_))
        self.offset_ = targets.mean(0).astype(np.float32)
        targets = targets - self.offset_
        gram = (features @ features.T).astype(np.float64)
        n = len(windows)
        few = np.linspace(0, n - 1, min(n, MOST)).round().astype(int)
        penalty = choose_penalty(gram[np.ix_(few, few)], targets[few], folds_of(parts[few])) * n / len(few)
        dual = dual_weights(gram, np.tile(targets, (1 + self.copies, 1)), penalty * (1 + self.copies))
        self.weights_ = (features.T @ dual.astype(np.float32)).astype(np.float32)
        return self

    def _draw(self, rng: np.random.Generator, count: int, t: int) -> None:
        """Kernels (families, 8, 9) of mean 0 and norm 1, and what each family sees."""
        spacings = 2 ** np.arange(max(1, int(np.log2(max(2, (t - 1) / (TAPS - 1)))) + 1))
        self.spacings_ = np.repeat(spacings, 2 * self.families).astype(np.int64)
        self.differences_ = np.tile(np.repeat([False, True], self.families), len(spacings))
        shape = (len(self.spacings_), COMPETITORS, TAPS)
        kernels = rng.standard_normal(shape)
        kernels -= kernels.mean(-1, keepdims=True)
        self.kernels_ = (kernels / np.linalg.norm(kernels, axis=-1, keepdims=True)).astype(np.float32)
        few = min(max(count // 2, 2), 8, count)
        self.sources_ = rng.permuted(np.tile(np.arange(count), (len(self.spacings_), 1)), axis=1)[:, :few].copy()

    def _features(self, series: Float[np.ndarray, "n c t"], *, mirrored: bool) -> Float[np.ndarray, "n features"]:
        """Square roots of sums and numbers, the mean of those of the mirror image and these if ``mirrored``."""
        series = series / np.maximum(self.power_, 1e-6)[:, None]
        found = self._counted(series)
        return (found + self._counted(series * mirror_signs(self.names)[:, None])) / 2 if mirrored else found

    def _counted(self, series: np.ndarray) -> np.ndarray:
        out = np.empty((len(series), len(self.kernels_), 2, COMPETITORS), np.float32)
        count_winners(
            np.ascontiguousarray(series), self.sources_, self.kernels_, self.spacings_, self.differences_, out
        )
        return np.sqrt(np.maximum(out.reshape(len(series), -1), 0))

    def scores(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Values of the ridge, which aim at 1 for the class and -1 for the others."""
        series = channels(canonical(windows, sides), self.rate, self.names)
        features = self._features(series, mirrored=self.mirror and sides is None)
        return ((features - self.centre_) / self.scale_) @ self.weights_ + self.offset_

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """softmax(3 scores)."""
        scores = SHARPNESS * self.scores(windows, sides)
        odds = np.exp(scores - scores.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def tensors(self) -> dict[str, Tensor]:
        """What a fit found."""
        return {name: torch.from_numpy(np.asarray(getattr(self, f"{name}_"))) for name in _STATE}

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> ConvolutionModel:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_ = classes
        for name in _STATE:
            setattr(self, f"{name}_", tensors[name].numpy())
        return self


_STATE = ("power", "kernels", "sources", "spacings", "differences", "centre", "scale", "weights", "offset")
