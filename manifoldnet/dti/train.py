"""Train the denoiser of diffusion tensors on phantoms and on disjoint parts of a real scan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manifoldnet.dti.examples import Source, batches, phantom_sources, scan_source
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.errors import InputError
from manifoldnet.training import fit, riemannian_sgd

CONFIG = Path(__file__).parent / "weights" / "default.json"


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def train(config: dict[str, Any], *, device: str = "cpu", progress: str | None = None) -> DtiDenoiser:
    """A model trained as ``config`` says; the same configuration gives the same weights on the same machine.

    Args:
        config: ``seed``, ``phantoms``, ``phantom_size``, ``scan`` (a data set, see ``manifoldnet data list``, or null),
            ``scan_slices`` (first and last axial slice + 1), ``crop``, ``batch``, ``steps``, ``lr``, ``momentum`` and
            the model's ``width``, ``embedding``, ``radius2``.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.

    Raises:
        InputError: if there is no such device, a crop does not fit into a volume, or the scan cannot be had.
    """
    generator = torch.Generator().manual_seed(config["seed"])
    model = DtiDenoiser(config, generator)
    optimizer = riemannian_sgd(model, config["lr"], config["momentum"])
    data = _data(config, generator)
    fit(model, data, relative_error, optimizer, steps=config["steps"], device=device, progress=progress)
    return model.cpu()


def _data(config: dict[str, Any], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The batches that ``config`` describes. The volumes are made for the first one."""
    pools: list[Sequence[Source]] = [phantom_sources(config["phantoms"], config["phantom_size"], config["seed"], 0)]
    if config["scan"] is not None:
        pools.append([scan_source(config["scan"], tuple(config["scan_slices"]))])
    smallest = min(n for pool in pools for source in pool for n in source.mask.shape)
    if config["crop"] > smallest:
        raise InputError(f"crop: wanted at most {smallest} voxels, the smallest side of a volume, got {config['crop']}")
    yield from batches(pools, config["crop"], config["batch"], generator)


def relative_error(model: torch.nn.Module, noisy: Tensor, target: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """Mean over crops of the log-Euclidean squared error over that of the noisy input: noisy crops do not dominate."""

    def total(x: Tensor) -> Tensor:
        return torch.where(mask, (x - target).square(), 0.0).sum((1, 2, 3, 4))

    return (total(model(noisy, mask, sigma)) / (total(noisy) + 1e-3 * mask.sum((1, 2, 3, 4)))).mean()
