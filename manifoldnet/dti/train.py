"""Train the denoiser of diffusion tensors on phantoms and on disjoint halves of a real scan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.data import load_diffusion
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import is_b0
from manifoldnet.dti.metrics import INPUT_RANGE, bounded
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.dti.scan import foreground
from manifoldnet.dti.simulate import directions, pair, phantom, rician
from manifoldnet.linalg import sym_logm, sym_to_vector
from manifoldnet.training import fit, riemannian_sgd

CONFIG = Path(__file__).parent / "weights" / "default.json"


@dataclass(frozen=True)
class Example:
    """A volume to crop from: logarithms of the noisy and of the target tensors (6, x, y, z), noise level, mask."""

    noisy: Tensor
    target: Tensor
    sigma: Tensor
    mask: Tensor


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def train(config: dict[str, Any], *, device: str = "cpu", progress: str | None = None) -> DtiDenoiser:
    """A model trained as ``config`` says; the same configuration gives the same weights on the same machine.

    Args:
        config: ``seed``, ``phantoms``, ``phantom_size``, ``scan`` (a data set, see ``manifoldnet data list``, or null),
            ``scan_slices`` (first and last axial slice + 1), ``scan_splits``, ``crop``, ``batch``, ``steps``, ``lr``,
            ``momentum`` and the model's ``width``, ``embedding``, ``radius2``.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.
    """
    generator = torch.Generator().manual_seed(config["seed"])
    model = DtiDenoiser(config, generator)
    pool = phantom_examples(config["phantoms"], config["phantom_size"], config["seed"], stream=0)
    if config["scan"] is not None:
        pool += scan_examples(config["scan"], tuple(config["scan_slices"]), config["scan_splits"], config["seed"])
    optimizer = riemannian_sgd(model, config["lr"], config["momentum"])
    data = batches(pool, config["crop"], config["batch"], generator)
    fit(model, data, relative_error, optimizer, steps=config["steps"], device=device, progress=progress)
    return model.cpu()


def relative_error(model: torch.nn.Module, noisy: Tensor, target: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """Mean over crops of the log-Euclidean squared error over that of the noisy input: noisy crops do not dominate."""

    def total(x: Tensor) -> Tensor:
        return torch.where(mask, (x - target).square(), 0.0).sum((1, 2, 3, 4))

    return (total(model(noisy, mask, sigma)) / (total(noisy) + 1e-3 * mask.sum((1, 2, 3, 4)))).mean()


def phantom_examples(count: int, size: int, seed: int, stream: int) -> list[Example]:
    """Phantoms measured at SNR 4 to 30 along 12 to 64 directions; streams of one seed are independent."""
    rng = np.random.default_rng([seed, stream])
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    examples = []
    for _ in range(count):
        bvals, bvecs = protocol(int(rng.integers(12, 65)))
        snr = float(np.exp(rng.uniform(np.log(4.0), np.log(30.0))))
        drawn = pair(phantom(size, rng), bvals, bvecs, snr, generator)
        noisy, true = (_logs(tensors, drawn.mask) for tensors in (drawn.noisy, drawn.true))
        examples.append(Example(noisy, true, drawn.sigma, drawn.mask))
    return examples


def protocol(n: int) -> tuple[Tensor, Tensor]:
    """b-values (s/mm^2) and directions of one b = 0 and n well-spread b = 1000 volumes."""
    bvecs = np.concatenate([np.zeros((1, 3)), directions(n)])
    bvals = np.concatenate([np.zeros(1), np.full(n, 1000.0)])
    return torch.tensor(bvals, dtype=torch.float32), torch.tensor(bvecs, dtype=torch.float32)


def scan_examples(name: str, slices: tuple[int, int], splits: int, seed: int) -> list[Example]:
    """A real scan split at random into 8 to 20 directions, some with noise added, against the fit of the others.

    The two fits share no diffusion-weighted volume, so their noise is independent and the target unbiased
    (Lehtinen et al. 2018, "Noise2Noise").
    """
    scan = load_diffusion(name)
    signal = torch.from_numpy(np.asarray(scan.data[:, :, slices[0] : slices[1]], np.float32))
    bvals, bvecs = (torch.tensor(g, dtype=torch.float32) for g in (scan.bvals, scan.bvecs))
    b0 = torch.from_numpy(is_b0(scan.bvals))
    mask = torch.from_numpy(foreground(scan.data, scan.bvals))[:, :, slices[0] : slices[1]] & (signal > 0).all(-1)
    signal = signal[mask] / signal[mask][:, b0].mean().clamp_min(1e-6)
    weighted = torch.nonzero(~b0)[:, 0]
    generator = torch.Generator().manual_seed(seed)
    examples = []
    for _ in range(splits):
        count = int(torch.randint(8, 21, (), generator=generator))
        order = weighted[torch.randperm(len(weighted), generator=generator)]
        added = 0.12 * float(torch.rand((), generator=generator)) ** 2
        halves = []
        for chosen, noise in ((order[:count], added), (order[count:], 0.0)):
            volumes = torch.cat([torch.nonzero(b0)[:, 0], chosen])
            measured = rician(signal[:, volumes], noise, generator)
            fitted = wls(measured, bvals[volumes], bvecs[volumes])
            noise_level = residual_sigma(measured, bvals[volumes], bvecs[volumes], fitted)
            halves.append((_scattered(1e3 * fitted, mask), _scattered(noise_level, mask)))
        (noisy, sigma), (target, _) = halves
        examples.append(Example(_logs(noisy, mask), _logs(target, mask), sigma, mask))
    return examples


def _scattered(values: Tensor, mask: Tensor) -> Tensor:
    volume = values.new_zeros(*mask.shape, *values.shape[1:])
    volume[mask] = values
    return volume


def _logs(tensors: Tensor, mask: Tensor) -> Tensor:
    """(6, x, y, z) logarithms of tensors in um^2/ms with eigenvalues clamped to what tissue can have."""
    out = torch.zeros(*mask.shape, 6)
    out[mask] = sym_to_vector(sym_logm(bounded(tensors[mask].double(), *INPUT_RANGE))).float()
    return out.movedim(-1, 0)


def batches(
    pool: list[Example], crop: int, batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless (noisy logs, target logs, noise level or 0, mask) of random crops that are at least a third inside.

    The noise level is withheld from one crop in three and scaled by up to 20 % in the others.
    """

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    def one() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        while True:
            example = pool[draw(len(pool))]
            corner = [draw(n - crop + 1) for n in example.mask.shape]
            window: tuple[Any, ...] = (..., *(slice(low, low + crop) for low in corner))
            mask = example.mask[window]
            if 3 * int(mask.sum()) < mask.numel():
                continue
            level = torch.rand((), generator=generator)
            known = torch.rand((), generator=generator) > 1 / 3
            sigma = torch.where(mask & known, example.sigma[window] * (0.8 + 0.4 * level), 0.0)
            return example.noisy[window], example.target[window], sigma[None], mask[None]

    while True:
        noisy, target, sigma, mask = (torch.stack(part) for part in zip(*(one() for _ in range(batch)), strict=True))
        yield noisy, target, sigma, mask
