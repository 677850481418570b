"""Random numbers of a batch of scenes, drawn where the generator lives and never read back."""

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor


class Draws:
    """Independent numbers for each of ``count`` scenes, as tensors (count, \\*shape) on the generator's device."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float | int, high: float | int, *shape: int) -> Float32[Tensor, "count *shape"]:
        """Numbers from ``low`` to ``high``."""
        return low + (high - low) * self._unit(shape)

    def normal(self, *shape: int) -> Float32[Tensor, "count *shape"]:
        """Standard normal numbers."""
        device = self.generator.device
        return torch.randn(self.count, *shape, dtype=torch.float32, device=device, generator=self.generator)

    def integers(self, low: int, high: int, *shape: int) -> Int64[Tensor, "count *shape"]:
        """Integers from ``low`` to below ``high``."""
        size = (self.count, *shape)
        return torch.randint(low, high, size, device=self.generator.device, generator=self.generator)

    def chance(self, probability: float | int, *shape: int) -> Bool[Tensor, "count *shape"]:
        """True with this probability."""
        return self._unit(shape) < probability

    def sign(self, *shape: int) -> Int64[Tensor, "count *shape"]:
        """-1 or 1."""
        return 2 * self.integers(0, 2, *shape) - 1

    def _unit(self, shape: tuple[int, ...]) -> Tensor:
        device = self.generator.device
        return torch.rand(self.count, *shape, dtype=torch.float32, device=device, generator=self.generator)
