"""Other classifiers of windows, as models of windows, to compare with; those of aeon want the extra ``peers``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from manifoldnet.activity.augment import canonical
from manifoldnet.activity.windows import mirror
from manifoldnet.training import fit


class Peer:
    """A classifier of series (n, 6, t) as a model of windows.

    Args:
        make: of an unfitted classifier with ``fit(series, labels)`` and ``predict(series)``.
        mirrored: whether it is helped by the mirror: where sides are told, windows of one side are mirrored onto the
            other; elsewhere it also learns from mirror images.
    """

    classes_: np.ndarray

    def __init__(self, make: Callable[[], Any], *, mirrored: bool) -> None:
        self.make = make
        self.mirrored = mirrored

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> Peer:
        """Learn; groups are not used."""
        self.classes_ = np.unique(labels)
        series = self._series(windows, sides)
        if self.mirrored and sides is None:
            series = np.concatenate([series, self._series(mirror(windows), None)])
            labels = np.tile(labels, 2)
        self.found_ = self.make()
        self.found_.fit(series, labels)
        return self

    def _series(self, windows: np.ndarray, sides: np.ndarray | None) -> np.ndarray:
        whole = canonical(windows, sides) if self.mirrored else windows
        return np.ascontiguousarray(whole.swapaxes(1, 2).astype(np.float32))

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """1 for the predicted class and 0 for the others."""
        predicted = self.found_.predict(self._series(windows, sides))
        return (predicted[:, None] == self.classes_).astype(np.float64)


class Moments:
    """Mean, deviation, least, greatest, quartiles and mean absolute difference of each channel and of both norms."""

    def fit(self, series: np.ndarray, labels: np.ndarray) -> Moments:
        """A random forest of 300 trees."""
        self.forest = RandomForestClassifier(300, random_state=0).fit(self._moments(series), labels)
        return self

    def predict(self, series: np.ndarray) -> np.ndarray:
        """Labels."""
        return self.forest.predict(self._moments(series))

    def _moments(self, series: np.ndarray) -> np.ndarray:
        norms = [np.linalg.norm(series[:, k : k + 3], axis=1, keepdims=True) for k in (0, 3)]
        every = np.concatenate([series, *norms], 1)
        quartiles = np.quantile(every, (0, 0.25, 0.5, 0.75, 1), axis=-1)
        changes = np.abs(np.diff(every)).mean(-1)
        return np.concatenate([every.mean(-1), every.std(-1), changes, *quartiles], 1)


class PlainNet:
    """Three convolutions with batch norms and a mean over time, about as large as our network; no augmentation."""

    def __init__(self, steps: int = 600) -> None:
        self.steps = steps

    def fit(self, series: np.ndarray, labels: np.ndarray) -> PlainNet:
        """One cycle of AdamW over batches of 64."""
        self.classes, codes = np.unique(labels, return_inverse=True)
        x, target = torch.from_numpy(series), torch.from_numpy(codes)
        self.scale = x.std((0, 2), keepdim=True).clamp_min(1e-6)
        generator = torch.Generator().manual_seed(0)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            chosen = torch.randint(len(x), (64,), generator=generator)
            return x[chosen] / self.scale, target[chosen]

        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers: list[nn.Module] = []
            for before, after in ((6, 64), (64, 96), (96, 96)):
                layers += [nn.Conv1d(before, after, 9, stride=2, padding=4), nn.BatchNorm1d(after), nn.ReLU()]
            self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(96, len(self.classes)))
            optimizer = torch.optim.AdamW(self.net.parameters(), lr=3e-3, weight_decay=2e-2)
            fit(self.net, batch, lambda net, a, b: cross_entropy(net(a), b), optimizer, steps=self.steps)
        return self

    def predict(self, series: np.ndarray) -> np.ndarray:
        """Labels."""
        with torch.inference_mode():
            return self.classes[self.net(torch.from_numpy(series) / self.scale).argmax(1).numpy()]


def _ridge(module: str, name: str, **arguments: Any) -> Callable[[], Any]:
    def make() -> Any:
        transform = getattr(import_module(f"aeon.transformations.collection.convolution_based{module}"), name)
        return make_pipeline(
            transform(**arguments), StandardScaler(with_mean=False), RidgeClassifierCV(np.logspace(-3, 3, 10))
        )

    return make


def _nearest() -> Any:
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    return KNeighborsTimeSeriesClassifier(distance="dtw", distance_params={"window": 0.1})


HERE: dict[str, Callable[[], Any]] = {"random forest on moments": Moments, "plain CNN": PlainNet}
OF_AEON: dict[str, Callable[[], Any]] = {
    "1-NN DTW": _nearest,
    # a series of mean 0 and deviation 1 has lost what is heavy and which way is down
    "ROCKET": _ridge("", "Rocket", normalise=False, random_state=0),
    "MiniROCKET": _ridge("", "MiniRocket", random_state=0),
    "Hydra": _ridge("._hydra", "HydraTransformer", random_state=0),
}


def peers() -> dict[str, Callable[[], Any]]:
    """Makers of the other classifiers by name; those of aeon where it is installed."""
    return {**HERE, **(OF_AEON if find_spec("aeon") else {})}
