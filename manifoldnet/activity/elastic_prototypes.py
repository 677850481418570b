"""Pieces of movement that are learned, with the inner product in which they are compared, by Riemannian SGD."""

from __future__ import annotations

from collections.abc import Iterator

import geoopt
import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from manifoldnet.activity.augment import canonical
from manifoldnet.activity.elastic import choose_pieces, inertial_transform, mirrored_transform, pieces
from manifoldnet.curves import elastic_distance, unit_length
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SPD
from manifoldnet.training import fit, riemannian_sgd

SHARPEST = 10.0  # inverse temperature of the least distance over places


class ElasticPrototypeNetwork(nn.Module):
    """Transforms (n, cells, d) -> scores of classes, linear in their elastic distances to learned pieces.

    A distance is the softened least over the places of a curve; gradients are those of the best paths (envelope
    theorem) of :func:`manifoldnet.curves.elastic_distance`.

    Attributes:
        metric: (d, d), the inner product of cells, a parameter on SPD(d); it starts at 1.
        prototypes: (prototypes, length, d), a parameter; compared at norm 1.
        head: linear.

    Args:
        prototypes: where they start.
        owners: (prototypes,), the class of each: the head starts by preferring the class of what is near.
        classes: number of scores.
        stride: between the places, in cells.
        slopes: as in :func:`manifoldnet.curves.elastic_distance`.
    """

    def __init__(
        self, prototypes: Float[Tensor, "k length d"], owners: Int[Tensor, "k"], classes: int, stride: int, slopes: int
    ) -> None:
        super().__init__()
        d = prototypes.shape[-1]
        self.metric = geoopt.ManifoldParameter(torch.eye(d), manifold=SPD("affine-invariant", n=d))
        self.prototypes = nn.Parameter(prototypes.clone())
        self.head = nn.Linear(len(prototypes), classes)
        with torch.no_grad():
            self.head.weight.copy_(-2.0 * nn.functional.one_hot(owners, classes).T / len(prototypes) * classes)
            self.head.bias.zero_()
        self.stride, self.slopes = stride, slopes

    def forward(self, q: Float[Tensor, "n cells d"]) -> Float[Tensor, "n classes"]:
        root = torch.linalg.cholesky(self.metric)
        every = unit_length(pieces(q, self.prototypes.shape[1], self.stride) @ root)
        squared = elastic_distance(
            every.unsqueeze(-3), unit_length(self.prototypes @ root), slopes=self.slopes
        ).square()
        near = -(-SHARPEST * squared).logsumexp(1) / SHARPEST
        return self.head(near)


class ElasticPrototypeClassifier(ClassifierMixin, BaseEstimator):
    """:class:`ElasticPrototypeNetwork` for inertial windows (n, t, 6).

    Where sides are unknown, mirror images are trained on and asked for, so that the answer is the same for both.

    Args:
        rate: samples per second of the windows.
        seed: of the start and the batches.
        cells, length, stride, slopes, turning, pull: as of
            :class:`~manifoldnet.activity.elastic_model.ElasticClassifier`.
        per_class: pieces of each class.
        steps, batch, lr: of Riemannian SGD, one cycle.
        mirror: whether the mirror image x -> -x of a window is one that others make, where no sides are given.

    Attributes:
        classes_: (classes,), sorted.
        network_: the fitted network.
        losses_: of each step of the fit.
    """

    def __init__(
        self,
        *,
        rate: float | int = 50.0,
        seed: int = 0,
        cells: int = 40,
        length: int = 16,
        stride: int = 8,
        slopes: int = 3,
        turning: float | int = 2.1,
        pull: float | int = 1.0,
        per_class: int = 4,
        steps: int = 100,
        batch: int = 48,
        lr: float | int = 0.05,
        mirror: bool = True,
    ) -> None:
        self.rate = rate
        self.seed = seed
        self.cells = cells
        self.length = length
        self.stride = stride
        self.slopes = slopes
        self.turning = turning
        self.pull = pull
        self.per_class = per_class
        self.steps = steps
        self.batch = batch
        self.lr = lr
        self.mirror = mirror

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"] | None = None,
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> ElasticPrototypeClassifier:
        """Learn; see :class:`~manifoldnet.activity.window_model.WindowModel`. ``groups`` are not used.

        Raises:
            InputError: for fewer than two classes, or pieces that do not fit the cells.
        """
        self.classes_, codes = np.unique(labels, return_inverse=True)
        classes = len(self.classes_)
        if classes < 2:
            raise InputError(f"labels: wanted at least two classes, got {classes}")
        q = self._transform(windows, sides)
        start = choose_pieces(
            q, codes, classes * self.per_class, self.length, self.stride, self.slopes, np.random.default_rng(self.seed)
        )
        owners = torch.arange(classes).repeat(self.per_class)
        self.network_ = ElasticPrototypeNetwork(start.prototypes, owners, classes, self.stride, self.slopes)
        generator = torch.Generator().manual_seed(self.seed)
        target = torch.from_numpy(codes)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                chosen = torch.randperm(len(q), generator=generator)[: self.batch]
                part = q[chosen]
                if self.mirror and sides is None:
                    reflected = torch.rand(len(chosen), 1, 1, generator=generator) < 0.5
                    part = torch.where(reflected, mirrored_transform(part), part)
                yield part, target[chosen]

        optimizer = riemannian_sgd(self.network_, self.lr)
        self.losses_ = fit(self.network_, batches(), _loss, optimizer, steps=self.steps)
        return self

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes; ``sides`` as in the fit: given if they were given there."""
        check_is_fitted(self)
        q = self._transform(windows, sides)
        with torch.no_grad():
            images = [q, mirrored_transform(q)] if self.mirror and sides is None else [q]
            scores = torch.stack([self.network_(image) for image in images])
        return scores.double().softmax(-1).mean(0).numpy()

    def predict(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Shaped[np.ndarray, "n"]:
        """The most probable classes."""
        return self.classes_[self.predict_proba(windows, sides).argmax(1)]

    def tensors(self) -> dict[str, Tensor]:
        """What the fit found, besides ``classes_``."""
        check_is_fitted(self)
        return {name.replace(".", "/"): value for name, value in self.network_.state_dict().items()}

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> ElasticPrototypeClassifier:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_ = classes
        start = tensors["prototypes"]
        owners = torch.zeros(len(start), dtype=torch.long)
        self.network_ = ElasticPrototypeNetwork(start, owners, len(classes), self.stride, self.slopes)
        names = self.network_.state_dict()
        self.network_.load_state_dict({name: tensors[name.replace(".", "/")] for name in names})
        return self

    def _transform(self, windows: np.ndarray, sides: np.ndarray | None) -> Tensor:
        return inertial_transform(canonical(windows, sides), self.rate, self.cells, self.turning, self.pull)


def _loss(network: nn.Module, q: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(network(q), target)
