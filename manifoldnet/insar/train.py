"""Train the denoiser of interferograms on simulated scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from manifoldnet.errors import InputError
from manifoldnet.insar.model import InsarDenoiser, surroundings
from manifoldnet.insar.phase_net import Observed
from manifoldnet.insar.training_data import SimulatedPatches, told_apart
from manifoldnet.training import fit, read_config
from manifoldnet.training.batches import split
from manifoldnet.training.fit import check_device
from manifoldnet.training.optimizers import OPTIMIZERS, check_optimizer

CONFIG = Path(__file__).parent / "weights" / "default.yaml"
EARLY = 0.25  # weight of the loss of a stage that is not the last
#: noise at which a patch has half the weight of one without any, as mean |difference of phasors|^2
NOISE = 0.03
SCENES_AT_ONCE = 16  # when errors are measured, so that memory does not grow with the batch


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return read_config(CONFIG)


def train(
    config: dict[str, Any],
    *,
    device: str = "cpu",
    progress: str | None = None,
    checkpoints: str | Path | None = None,
    start: str | Path | None = None,
) -> InsarDenoiser:
    """A model trained as ``config`` says; the same configuration gives the same weights on the same machine.

    Processes that ``accelerate launch`` or ``torchrun`` started share every batch: however many there are, the steps
    are those of one, up to rounding.

    Args:
        config: ``seed``, ``scenes``, ``scene_size``, ``patch``, ``batch`` (:class:`SimulatedPatches`), ``steps``,
            ``optimizer``, ``lr``, ``warmup``, ``precision`` (:func:`fit`), ``calibration`` (batches of whole scenes),
            and the model's ``channels`` and ``blocks``.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.
        checkpoints: folder from which a training that was killed goes on.
        start: file of weights to start from instead of random ones.

    Raises:
        InputError: if there is no such device or optimizer, the sizes do not go together, or the batch is no multiple
            of the processes.
    """
    check_optimizer(config)
    model = InsarDenoiser(config, torch.Generator().manual_seed(config["seed"]))
    if start is not None:
        given = InsarDenoiser.load(start)
        for name in ("channels", "blocks"):
            if given.config[name] != config[name]:
                raise InputError(f"start: wanted weights of {name} {config[name]}, got {given.config[name]}")
        model.load_state_dict(given.state_dict())
    patch, factor = config["patch"], model.net.factor
    if patch > config["scene_size"] or patch % factor:
        wanted = f"a multiple of {factor} pixels, at most scene_size = {config['scene_size']}"
        raise InputError(f"patch: wanted {wanted}, got {patch}")
    if config["calibration"] and config["scene_size"] % (2 * factor):  # of every second batch, half of it
        raise InputError(f"scene_size: wanted a multiple of {2 * factor} pixels, got {config['scene_size']}")
    check_device(device)
    processes, here = (int(os.environ.get(name, least)) for name, least in (("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    if config["batch"] % processes:
        raise InputError(f"batch: wanted a multiple of the {processes} processes, got {config['batch']}")
    if device == "cuda":
        torch.cuda.set_device(here)  # or all processes would draw their data on the first
    data = SimulatedPatches(config, device)
    if device == "cuda":
        model.net.compile_stages()
    fit(
        model,
        split(data, processes),
        squared_error,
        OPTIMIZERS[config["optimizer"]](model.parameters(), config["lr"]),
        steps=config["steps"],
        warmup=config["warmup"],
        precision=config["precision"],
        device=device,
        progress=progress,
        checkpoints=checkpoints,
    )
    calibrate(model, config, device)
    trained = InsarDenoiser(config)  # whose layers are not compiled for the device
    trained.load_state_dict(model.state_dict())
    return trained.eval()


def squared_error(
    model: nn.Module, phasor: Tensor, coherence: Tensor, modulus: Tensor, looks: Tensor, phase: Tensor
) -> Tensor:
    """Mean |output - exp(i phase)|^2 of all stages; its minimiser's modulus is the expected resultant length.

    Patches weigh the less the noisier they are, the root of the noise, or the clean ones would not count; pixels
    without data weigh nothing.
    """
    truth = torch.polar(torch.ones_like(phase), phase)
    there = phasor.abs()
    noise = ((truth - phasor).abs().square() * there).mean((-2, -1), keepdim=True)
    weight = there * torch.rsqrt(noise + NOISE)
    outputs = model(phasor, coherence, modulus, looks)
    *early, last = [((output - truth).abs().square() * weight).mean() for output in outputs]
    return last + EARLY * sum(early)


@torch.no_grad()
def calibrate(model: InsarDenoiser, config: dict[str, Any], device: str = "cpu") -> None:
    """Measure the errors at each modulus on ``calibration`` batches of :func:`told_apart`, never trained on."""
    seen: dict[int, list[tuple[Tensor, ...]]] = {}
    for step in range(config["calibration"]):
        for kind, (*known, phase) in told_apart(config, step, device):
            whole = slice(0, phase.shape[-2]), slice(0, phase.shape[-1])
            parts = zip(*(image.split(SCENES_AT_ONCE) for image in known), strict=True)
            output = torch.cat([model.filtered(Observed(*part), whole) for part in parts])
            modulus = output.abs()
            error = (output * torch.polar(torch.ones_like(phase), -phase)).angle()
            images = modulus, surroundings(modulus, known[0] != 0), error
            seen.setdefault(kind, []).append(tuple(image.flatten() for image in images))
    for kind, batches in seen.items():
        modulus, around, error = (torch.cat(images) for images in zip(*batches, strict=True))
        model.calibration.fit(modulus, around, error, kind)
