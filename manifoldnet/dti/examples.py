"""Training examples for tensor denoisers: crops of phantoms and of real scans, measured anew at every draw.

No noise is seen twice. A network trained on fixed noisy volumes learns their noise by heart, and then smooths clean
scans that it should leave alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifoldnet.data import load_diffusion
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import direction_count, is_b0, tensor_model_holds
from manifoldnet.dti.metrics import INPUT_RANGE
from manifoldnet.dti.model import COUNTS
from manifoldnet.dti.mppca import mppca
from manifoldnet.dti.noise import rician
from manifoldnet.dti.scan import block_means, foreground
from manifoldnet.dti.simulate import Phantom, directions, phantom, signal
from manifoldnet.linalg import sym_to_vector

Window = tuple[slice, slice, slice]
SNR = (4.0, 40.0)
PHANTOM_DIRECTIONS = (8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 64)
SCAN_DIRECTIONS = (COUNTS[0], 25)
LARGEST_ADDED_NOISE = 0.1
KNOWN = 0.8  # share of the examples that are told the number of directions
LEVEL_KNOWN = 0.2  # of those without signals that are told the noise level


class Measurement(NamedTuple):
    """Signals and what they are measurements of.

    Attributes:
        signals: (x, y, z, n) of a window.
        bvals: (n,) s/mm^2.
        bvecs: (n, 3).
        targets: tensors (m, 3, 3) of the voxels in the mask, mm^2/s, whose noise is independent.
        matched: whether a refinement is to match their FA.
    """

    signals: Tensor
    bvals: Tensor
    bvecs: Tensor
    targets: Sequence[Tensor]
    matched: bool


class Example(NamedTuple):
    """A batch for the denoiser; shapes (b, c, x, y, z), logarithms in um^2/ms.

    Attributes:
        noisy: logarithms of the fitted tensors.
        target: of what they should be.
        sigma: noise level, 0 where it is withheld.
        mask: where there are tensors.
        directions: (b,), 0 where it is withheld.
        filtered: of the fit to signals without noise components; no channels where signals are withheld.
        matched: (b,), whether a refinement is to match the FA of the target.
    """

    noisy: Tensor
    target: Tensor
    sigma: Tensor
    mask: Tensor
    directions: Tensor
    filtered: Tensor
    matched: Tensor


@runtime_checkable
class Source(Protocol):
    """Something to crop from."""

    @property
    def mask(self) -> Tensor:
        """(x, y, z), where there are tensors."""

    def measure(self, window: Window, generator: torch.Generator, targets: int = 1) -> Measurement:
        """A new measurement of the voxels in the mask in the window, with one target or two."""


class Pool(NamedTuple):
    """Sources that are equally likely, and the share of the crops that come from them."""

    share: float
    sources: Sequence[Source]


@dataclass(frozen=True)
class PhantomSource:
    """A phantom measured along 8 to 64 directions at a random SNR; the target is the fit without noise."""

    scene: Phantom

    @property
    def mask(self) -> Tensor:
        """(x, y, z)."""
        return self.scene.mask

    def measure(self, window: Window, generator: torch.Generator, targets: int = 1) -> Measurement:
        """As :meth:`Source.measure`; the truth is every target."""
        inside = self.scene.mask[window]
        bvals, bvecs = protocol(PHANTOM_DIRECTIONS[_draw(len(PHANTOM_DIRECTIONS), generator)])
        clean = signal(self.scene.tensors[window], self.scene.s0[window], bvals, bvecs)
        position = float(torch.rand((), generator=generator))
        noisy = rician(clean, 1 / (SNR[0] * (SNR[1] / SNR[0]) ** position), generator)
        return Measurement(noisy, bvals, bvecs, [wls(clean[inside], bvals, bvecs)] * targets, matched=False)


@dataclass(frozen=True)
class ScanSource:
    """A scan split into 8 to 24 of its directions, noise added half the time, and the others, whose fit is the target.

    The two fits share no diffusion-weighted volume, so their noise is independent and the target unbiased (Lehtinen
    et al. 2018, "Noise2Noise").

    Attributes:
        signals: (x, y, z, n) relative to the mean b0 signal.
        bvals: (n,) s/mm^2.
        bvecs: (n, 3).
        mask: (x, y, z).
        matched: whether a refinement is to match the FA of its fits; noise raises it, in a noisy scan by more than is
            wanted of any result.
    """

    signals: Tensor
    bvals: Tensor
    bvecs: Tensor
    mask: Tensor
    matched: bool = True

    def measure(self, window: Window, generator: torch.Generator, targets: int = 1) -> Measurement:
        """As :meth:`Source.measure`; with two targets fewer directions are measured, so that there is enough for
        both."""
        measured = self.signals[window]
        weighted = torch.from_numpy(~is_b0(self.bvals.numpy()))
        order = torch.nonzero(weighted)[:, 0]
        order = order[torch.randperm(len(order), generator=generator)]
        zero = torch.nonzero(~weighted)[:, 0]
        most = SCAN_DIRECTIONS[1] if targets == 1 else len(order) // 2
        count = SCAN_DIRECTIONS[0] + _draw(most - SCAN_DIRECTIONS[0], generator)
        added = LARGEST_ADDED_NOISE * max(0.0, 2 * float(torch.rand((), generator=generator)) - 1) ** 2
        first, *rest = (
            torch.cat([zero, o]) for o in (order[:count], *(order[count + i :: targets] for i in range(targets)))
        )
        inside = measured[self.mask[window]]
        fits = [wls(inside[:, part], self.bvals[part], self.bvecs[part]) for part in rest]
        noisy = rician(measured[..., first], added, generator)
        return Measurement(noisy, self.bvals[first], self.bvecs[first], fits, self.matched)


def phantom_sources(count: int, size: int, seed: int, stream: int) -> list[PhantomSource]:
    """Random phantoms of size^3 voxels; streams of one seed are independent."""
    rng = np.random.default_rng([seed, stream])
    return [PhantomSource(phantom(size, rng)) for _ in range(count)]


def scan_source(name: str, slices: tuple[int, int] | None, block: int = 1, matched: bool = True) -> ScanSource:
    """Axial slices (first, last + 1; all for None) of a data set of ``manifoldnet data list``, as means over block^3
    voxels."""
    scan = load_diffusion(name)
    holds = tensor_model_holds(scan.bvals)
    window = slice(*slices) if slices else slice(None)
    inside = foreground(scan.data, scan.bvals) if scan.mask is None else scan.mask
    means, whole = block_means(scan.data[:, :, window][..., holds], inside[:, :, window], block)
    signals = torch.from_numpy(means)
    bvals, bvecs = (torch.tensor(g[holds], dtype=torch.float32) for g in (scan.bvals, scan.bvecs))
    mask = torch.from_numpy(whole) & (signals > 0).all(-1)
    brightness = signals[..., torch.from_numpy(is_b0(scan.bvals[holds]))][mask].mean()
    return ScanSource(signals / brightness, bvals, bvecs, mask, matched)


@lru_cache
def protocol(n: int) -> tuple[Tensor, Tensor]:
    """b-values (s/mm^2) and directions of one b = 0 and n well-spread b = 1000 volumes."""
    bvecs = np.concatenate([np.zeros((1, 3)), directions(n)])
    bvals = np.concatenate([np.zeros(1), np.full(n, 1000.0)])
    return torch.tensor(bvals, dtype=torch.float32), torch.tensor(bvecs, dtype=torch.float32)


class Crops:
    """Batches of random crops that are at least a third inside, a function of the step; one in ``signals_every`` has
    signals.

    A share ``flat`` of the batches has single slices of ``slab``^2 voxels in the place of ``crop``^3.

    Args:
        pools: what to crop from, and the share of each.
        config: ``seed``, ``crop``, ``slab``, ``flat``, ``batch`` and ``signals_every``.
    """

    def __init__(self, pools: Sequence[Pool], config: dict[str, Any]) -> None:
        self.pools, self.config = pools, config

    def __call__(self, step: int) -> Example:
        generator = torch.Generator().manual_seed((self.config["seed"] << 32) + step + 1)
        crop, slab = self.config["crop"], self.config["slab"]
        flat = float(torch.rand((), generator=generator)) < self.config["flat"]
        shape = (slab, slab, 1) if flat else (crop, crop, crop)
        every = self.config["signals_every"]
        with_signals = step % every == 1 % every
        examples = [_example(self.pools, shape, with_signals, generator) for _ in range(self.config["batch"])]
        return Example(*(torch.stack(part) for part in zip(*examples, strict=True)))


def from_step(crops: Crops, first: int) -> Callable[[int], Example]:
    """The same crops counted from another step, for a training that goes on after one."""
    return partial(_shifted, crops, first)  # no closure, which other processes could not be sent


def _shifted(crops: Crops, first: int, step: int) -> Example:
    return crops(first + step)


def volume_example(
    source: Source, with_signals: bool, generator: torch.Generator
) -> tuple[Example, Float[Tensor, "6 x y z"]]:
    """An example of a whole source, without its batch, and the logarithms of a second target."""
    window = (slice(None), slice(None), slice(None))
    measured = source.measure(window, generator, targets=2)
    example = _told(measured, source.mask, 1.0, with_signals, with_signals, True)
    return example, _scattered(_logs(measured.targets[1]), source.mask)


def _example(
    pools: Sequence[Pool], shape: tuple[int, int, int], with_signals: bool, generator: torch.Generator
) -> Example:
    def chance(share: float) -> bool:
        return float(torch.rand((), generator=generator)) < share

    source, window = _place(pools, shape, generator)
    measured = source.measure(window, generator)
    scale = 0.85 + 0.3 * float(torch.rand((), generator=generator))
    level_known = with_signals or chance(LEVEL_KNOWN)
    return _told(measured, source.mask[window], scale, level_known, with_signals, chance(KNOWN))


def _told(
    measured: Measurement, mask: Tensor, scale: float, level_known: bool, with_signals: bool, count_known: bool
) -> Example:
    """An example of which the noise level, times ``scale``, and the number of directions are told or withheld."""
    signals, bvals, bvecs, targets, matched = measured
    inside = signals[mask]
    noisy = wls(inside, bvals, bvecs)
    level = scale * level_known * residual_sigma(inside, bvals, bvecs, noisy)
    kept = wls(mppca(signals, mask)[mask], bvals, bvecs) if with_signals else noisy
    count = float(direction_count(bvals.numpy())) * count_known
    logs, target, kept, level = (
        _scattered(x, mask) for x in (_logs(noisy), _logs(targets[0]), _logs(kept), level[:, None])
    )
    kept = kept if with_signals else kept[:0]
    return Example(logs, target, level, mask[None], torch.tensor(count), kept, torch.tensor(matched))


def _place(pools: Sequence[Pool], shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Source, Window]:
    shares = torch.tensor([pool.share for pool in pools])
    while True:
        pool = pools[int(torch.multinomial(shares, 1, generator=generator))].sources
        source = pool[_draw(len(pool), generator)]
        corner = (_draw(n - side + 1, generator) for n, side in zip(source.mask.shape, shape, strict=True))
        x, y, z = (slice(low, low + side) for low, side in zip(corner, shape, strict=True))
        if 3 * int(source.mask[x, y, z].sum()) >= math.prod(shape):
            return source, (x, y, z)


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
