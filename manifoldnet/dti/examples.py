"""Training examples for tensor denoisers: crops of phantoms and of a real scan, measured anew at every draw.

No noise is seen twice. A network trained on fixed noisy volumes learns their noise by heart, and then smooths clean
scans that it should leave alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from manifoldnet.data import load_diffusion
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import is_b0, tensor_model_holds
from manifoldnet.dti.metrics import INPUT_RANGE
from manifoldnet.dti.scan import foreground
from manifoldnet.dti.simulate import Phantom, directions, phantom, rician, signal
from manifoldnet.linalg import sym_to_vector

Window = tuple[slice, slice, slice]
SNR = (5.0, 45.0)
PHANTOM_DIRECTIONS = range(12, 65, 4)
SCAN_DIRECTIONS = (8, 21)
LARGEST_ADDED_NOISE = 0.12


class Measurement(NamedTuple):
    """Tensors (n, 3, 3) in mm^2/s, fitted to noisy signals, what to make of them, and the noise level (n,)."""

    noisy: Tensor
    target: Tensor
    sigma: Tensor


@runtime_checkable
class Source(Protocol):
    """Something to crop from."""

    @property
    def mask(self) -> Tensor:
        """(x, y, z), where there are tensors."""

    def measure(self, window: Window, generator: torch.Generator) -> Measurement:
        """A new measurement of the voxels in the mask in the window."""


@dataclass(frozen=True)
class PhantomSource:
    """A phantom measured along 12 to 64 directions at a random SNR; the target is the fit without noise."""

    scene: Phantom

    @property
    def mask(self) -> Tensor:
        """(x, y, z)."""
        return self.scene.mask

    def measure(self, window: Window, generator: torch.Generator) -> Measurement:
        """As :meth:`Source.measure`."""
        inside = self.scene.mask[window]
        count = PHANTOM_DIRECTIONS[_draw(len(PHANTOM_DIRECTIONS), generator)]
        bvals, bvecs = protocol(count)
        clean = signal(self.scene.tensors[window][inside], self.scene.s0[window][inside], bvals, bvecs)
        position = float(torch.rand((), generator=generator))
        noisy = rician(clean, 1 / (SNR[0] * (SNR[1] / SNR[0]) ** position), generator)
        fitted = wls(noisy, bvals, bvecs)
        return Measurement(fitted, wls(clean, bvals, bvecs), residual_sigma(noisy, bvals, bvecs, fitted))


@dataclass(frozen=True)
class ScanSource:
    """A scan split into 8 to 20 of its directions, some with noise added, and the others, whose fit is the target.

    The two fits share no diffusion-weighted volume, so their noise is independent and the target unbiased (Lehtinen
    et al. 2018, "Noise2Noise").

    Attributes:
        signals: (x, y, z, n) relative to the mean b0 signal.
        bvals: (n,) s/mm^2.
        bvecs: (n, 3).
        mask: (x, y, z).
    """

    signals: Tensor
    bvals: Tensor
    bvecs: Tensor
    mask: Tensor

    def measure(self, window: Window, generator: torch.Generator) -> Measurement:
        """As :meth:`Source.measure`."""
        measured = self.signals[window][self.mask[window]]
        weighted = torch.from_numpy(~is_b0(self.bvals.numpy()))
        order = torch.nonzero(weighted)[:, 0]
        order = order[torch.randperm(len(order), generator=generator)]
        zero = torch.nonzero(~weighted)[:, 0]
        count = SCAN_DIRECTIONS[0] + _draw(SCAN_DIRECTIONS[1] - SCAN_DIRECTIONS[0], generator)
        added = LARGEST_ADDED_NOISE * float(torch.rand((), generator=generator)) ** 2
        first, rest = torch.cat([zero, order[:count]]), torch.cat([zero, order[count:]])
        noisy = rician(measured[:, first], added, generator)
        fitted = wls(noisy, self.bvals[first], self.bvecs[first])
        target = wls(measured[:, rest], self.bvals[rest], self.bvecs[rest])
        return Measurement(fitted, target, residual_sigma(noisy, self.bvals[first], self.bvecs[first], fitted))


def phantom_sources(count: int, size: int, seed: int, stream: int) -> list[PhantomSource]:
    """Random phantoms of size^3 voxels; streams of one seed are independent."""
    rng = np.random.default_rng([seed, stream])
    return [PhantomSource(phantom(size, rng)) for _ in range(count)]


def scan_source(name: str, slices: tuple[int, int] | None) -> ScanSource:
    """Axial slices (first, last + 1; all for None) of a data set of ``manifoldnet data list``."""
    scan = load_diffusion(name)
    holds = tensor_model_holds(scan.bvals)
    window = slice(*slices) if slices else slice(None)
    signals = torch.from_numpy(np.ascontiguousarray(scan.data[:, :, window][..., holds]))
    bvals, bvecs = (torch.tensor(g[holds], dtype=torch.float32) for g in (scan.bvals, scan.bvecs))
    inside = foreground(scan.data, scan.bvals) if scan.mask is None else scan.mask
    mask = torch.from_numpy(inside[:, :, window]) & (signals > 0).all(-1)
    brightness = signals[..., torch.from_numpy(is_b0(scan.bvals[holds]))][mask].mean()
    return ScanSource(signals / brightness, bvals, bvecs, mask)


@lru_cache
def protocol(n: int) -> tuple[Tensor, Tensor]:
    """b-values (s/mm^2) and directions of one b = 0 and n well-spread b = 1000 volumes."""
    bvecs = np.concatenate([np.zeros((1, 3)), directions(n)])
    bvals = np.concatenate([np.zeros(1), np.full(n, 1000.0)])
    return torch.tensor(bvals, dtype=torch.float32), torch.tensor(bvecs, dtype=torch.float32)


def batches(
    pools: Sequence[Sequence[Source]], crop: int, batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless (noisy logs, target logs, noise level or 0, mask) of random crops that are at least a third inside.

    Each crop comes from one of the pools, all equally likely, and is flipped and turned at random. The noise level is
    withheld from one in two and scaled by up to 20 % in the others.
    """

    def one() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        while True:
            pool = pools[_draw(len(pools), generator)]
            source = pool[_draw(len(pool), generator)]
            x, y, z = (slice(low, low + crop) for low in (_draw(n - crop + 1, generator) for n in source.mask.shape))
            mask = source.mask[x, y, z]
            if 3 * int(mask.sum()) >= mask.numel():
                break
        noisy, target, sigma = source.measure((x, y, z), generator)
        known = torch.rand((), generator=generator) > 1 / 2
        level = torch.where(known, sigma * (0.8 + 0.4 * torch.rand((), generator=generator)), 0.0)
        parts = [_scattered(values, mask) for values in (_logs(noisy), _logs(target), level[:, None])]
        # the weights know nothing of how tensors lie in the grid, so the grid alone may be turned
        axes = [1 + int(axis) for axis in torch.randperm(3, generator=generator)]
        flips = [1 + axis for axis in range(3) if _draw(2, generator)]
        a, b, c, d = (part.permute(0, *axes).flip(flips) for part in (*parts, mask[None]))
        return a, b, c, d

    while True:
        noisy, target, sigma, mask = (torch.stack(part) for part in zip(*(one() for _ in range(batch)), strict=True))
        yield noisy, target, sigma, mask


def _draw(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))


def _scattered(values: Tensor, mask: Tensor) -> Tensor:
    """(channels, x, y, z) with the values (n, channels) in the mask and 0 elsewhere."""
    volume = values.new_zeros(*mask.shape, values.shape[1])
    volume[mask] = values
    return volume.movedim(-1, 0)


def _logs(tensors: Tensor) -> Tensor:
    """(n, 6) logarithms of tensors given in mm^2/s, in um^2/ms with eigenvalues clamped to what tissue can have."""
    values, vectors = torch.linalg.eigh(1e3 * tensors.double())
    logs = values.clamp(*INPUT_RANGE).log()
    return sym_to_vector((vectors * logs[:, None, :]) @ vectors.mT).float()
