"""Short sequences on SO(3)^k told apart by kernels of elastic distances of velocity and pose, without tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from manifoldnet.activity.channels import mean_attitude
from manifoldnet.activity.elastic import posed_transform
from manifoldnet.activity.ridge import SHARPNESS, choose_penalty, class_targets, dual_weights, folds_of
from manifoldnet.activity.windows import MIRROR, resample_rotations
from manifoldnet.curves import pairwise_elastic_distance, unit_length
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3

STEADY = 1e-6  # rad; a pose that changes less than this is at rest


class ElasticSequenceClassifier(ClassifierMixin, BaseEstimator):
    """Kernel ridge regression on sequences of rotations (N, k, 3, 3), such as skeletons of 1 to 3 seconds.

    The kernel is the mean of exp(-d^2 / m), m the median of the training data's d^2, over two distances: the elastic
    one of :func:`~manifoldnet.activity.elastic.posed_transform`, scaled to norm 1, in which velocity and pose weigh
    alike, which is the same at whatever speed a sequence is run through; and the L2 distance of poses at equal shares
    of the time, which is not, and is less disturbed by jitter. With ``places`` it is averaged over the mirror image,
    so that the answer for a left-handed person is that for a right-handed one.

    Poses are compared as they are: rotations must be relative to the person, not to the room
    (:func:`manifoldnet.activity.skeleton.relative_rotations`).

    Args:
        rate: not used; sequences have no common clock.
        seed: not used; nothing is random.
        cells: to which sequences are resampled.
        slopes: as in :func:`manifoldnet.curves.elastic_distance`.
        places: (k,) the body that takes each one's place in the mirror (x -> -x of the person), or None.

    Attributes:
        classes_: (classes,), sorted.
        penalty_: of the ridge, chosen by leaving groups out.
    """

    def __init__(
        self,
        *,
        rate: float | int = 30.0,
        seed: int = 0,
        cells: int = 16,
        slopes: int = 4,
        places: Sequence[int] | None = None,
    ) -> None:
        self.rate = rate
        self.seed = seed
        self.cells = cells
        self.slopes = slopes
        self.places = places

    def fit(
        self,
        sequences: Float[np.ndarray, "n t k 3 3"] | Sequence[np.ndarray],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"] | None = None,
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> ElasticSequenceClassifier:
        """Learn from sequences.

        Args:
            sequences: (N, k, 3, 3) each, of any lengths >= 3.
            labels: of any sortable type.
            groups: who moved; the penalty is chosen by leaving whole groups out.
            sides: 0 or 1: sequences of side 1 are mirrored onto side 0, and no mirror images are averaged.

        Raises:
            InputError: for a wrong shape, fewer than two classes, or places that are no permutation of the bodies.
        """
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"labels: wanted at least two classes, got {len(self.classes_)}")
        motions = self._motions(sequences, sides)
        self.centre_ = motions.pose.mean((0, 1))
        self.weight_ = float((motions.pose - self.centre_).square().sum(-1).mean().clamp_min(STEADY**2).rsqrt())
        self.training_ = self._compared(motions)
        distances = self._distances(self.training_, mirrored=sides is None)
        self.medians_ = [d.flatten(0, 1).median().clamp_min(STEADY**2) for d in distances]
        kernel = self._kernel(distances)
        targets = class_targets(codes, len(self.classes_))
        self.offset_ = targets.mean(0)
        parts = np.arange(len(codes)) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.penalty_ = choose_penalty(kernel, targets - self.offset_, folds_of(parts))
        self.dual_ = dual_weights(kernel, targets - self.offset_, self.penalty_)
        return self

    def scores(
        self,
        sequences: Float[np.ndarray, "n t k 3 3"] | Sequence[np.ndarray],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> Float[np.ndarray, "n classes"]:
        """Values of the ridge, which aim at 1 for the class and -1 for the others."""
        check_is_fitted(self)
        compared = self._compared(self._motions(sequences, sides))
        return self._kernel(self._distances(compared, mirrored=sides is None)) @ self.dual_ + self.offset_

    def predict_proba(
        self,
        sequences: Float[np.ndarray, "n t k 3 3"] | Sequence[np.ndarray],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> Float[np.ndarray, "n classes"]:
        """softmax(3 scores); ``sides`` as in the fit."""
        return torch.from_numpy(SHARPNESS * self.scores(sequences, sides)).softmax(1).numpy()

    def predict(
        self,
        sequences: Float[np.ndarray, "n t k 3 3"] | Sequence[np.ndarray],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> Shaped[np.ndarray, "n"]:
        """The classes with the highest scores."""
        return self.classes_[self.scores(sequences, sides).argmax(1)]

    def tensors(self) -> dict[str, Tensor]:
        """What the fit found, besides ``classes_``."""
        check_is_fitted(self)
        return {
            "elastic": self.training_.elastic,
            "pose": self.training_.pose,
            "centre": self.centre_,
            "numbers": torch.tensor([self.weight_, *self.medians_], dtype=torch.float64),
            "offset": torch.from_numpy(self.offset_),
            "dual": torch.from_numpy(self.dual_),
        }

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> ElasticSequenceClassifier:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_, self.centre_ = classes, tensors["centre"]
        self.training_ = _Compared(tensors["elastic"], tensors["pose"])
        self.weight_, *medians = tensors["numbers"].tolist()
        self.medians_ = [torch.tensor(median, dtype=torch.float32) for median in medians]
        self.offset_, self.dual_ = tensors["offset"].numpy(), tensors["dual"].numpy()
        return self

    def _motions(self, sequences: np.ndarray | Sequence[np.ndarray], sides: np.ndarray | None) -> _Motions:
        shapes = {np.shape(sequence)[1:] for sequence in sequences}
        if len(shapes) != 1 or len(next(iter(shapes))) != 3 or next(iter(shapes))[1:] != (3, 3):
            raise InputError(f"sequences: wanted (N, k, 3, 3) with one k, got shapes (N, *) of {sorted(shapes)}")
        if min(map(len, sequences)) < 3:
            raise InputError(f"sequences: wanted at least 3 frames, got {min(map(len, sequences))}")
        bodies = next(iter(shapes))[0]
        if self.places is not None and sorted(self.places) != list(range(bodies)):
            raise InputError(f"places: wanted a permutation of the {bodies} bodies, got {list(self.places)}")
        even = np.stack([resample_rotations(smoothed(sequence), self.cells + 1) for sequence in sequences])
        points = torch.from_numpy(even).float()
        velocity = SO3().log(points[:, :-1].mT @ points[:, 1:]).flatten(-2)
        motions = _Motions(velocity, ((points[:, :-1] + points[:, 1:]) / 2).flatten(-3))
        if sides is None:
            return motions
        which = torch.from_numpy(np.asarray(sides) == 1)[:, None, None]
        return _Motions(*(torch.where(which, *pair) for pair in zip(self._mirrored(motions), motions, strict=True)))

    def _mirrored(self, motions: _Motions) -> _Motions:
        """The mirrored person's, of motions that are not centred."""
        signs = torch.as_tensor(MIRROR, dtype=torch.float32)
        velocity, pose = motions.velocity.unflatten(-1, (-1, 3)), motions.pose.unflatten(-1, (-1, 3, 3))
        places = list(range(velocity.shape[-2])) if self.places is None else list(self.places)
        turned = velocity[..., places, :] * signs[:3]
        return _Motions(turned.flatten(-2), (pose[..., places, :, :] * signs[3:, None] * signs[3:]).flatten(-3))

    def _compared(self, motions: _Motions) -> _Compared:
        """What distances are taken of: the sequences and, with ``places``, their mirror images, (images, n, ...)."""
        images = [motions] if self.places is None else [motions, self._mirrored(motions)]
        transforms, poses = [], []
        for image in images:
            pose = image.pose - self.centre_
            transforms.append(unit_length(posed_transform(image.velocity, pose, self.weight_)))
            poses.append(pose.flatten(1) / self.cells**0.5)
        return _Compared(torch.stack(transforms), torch.stack(poses))

    def _distances(self, compared: _Compared, *, mirrored: bool) -> list[Float[Tensor, "images n training"]]:
        """Squared distances of the sequences, and of their mirror images, to the training sequences."""
        images = len(compared.elastic) if mirrored else 1
        elastic = [
            pairwise_elastic_distance(compared.elastic[i], self.training_.elastic[0], self.slopes).square()
            for i in range(images)
        ]
        pose = torch.cdist(compared.pose[:images], self.training_.pose[:1].expand(images, -1, -1)).square()
        return [torch.stack(elastic), pose]

    def _kernel(self, distances: list[Tensor]) -> Float[np.ndarray, "n training"]:
        kernels = [(-d / m).exp().mean(0) for d, m in zip(distances, self.medians_, strict=True)]
        return torch.stack(kernels).mean(0).double().numpy()


class _Motions(NamedTuple):
    """``velocity`` (n, cells, 3 k) in rad a cell; ``pose`` (n, cells, 9 k), matrix entries at the cells' middles."""

    velocity: Tensor
    pose: Tensor


class _Compared(NamedTuple):
    """``elastic`` (images, n, cells, 12 k) of norm 1; ``pose`` (images, n, 9 k cells)."""

    elastic: Tensor
    pose: Tensor


def smoothed(rotations: Float[np.ndarray, "n k 3 3"]) -> Float[np.ndarray, "n k 3 3"]:
    """Rotations without the jitter of single frames: chordal means of neighbours with weights 1, 2, 1, ends kept."""
    sums = rotations[:-2] + 2 * rotations[1:-1] + rotations[2:]
    inner = mean_attitude(sums.reshape(-1, 1, 3, 3)).reshape(sums.shape)
    return np.concatenate([rotations[:1], inner, rotations[-1:]])
