"""Recognise activities by nearest neighbours under the elastic distance of curves on Lie groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geoopt
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from manifoldnet.activity.io import SHORTEST, Recording
from manifoldnet.activity.windows import resample_imu, resample_rotations, windows
from manifoldnet.curves import elastic_distance, pairwise_elastic_distance, srvt_of_increments
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPD
from manifoldnet.training import fit, load_weights, riemannian_sgd, save_weights

KINDS = ("imu", "rotations")
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


def _spread(n: int, most: int) -> np.ndarray:
    """At most ``most`` indices below n, evenly spaced."""
    return np.linspace(0, n - 1, min(most, n)).round().astype(int)


class ActivityClassifier(ClassifierMixin, BaseEstimator):
    """Nearest neighbour of windows under the elastic distance, with a learned inner product on the Lie algebra.

    A window is a curve on SO(3) x R^3 (attitude and velocity, whose increments a gyroscope and an accelerometer
    measure) or on SO(3)^k; its distance to another is the least over all ways to run through it (``curves``).

    Args:
        kind: "imu", curves (N, 6), gyroscope xyz in rad/s then acceleration xyz in g; or "rotations", (N, k, 3, 3).
        rate: samples per second of all curves.
        seconds: length of a window; a shorter curve is one window.
        samples: cells to which a window is resampled.
        slopes: largest step of the dynamic programme.
        per_curve: most windows of one training curve that are kept as neighbours, evenly spaced.
        steps: steps of Riemannian SGD for the inner product; 0 keeps the inverse mean squares.
        lr: its peak learning rate.
        seed: of everything random.
    """

    def __init__(
        self,
        kind: str = "imu",
        rate: float = 50.0,
        *,
        seconds: float = 4.0,
        samples: int = 40,
        slopes: int = 4,
        per_curve: int = 4,
        steps: int = 60,
        lr: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.kind = kind
        self.rate = rate
        self.seconds = seconds
        self.samples = samples
        self.slopes = slopes
        self.per_curve = per_curve
        self.steps = steps
        self.lr = lr
        self.seed = seed

    def fit(
        self,
        X: Sequence[np.ndarray],
        y: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        device: str = "cpu",
        progress: str | None = None,
    ) -> ActivityClassifier:
        """Learn from curves X with labels y.

        Args:
            X: curves of any lengths.
            y: (len(X),) labels.
            groups: (len(X),) who moved. The inner product is then trained on neighbours from other groups, which
                is how the classifier is used on somebody new.
            device: "cpu" or "cuda", for the training of the inner product.
            progress: title of a progress bar, or None for none.

        Raises:
            InputError: for a wrong kind or shape, labels that do not match, or fewer than two classes.
        """
        labels = np.asarray(y)
        if labels.shape != (len(X),):
            raise InputError(f"y: wanted one label for each of the {len(X)} curves, got shape {labels.shape}")
        who = np.arange(len(X)) if groups is None else np.asarray(groups)
        if who.shape != (len(X),):
            raise InputError(f"groups: wanted one for each of the {len(X)} curves, got shape {who.shape}")
        self.config_: dict[str, Any] = {}
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y: wanted at least two classes, got {len(self.classes_)}")
        pieces, owner = self._pieces(X)
        velocities = torch.cat(pieces)
        power = velocities.square().mean((0, 1))
        # a channel that hardly moves is not amplified without bound
        power = power.clamp_min(float((LEAST_POWER * power.max()).clamp_min(1e-12)))
        self.metric_ = ElasticMetric(torch.diag(1 / power))
        if self.steps:
            group_codes = np.unique(who, return_inverse=True)[1]
            self._fit_metric(velocities, codes[owner], group_codes[owner], device, progress)
        kept = [piece[_spread(len(piece), self.per_curve)] for piece in pieces]
        # rounded as a file holds them, so that a saved classifier answers as this one
        self.neighbours_ = torch.cat(kept).half().float()
        self.neighbour_codes_ = np.repeat(codes, [len(piece) for piece in kept])
        return self

    def _fit_metric(
        self, velocities: Tensor, codes: np.ndarray, groups: np.ndarray, device: str, progress: str | None
    ) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        known = torch.from_numpy(np.stack([codes, groups]))

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                chosen = torch.randperm(len(velocities), generator=generator)[:96]
                yield velocities[chosen], known[:, chosen]

        optimizer = riemannian_sgd(self.metric_, self.lr)
        fit(
            self.metric_,
            batches(),
            self._neighbour_loss,
            optimizer,
            steps=self.steps,
            device=device,
            progress=progress,
        )
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

    def _pieces(self, X: Sequence[np.ndarray]) -> tuple[list[Tensor], np.ndarray]:
        """The windows of each curve, and for every window the number of its curve."""
        pieces = [self._increments(curve) for curve in X]
        sizes = {piece.shape[-1] // 3 for piece in pieces}
        if len(sizes) != 1:
            raise InputError(f"X: wanted curves of one number of bodies, got {sorted(sizes) or 'no curve'}")
        return pieces, np.repeat(np.arange(len(X)), [len(piece) for piece in pieces])

    def _increments(self, curve: np.ndarray) -> Tensor:
        """Windows of one curve as logarithmic increments (windows, samples, d), float32."""
        if self.kind not in KINDS:
            raise InputError(f"kind: wanted one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.rate > 0:
            raise InputError(f"rate: wanted a positive number of samples per second, got {self.rate}")
        curve = np.asarray(curve, np.float64)
        wanted = (6,) if self.kind == "imu" else (3, 3)
        if curve.shape[-len(wanted) :] != wanted or curve.ndim != (2 if self.kind == "imu" else 4):
            shape = "(N, 6)" if self.kind == "imu" else "(N, k, 3, 3)"
            raise InputError(f"X: wanted curves of shape {shape} for kind {self.kind!r}, got {curve.shape}")
        if len(curve) < SHORTEST:
            raise InputError(f"X: wanted curves of at least {SHORTEST} samples, got one of {len(curve)}")
        if not np.isfinite(curve).all():
            raise InputError(
                f"X: wanted finite samples, got {int((~np.isfinite(curve)).sum())} that are NaN or infinite"
            )
        seconds = min(self.seconds, len(curve) / self.rate)
        cut = windows(curve, self.rate, seconds)
        if self.kind == "imu":
            increments = resample_imu(cut, self.samples, self.rate) * (seconds / self.samples)
            return torch.from_numpy(increments).float()
        rotations = torch.from_numpy(np.stack([resample_rotations(piece, self.samples + 1) for piece in cut]))
        return SO3().log(rotations[:, :-1].mT @ rotations[:, 1:]).flatten(-2).float()

    def window_probabilities(self, X: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities (windows, classes) of all windows of all curves, and the curve (windows,) each is from.

        softmax over classes of -d^2 / temperature, d the distance to the nearest neighbour of the class.
        """
        check_is_fitted(self)
        pieces, owner = self._pieces(X)
        if pieces[0].shape[-1] != self.neighbours_.shape[-1]:
            bodies = self.neighbours_.shape[-1] // 3
            raise InputError(f"X: wanted curves of {bodies} bodies as in the fit, got {pieces[0].shape[-1] // 3}")
        with torch.inference_mode():
            q = self.metric_(torch.cat(pieces))
            distances = pairwise_elastic_distance(q, self.metric_(self.neighbours_), slopes=self.slopes)
            of_class = [distances[:, self.neighbour_codes_ == k].amin(1) for k in range(len(self.classes_))]
            scores = -torch.stack(of_class, 1).square() / self.metric_.log_temperature.exp()
        return scores.softmax(1).numpy(), owner

    def predict_proba(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """(len(X), classes): the mean of :meth:`window_probabilities` over a curve's windows."""
        probabilities, owner = self.window_probabilities(X)
        return np.stack([probabilities[owner == k].mean(0) for k in range(len(X))])

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """(len(X),) labels."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier, with ``config_``, what it was fitted to, if :func:`train.train` made it."""
        check_is_fitted(self)
        state = {
            **self.metric_.state_dict(),
            "neighbours": self.neighbours_.half(),
            "neighbour_codes": torch.from_numpy(self.neighbour_codes_),
        }
        about = {"classes": self.classes_.tolist(), "parameters": self.get_params(), "config": self.config_}
        save_weights(path, "activity", state, about)

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
            classifier.classes_ = np.array(about["classes"])
            classifier.neighbours_ = state.pop("neighbours").float()
            classifier.neighbour_codes_ = state.pop("neighbour_codes").numpy()
            classifier.metric_ = ElasticMetric(state["metric"])
            classifier.metric_.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError) as error:
            raise InputError(f"{path}: its weights do not fit the model, another version may have made it") from error
        return classifier
