"""Windows told apart by their nearest neighbours under the elastic distance, with a learned inner product."""

from __future__ import annotations

from collections.abc import Iterator

import geoopt
import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from manifoldnet.activity.augment import canonical
from manifoldnet.activity.windows import mirror, resample_imu, resample_rotations
from manifoldnet.curves import elastic_distance, pairwise_elastic_distance, srvt_of_increments
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPD
from manifoldnet.training import fit, riemannian_sgd

LEAST_POWER = 1e-6  # of the strongest channel's


class ElasticMetric(nn.Module):
    """An inner product on the Lie algebra, and the square-root velocities of curves measured with it.

    Attributes:
        metric: (d, d), a parameter on SPD(d).
        log_temperature: scale of squared distances in the neighbour probabilities.
    """

    def __init__(self, initial: Float[Tensor, "d d"]) -> None:
        super().__init__()
        space = SPD("affine-invariant", n=len(initial))
        self.metric = geoopt.ManifoldParameter(initial.clone(), manifold=space)
        self.log_temperature = nn.Parameter(torch.tensor(-3.0))

    def forward(self, increments: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
        """Unit-norm q = L'v / sqrt|L'v| with metric = L L'; the length of a curve is divided out."""
        q = srvt_of_increments(increments @ torch.linalg.cholesky(self.metric))
        size = q.square().sum((-2, -1), keepdim=True)
        return q * torch.where(size > 0, torch.where(size > 0, size, 1.0).rsqrt(), 0.0)


class ElasticNeighbours(BaseEstimator):
    """Nearest neighbour of windows under the elastic distance, with a learned inner product on the Lie algebra.

    A window is a curve on SO(3) x R^3 (attitude and velocity, whose increments a gyroscope and an accelerometer
    measure) or on SO(3)^k; its distance to another is the least over all ways to run through it (``curves``).
    Windows are (n, t, 6) as in :class:`~manifoldnet.activity.window_model.WindowModel`, or rotations (n, t, k, 3, 3).

    Args:
        rate: samples per second.
        samples: cells to which a window is resampled.
        slopes: largest step of the dynamic programme.
        kept: most windows of one person and class that are kept as neighbours, evenly spaced.
        steps: steps of Riemannian SGD for the inner product; 0 keeps the inverse mean squares.
        lr: its peak learning rate.
        mirror: whether inertial windows are mirrored where sides are unknown.
        seed: of everything random.
        device: "cpu" or "cuda", for the training of the inner product.
    """

    classes_: np.ndarray

    def __init__(
        self,
        *,
        rate: float = 50.0,
        samples: int = 40,
        slopes: int = 4,
        kept: int = 8,
        steps: int = 60,
        lr: float = 0.05,
        mirror: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.rate = rate
        self.samples = samples
        self.slopes = slopes
        self.kept = kept
        self.steps = steps
        self.lr = lr
        self.mirror = mirror
        self.seed = seed
        self.device = device

    def fit(
        self,
        windows: Float[np.ndarray, "n t *point"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> ElasticNeighbours:
        """Learn; the inner product is trained on neighbours from other groups, as it is used on somebody new."""
        self.classes_, codes = np.unique(labels, return_inverse=True)
        group_codes = np.unique(groups, return_inverse=True)[1]
        (velocities,) = self._images(windows, sides)[:1]
        power = velocities.square().mean((0, 1))
        # a channel that hardly moves is not amplified without bound
        power = power.clamp_min(float((LEAST_POWER * power.max()).clamp_min(1e-12)))
        self.metric_ = ElasticMetric(torch.diag(1 / power))
        if self.steps:
            self._fit_metric(velocities, codes, group_codes)
        chosen = _spread(group_codes * len(self.classes_) + codes, self.kept)
        # rounded as a file holds them, so that a saved classifier answers as this one
        self.neighbours_ = velocities[chosen].half().float()
        self.neighbour_codes_ = torch.from_numpy(codes[chosen])
        return self

    def _fit_metric(self, velocities: Tensor, codes: np.ndarray, groups: np.ndarray) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        known = torch.from_numpy(np.stack([codes, groups]))

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                chosen = torch.randperm(len(velocities), generator=generator)[:96]
                yield velocities[chosen], known[:, chosen]

        optimizer = riemannian_sgd(self.metric_, self.lr)
        fit(self.metric_, batches(), self._neighbour_loss, optimizer, steps=self.steps, device=self.device)
        self.metric_.cpu()

    def _neighbour_loss(self, metric: ElasticMetric, velocities: Tensor, known: Tensor) -> Tensor:
        """-log of the probability of drawing a neighbour of the right class from the other groups.

        Neighbourhood components analysis (Goldberger et al. 2004) of the first third of the batch against the rest.
        """
        third = len(velocities) // 3
        q = metric(velocities)
        squared = elastic_distance(q[:third, None], q[None, third:], slopes=self.slopes).square()
        (code, group), (other_code, other_group) = known[:, :third, None], known[:, None, third:]
        scores = torch.where(group == other_group, -torch.inf, -squared / metric.log_temperature.exp())
        right = torch.where(code == other_code, scores, -torch.inf)
        usable = torch.isfinite(right).any(1)
        scores, right = (torch.where(usable[:, None], s, 0.0) for s in (scores, right))
        return (scores.logsumexp(1) - right.logsumexp(1)).sum() / usable.sum().clamp_min(1)

    def _images(self, windows: np.ndarray, sides: np.ndarray | None) -> list[Tensor]:
        """Increments (n, samples, d), float32: of the windows, and of inertial windows' mirror images without sides."""
        if windows.ndim == 3:
            whole = canonical(windows, sides)
            images = [whole, mirror(whole)] if self.mirror and sides is None else [whole]
            cell = windows.shape[1] / self.rate / self.samples
            return [torch.from_numpy(resample_imu(one, self.samples, self.rate) * cell).float() for one in images]
        if sides is not None:
            raise InputError("sides: wanted None for rotations, whose mirror image the sides do not tell")
        rotations = torch.from_numpy(np.stack([resample_rotations(one, self.samples + 1) for one in windows]))
        return [SO3().log(rotations[:, :-1].mT @ rotations[:, 1:]).flatten(-2).float()]

    def predict_proba(
        self, windows: Float[np.ndarray, "n t *point"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """softmax over classes of -d^2 / temperature, d the distance of the window or its mirror image to the class."""
        images = self._images(windows, sides)
        if images[0].shape[-1] != self.neighbours_.shape[-1]:
            bodies = self.neighbours_.shape[-1] // 3
            raise InputError(f"X: wanted curves of {bodies} bodies as in the fit, got {images[0].shape[-1] // 3}")
        with torch.inference_mode():
            metric, neighbours = self.metric_, self.metric_(self.neighbours_)
            found = [pairwise_elastic_distance(metric(one), neighbours, slopes=self.slopes) for one in images]
            distances = torch.stack(found).amin(0)
            of_class = [distances[:, self.neighbour_codes_ == k].amin(1) for k in range(len(self.classes_))]
            scores = -torch.stack(of_class, 1).square() / metric.log_temperature.exp()
        return scores.softmax(1).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """What a fit found."""
        state = self.metric_.state_dict()
        return {**state, "neighbours": self.neighbours_.half(), "neighbour_codes": self.neighbour_codes_}

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> ElasticNeighbours:
        """Become the fitted model of these; KeyError where one is missing."""
        tensors = dict(tensors)
        self.classes_ = classes
        self.neighbours_ = tensors.pop("neighbours").float()
        self.neighbour_codes_ = tensors.pop("neighbour_codes")
        self.metric_ = ElasticMetric(tensors["metric"])
        self.metric_.load_state_dict(tensors)
        return self


def _spread(cells: Int[np.ndarray, "n"], most: int) -> Int[np.ndarray, "m"]:
    """The places of at most ``most`` members of every cell, evenly spaced, in order."""
    chosen = []
    for cell in np.unique(cells):
        places = np.flatnonzero(cells == cell)
        chosen.append(places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)])
    return np.sort(np.concatenate(chosen))
