"""Train the denoiser of interferograms on simulated scenes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar import simulate
from manifoldnet.insar.model import InsarDenoiser
from manifoldnet.insar.speckle import observe
from manifoldnet.training import fit, riemannian_sgd

CONFIG = Path(__file__).parent / "weights" / "default.json"


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def train(config: dict[str, Any], *, device: str = "cpu", progress: str | None = None) -> InsarDenoiser:
    """A model trained as ``config`` says; the same configuration gives the same weights on the same machine.

    Args:
        config: ``seed``, ``scenes``, ``scene_size``, ``patch``, ``batch``, ``looks``, ``steps``, ``lr``, ``momentum``
            and the model's ``channels``, ``blocks``, ``window``.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.

    Raises:
        InputError: if there is no such device, or the sizes do not go together.
    """
    generator = torch.Generator().manual_seed(config["seed"])
    if config["window"] % 2 == 0:
        raise InputError(f"window: wanted an odd number of pixels, got {config['window']}")
    model = InsarDenoiser(config, generator)
    patch, factor = config["patch"], model.net.factor
    if patch > config["scene_size"] or patch % factor:
        wanted = f"a multiple of {factor} pixels, at most scene_size = {config['scene_size']}"
        raise InputError(f"patch: wanted {wanted}, got {patch}")
    optimizer = riemannian_sgd(model, config["lr"], config["momentum"])
    fit(
        model,
        batches(config, generator),
        squared_error,
        optimizer,
        steps=config["steps"],
        device=device,
        progress=progress,
    )
    return model.cpu()


def squared_error(model: torch.nn.Module, phasor: Tensor, coherence: Tensor, phase: Tensor) -> Tensor:
    """Mean |output - exp(i phase)|^2; its minimiser's modulus is the expected resultant length."""
    return (model(phasor, coherence) - torch.polar(torch.ones_like(phase), phase)).abs().square().mean()


def scenes(count: int, size: int, seed: int, stream: int) -> tuple[Tensor, Tensor]:
    """``count`` phases and coherences (count, size, size); streams of one seed are independent."""
    mixed = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(mixed)
    drawn = [simulate.scenes(1, size, generator=generator) for _ in range(count)]  # little memory at any count
    return torch.cat([s.phase for s in drawn]), torch.cat([s.coherence for s in drawn])


def batches(config: dict[str, Any], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless (unit phasor, estimated coherence or 0, true phase) of random patches.

    Patches are flipped, transposed and conjugated at random; one in seven has one coherence for all its pixels;
    the coherence is withheld from two in five, and always at one look, where its estimate says nothing.
    """
    phases, coherences = scenes(config["scenes"], config["scene_size"], config["seed"], stream=0)
    n, side = config["batch"], config["patch"]
    looks_offered = torch.tensor(config["looks"], dtype=torch.float32)
    window = torch.arange(side)

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, generator=generator)

    while True:
        which = torch.randint(len(phases), (n, 1, 1), generator=generator)
        corner = torch.randint(phases.shape[-1] - side + 1, (2, n, 1, 1), generator=generator)
        rows, columns = corner[0] + window[:, None], corner[1] + window
        phase, coherence = phases[which, rows, columns], coherences[which, rows, columns]
        phase = torch.where(uniform() < 0.5, -phase, phase)
        flat = 0.1 + 0.85 * uniform()
        coherence = torch.where(uniform() < 1 / 7, flat, coherence)
        for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT):
            swap = uniform() < 0.5
            phase, coherence = (torch.where(swap, turn(x), x) for x in (phase, coherence))
        looks = looks_offered[torch.randint(len(looks_offered), (n, 1, 1), generator=generator)]
        observed, estimate = observe(phase, coherence, looks, generator)
        shown = (uniform() > 0.4) & (looks > 1)
        yield torch.polar(torch.ones_like(phase), observed.angle()), torch.where(shown, estimate, 0.0), phase
