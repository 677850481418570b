"""A small residual network of convolutions of several widths over inertial windows, trained on moved copies of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.nn import functional

from manifoldnet.activity.augment import canonical, random_mounts, random_speeds, remount, warp
from manifoldnet.activity.inception_block import InceptionBlock
from manifoldnet.activity.windows import mirror
from manifoldnet.training import fit

WIDTHS = (5, 11, 21)  # samples at COARSE Hz
COARSE = 25.0
KEPT = 0.84  # of a window: how much of it a training copy shows, at the speed it was recorded with


class InceptionNet(nn.Module):
    """Three blocks, each at half the rate of the one before, the mean over time, and a linear head."""

    def __init__(self, classes: int, channels: int = 6, filters: int = 24, bottleneck: int = 32) -> None:
        super().__init__()
        out = filters * (len(WIDTHS) + 1)
        self.blocks = nn.ModuleList(InceptionBlock(c, filters, bottleneck, WIDTHS) for c in (channels, out, out))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(out, classes)

    def forward(self, x: Float[Tensor, "n channels t"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        for k, block in enumerate(self.blocks):
            x = block(functional.avg_pool1d(x, 2) if k else x)
        return self.head(self.drop(x.mean(-1)))


class InceptionModel(BaseEstimator):
    """:class:`InceptionNet` on gyroscope and accelerometer at 25 Hz.

    Every batch is of windows that have been cut, warped in time, re-mounted and, where sides are unknown, mirrored at
    random; then the answer is the mean over a window and its mirror image.

    Args:
        rate: samples per second.
        steps: number of training steps.
        batch: windows in each.
        filters: of each width.
        lr: peak of the learning rate.
        angle: deviation in rad of a re-mounting about each axis.
        mirror: whether movements are mirrored where sides are unknown.
        seed: of weights and copies.
        device: "cpu" or "cuda", for the training.
    """

    classes_: np.ndarray

    def __init__(
        self,
        *,
        rate: float = 50.0,
        steps: int = 430,
        batch: int = 64,
        filters: int = 24,
        lr: float = 4e-3,
        angle: float = 0.3,
        mirror: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.rate = rate
        self.steps = steps
        self.batch = batch
        self.filters = filters
        self.lr = lr
        self.angle = angle
        self.mirror = mirror
        self.seed = seed
        self.device = device

    def fit(
        self,
        windows: Float[np.ndarray, "n t 6"],
        labels: Shaped[np.ndarray, "n"],
        groups: Shaped[np.ndarray, "n"],
        sides: Int[np.ndarray, "n"] | None = None,
    ) -> InceptionModel:
        """Learn; see :class:`~manifoldnet.activity.window_model.WindowModel`. Windows may overlap."""
        self.classes_, codes = np.unique(labels, return_inverse=True)
        coarse = self._coarse(canonical(windows, sides))
        power = np.sqrt(np.square(coarse).mean((0, 1)).reshape(2, 3).mean(1))
        self.power_ = np.repeat(np.maximum(power, 1e-6), 3).astype(np.float32)
        count = max(2, round(KEPT * coarse.shape[1]))

        def draw(step: int) -> tuple[Tensor, Tensor]:
            rng = np.random.default_rng((self.seed, step))
            chosen = rng.integers(len(coarse), size=self.batch)
            speeds = random_speeds(rng, self.batch, count)
            room = np.maximum(coarse.shape[1] - 1 - speeds.sum(1), 0)
            moved = warp(coarse[chosen], rng.uniform(size=self.batch) * room, speeds)
            moved = remount(moved, random_mounts(rng, np.arange(self.batch), self.angle))
            if self.mirror and sides is None:
                moved = np.where(rng.integers(2, size=(self.batch, 1, 1)) == 1, mirror(moved), moved)
            return self._input(moved), torch.from_numpy(codes[chosen])

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.net_ = InceptionNet(len(self.classes_), filters=self.filters)
            optimizer = torch.optim.AdamW(self.net_.parameters(), lr=self.lr, weight_decay=2e-2)
            fit(self.net_, draw, _loss, optimizer, steps=self.steps, warmup=0.25, clip=float("inf"), device=self.device)
        self.net_.cpu().eval()
        return self

    def _coarse(self, windows: np.ndarray) -> np.ndarray:
        """Means over neighbours, at about 25 Hz."""
        many = max(1, round(self.rate / COARSE))
        whole = windows[:, : windows.shape[1] // many * many]
        return whole.reshape(len(whole), -1, many, 6).mean(2).astype(np.float32)

    def _input(self, samples: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray((samples / self.power_).astype(np.float32).swapaxes(1, 2)))

    def predict_proba(
        self, windows: Float[np.ndarray, "n t 6"], sides: Int[np.ndarray, "n"] | None = None
    ) -> Float[np.ndarray, "n classes"]:
        """softmax of the logits."""
        coarse = self._coarse(canonical(windows, sides))
        images = [coarse, mirror(coarse)] if self.mirror and sides is None else [coarse]
        with torch.inference_mode():
            found = [self.net_(self._input(image)).softmax(1) for image in images]
        return torch.stack(found).mean(0).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """What a fit found."""
        state = {name.replace(".", "/"): value for name, value in self.net_.state_dict().items()}
        return {**state, "power_": torch.from_numpy(self.power_)}

    def restore(self, classes: np.ndarray, tensors: dict[str, Tensor]) -> InceptionModel:
        """Become the fitted model of these; KeyError where one is missing."""
        self.classes_ = classes
        self.power_ = tensors["power_"].numpy()
        state = {name.replace("/", "."): value for name, value in tensors.items() if name != "power_"}
        self.net_ = InceptionNet(len(classes), filters=self.filters)
        self.net_.load_state_dict(state)
        self.net_.eval()
        return self


def _loss(net: nn.Module, x: Tensor, codes: Tensor) -> Tensor:
    return functional.cross_entropy(net(x), codes, label_smoothing=0.1)
