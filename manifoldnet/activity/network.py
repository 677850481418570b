"""The classifier of windows by a network on curves in SO(3)^k x R^m, trained on Riemannian manifolds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from manifoldnet.activity.channels import attitudes, mean_attitude
from manifoldnet.activity.curve_actions import acted_on, mirrored
from manifoldnet.activity.lie_network import Curves, LieNetwork
from manifoldnet.activity.windows import resample_imu, resample_rotations
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3
from manifoldnet.training import RiemannianAdam, fit

LEAST_SPEED = 1e-6
SMOOTHING = 0.1  # of the labels


class LieNetworkClassifier(ClassifierMixin, BaseEstimator):
    """:class:`LieNetwork` for windows of inertial samples (n, t, 6) or of rotations (n, t, k, 3, 3).

    Scores do not depend on the attitude in which a window begins. The group of re-mountings of the sensor, of changes
    of speed and, where no sides are given, the mirror act on the training data; the network is not invariant under
    the first two by construction, and under the mirror it is, since its answers to both images are averaged.

    Args:
        rate: samples per second of the windows.
        seed: of the start, the batches and the actions.
        cells: to which a window is resampled along its path; a multiple of 4.
        epochs, batch, lr, weight_decay: of Riemannian Adam, one cycle.
        mounting, shortest, unevenness: of :func:`~manifoldnet.activity.curve_actions.acted_on`.
        mirror: whether the mirror image x -> -x of an inertial window is one that others make, where sides are unknown.
        places: of windows of rotations, (k,) the body that takes each one's place in the mirror; without it there is no
            mirror. Not used for inertial samples.

    Attributes:
        classes_: (classes,), sorted.
        network_: the fitted network.
        scales_: (2,), root mean squares of the training data's angular velocities (rad/s, or rad per window) and
            accelerations (g), by which both are divided.
    """

    def __init__(
        self,
        *,
        rate: float | int = 50.0,
        seed: int = 0,
        cells: int = 64,
        epochs: int = 30,
        batch: int = 64,
        lr: float | int = 4e-3,
        weight_decay: float | int = 2e-2,
        mounting: float | int = 0.3,
        shortest: float | int = 0.7,
        unevenness: float | int = 0.5,
        mirror: bool = True,
        places: Sequence[int] | None = None,
    ) -> None:
        self.rate = rate
        self.seed = seed
        self.cells = cells
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.weight_decay = weight_decay
        self.mounting = mounting
        self.shortest = shortest
        self.unevenness = unevenness
        self.mirror = mirror
        self.places = places

    def fit(
        self,
        windows: Float[np.ndarray, "n t *point"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"] | None = None,
        sides: Int[np.ndarray, "n"] | None = None,
        *,
        progress: str | None = None,
    ) -> LieNetworkClassifier:
        """Train from windows.

        Args:
            windows: (n, t, 6), gyroscope xyz in rad/s then acceleration xyz in g, or rotations (n, t, k, 3, 3).
            labels: of any sortable type.
            groups: not used: nothing is chosen.
            sides: 0 left, 1 right; windows of side 1 are mirrored onto side 0. None where they are unknown: mirror
                images are then trained on and asked for.
            progress: title of a progress bar, or None for none.

        Raises:
            InputError: for a wrong shape, cells no multiple of 4, or fewer than two classes.
        """
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"labels: wanted at least two classes, got {len(self.classes_)}")
        curves = self._curves(windows, sides)
        self.scales_ = torch.stack([_size(curves.velocity), _size(curves.vector)])
        curves = self._scaled(curves)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = self._network(curves, generator)
            optimizer = RiemannianAdam(
                self.network_.parameters(), self.lr, weight_decay=self.weight_decay, decoupled_weight_decay=True
            )
            count = max(1, round(len(codes) / self.batch))
            target, mirror = torch.from_numpy(codes), sides is None and self._has_mirror(windows)
            order: list[Tensor] = []

            def batch(step: int) -> tuple[Tensor, ...]:
                if step % count == 0:
                    order[:] = torch.randperm(len(target), generator=generator).tensor_split(count)
                chosen = order[step % count]
                part = Curves(*(x[chosen] for x in curves))
                if mirror:
                    part = mirrored(part, torch.rand(len(chosen), generator=generator) < 0.5, self._places())
                return *acted_on(part, self.mounting, self.shortest, self.unevenness, generator), target[chosen]

            self.network_.train()
            fit(self.network_, batch, _loss, optimizer, steps=count * self.epochs, progress=progress)
        self.network_.eval()
        return self

    def predict_proba(
        self, windows: Float[np.ndarray, "n t *point"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes; ``sides`` as in the fit: given if they were given there."""
        check_is_fitted(self)
        curves = self._scaled(self._curves(windows, sides))
        everywhere = torch.ones(len(windows), dtype=torch.bool)
        with torch.inference_mode():
            probabilities = self.network_(curves).softmax(-1)
            if sides is None and self._has_mirror(windows):
                image = mirrored(curves, everywhere, self._places())
                probabilities = (probabilities + self.network_(image).softmax(-1)) / 2
        return probabilities.double().numpy()

    def predict(
        self, windows: Float[np.ndarray, "n t *point"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Shaped[np.ndarray, "n"]:
        """The most probable classes."""
        return self.classes_[self.predict_proba(windows, sides).argmax(1)]

    def tensors(self) -> dict[str, Tensor]:
        """What the fit found, besides ``classes_``."""
        check_is_fitted(self)
        state = {f"network/{name}".replace(".", "/"): value for name, value in self.network_.state_dict().items()}
        factors = self.network_.charts.rotations.shape[1]
        vectors = self.network_.first.squeeze.in_channels // 3 - 3 * factors
        return state | {"scales": self.scales_, "sizes": torch.tensor([factors, vectors])}

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> LieNetworkClassifier:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_, self.scales_ = classes, tensors["scales"]
        factors, vectors = tensors["sizes"].tolist()
        self.network_ = LieNetwork(factors, vectors, len(classes))
        names = self.network_.state_dict()
        self.network_.load_state_dict({name: tensors[f"network/{name}".replace(".", "/")] for name in names})
        self.network_.eval()
        return self

    def _network(self, curves: Curves, generator: torch.Generator) -> LieNetwork:
        return LieNetwork(curves.attitude.shape[2], curves.vector.shape[-1], len(self.classes_), generator=generator)

    def _has_mirror(self, windows: np.ndarray) -> bool:
        return self.mirror if windows.ndim == 3 else self.places is not None

    def _places(self) -> Tensor | None:
        return None if self.places is None else torch.tensor(list(self.places))

    def _curves(self, windows: np.ndarray, sides: np.ndarray | None) -> Curves:
        if self.cells < 4 or self.cells % 4:
            raise InputError(f"cells: wanted a multiple of 4, got {self.cells}")
        if windows.ndim == 3 and windows.shape[-1] == 6:
            velocity, vector, attitude = self._inertial(windows)
        elif windows.ndim == 5 and windows.shape[-2:] == (3, 3):
            velocity, vector, attitude = _rotations(windows, self.cells)
        else:
            raise InputError(f"windows: wanted (n, t, 6) or (n, t, k, 3, 3), got shape {windows.shape}")
        curves = Curves(*(torch.from_numpy(x).float() for x in (velocity, vector, attitude)))
        if sides is None:
            return curves
        return mirrored(curves, torch.from_numpy(np.asarray(sides) == 1), self._places())

    def _inertial(self, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        samples = resample_imu(windows, self.cells, self.rate)
        attitude = attitudes(samples[..., :3], self.rate * self.cells / windows.shape[1])
        relative = mean_attitude(attitude).swapaxes(-1, -2)[:, None] @ attitude
        return samples[..., :3], samples[..., 3:], relative[:, :, None]

    def _scaled(self, curves: Curves) -> Curves:
        return Curves(curves.velocity / self.scales_[0], curves.vector / self.scales_[1], curves.attitude)


def _rotations(windows: np.ndarray, cells: int) -> tuple[np.ndarray, ...]:
    """Velocities in rad per window, no vectors, and attitudes relative to the mean of each body."""
    n, t, k = windows.shape[:3]
    bodies = np.moveaxis(windows, 0, 1).reshape(t, n * k, 3, 3)
    points = torch.from_numpy(resample_rotations(bodies, cells + 1).astype(np.float64))
    velocity = SO3().log(points[:-1].mT @ points[1:]).numpy() * cells
    attitude = points[:-1].numpy()
    relative = mean_attitude(np.moveaxis(attitude, 0, 1)).swapaxes(-1, -2) @ attitude
    velocity = np.moveaxis(velocity.reshape(cells, n, 3 * k), 0, 1)
    return velocity, velocity[..., :0], np.moveaxis(relative.reshape(cells, n, k, 3, 3), 0, 1)


def _size(x: Tensor) -> Tensor:
    """Root mean square, 1 of nothing."""
    return x.square().mean().sqrt().clamp_min(LEAST_SPEED) if x.numel() else x.new_ones(())


def _loss(network: nn.Module, velocity: Tensor, vector: Tensor, attitude: Tensor, target: Tensor) -> Tensor:
    scores = network(Curves(velocity, vector, attitude))
    return nn.functional.cross_entropy(scores, target, label_smoothing=SMOOTHING)
