"""Denoise an interferogram with a circle-valued autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from manifoldnet.arrays import as_tensor
from manifoldnet.errors import InputError
from manifoldnet.linalg import wrap_angle
from manifoldnet.nn import CircleAutoencoder
from manifoldnet.training import SavedModel

TILE = 512
Image = TypeVar("Image", np.ndarray, Tensor)


class InsarDenoiser(SavedModel):
    """A :class:`CircleAutoencoder` of unit phasors and of the same phasors weighted by the coherence.

    Args:
        config: ``channels``, ``blocks`` and ``window`` of the autoencoder; kept as ``config`` with whatever else
            made the weights.
        generator: source of the initial parameters.
    """

    kind = "insar"
    shipped = Path(__file__).parent / "weights" / "default.safetensors"

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__(config)
        self.net = CircleAutoencoder(
            2, tuple(config["channels"]), config["blocks"], config["window"], generator=generator
        )

    def forward(
        self, phasor: Complex[Tensor, "*batch h w"], coherence: Float[Tensor, "*batch h w"]
    ) -> Complex[Tensor, "*batch h w"]:
        """Filtered phasors; the modulus estimates the confidence.

        Args:
            phasor: exp(i phase), 0 where there is no data; sides are multiples of ``net.factor``.
            coherence: in [0, 1], 0 everywhere when it is not known.
        """
        stacked = torch.stack([phasor, coherence * phasor], -3)
        out = self.net(stacked.reshape(-1, *stacked.shape[-3:]))
        return out.reshape(phasor.shape)


def denoise(
    phase_or_complex: Image,
    coherence: Image | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    tile: int = TILE,
) -> Image:
    """Filtered phase of an interferogram.

    Args:
        phase_or_complex: (H, W); phase in radians, wrapped or not, or a complex interferogram. NaN, zero in a
            complex one and what a numpy array masks mean no data.
        coherence: (H, W) in [0, 1], NaN where it is not known, or None.
        looks: number of looks of the coherence estimate, at least 1. At a single look the estimate is 1 everywhere
            whatever the truth, so it is ignored.
        model: "default", a file of weights, or a model.
        tile: side of the blocks in which large scenes are computed; the result does not depend on it.

    Returns:
        Phase (H, W) in (-pi, pi], NaN where there is no data; the kind, device and real dtype of the input.

    Raises:
        InputError: if the shapes are not (H, W) or differ, the numbers are integers, the coherence or the looks are
            out of range, or there is no data at all.
    """
    given = as_tensor("phase_or_complex", phase_or_complex)
    if given.dim() != 2 or not (given.is_floating_point() or given.is_complex()):
        got = f"{tuple(given.shape)} of {given.dtype}"
        raise InputError(f"phase_or_complex: wanted shape (H, W), real (radians) or complex, got {got}")
    if looks is not None and not looks >= 1:
        raise InputError(f"looks: wanted a number of at least 1, got {looks}")
    phase = given.angle() if given.is_complex() else given
    valid = given.isfinite() & (given != 0) if given.is_complex() else given.isfinite()
    if not bool(valid.any()):
        raise InputError("phase_or_complex: wanted at least one pixel with data, all are NaN or no data")
    network = InsarDenoiser.named(model).to(given.device)
    clean = torch.where(valid, phase, 0.0).float()
    phasor = torch.polar(valid.float(), clean)
    known = torch.zeros_like(clean)
    if coherence is not None:
        estimate = _coherence(coherence, given.shape)
        if looks is None or looks > 1:
            known = estimate.to(given.device)
    with torch.inference_mode():
        filtered = _by_tiles(network, phasor, known, tile).angle()
    result = torch.where(valid, wrap_angle(filtered.to(phase.dtype)), torch.nan)
    return result if isinstance(phase_or_complex, Tensor) else result.numpy()


def _coherence(coherence: Any, shape: torch.Size) -> Tensor:
    """Coherence as float32, 0 where it is not known."""
    known = as_tensor("coherence", coherence)
    if known.shape != shape or known.is_complex():
        got = f"{tuple(known.shape)} of {known.dtype}"
        raise InputError(f"coherence: wanted real numbers of shape {tuple(shape)}, got {got}")
    known = known.float().nan_to_num(0.0)
    # estimates of full coherence come out a rounding error above 1
    if bool((known < 0).any()) or bool((known > 1 + 1e-4).any()):
        raise InputError(f"coherence: wanted numbers in [0, 1], got {known.min():g} to {known.max():g}")
    return known.clamp(0, 1)


def _by_tiles(network: InsarDenoiser, phasor: Tensor, coherence: Tensor, tile: int) -> Tensor:
    """The network's output block by block; blocks overlap by its reach, so seams cannot be seen."""
    factor, margin = network.net.factor, network.net.margin
    tile = max(factor, tile // factor * factor)
    height, width = phasor.shape
    padding = (0, -width % factor, 0, -height % factor)
    phasor, coherence = (nn.functional.pad(image, padding) for image in (phasor, coherence))
    out = torch.empty_like(phasor)
    for top in range(0, phasor.shape[0], tile):
        for left in range(0, phasor.shape[1], tile):
            y, x = max(0, top - margin), max(0, left - margin)
            window = (slice(y, top + tile + margin), slice(x, left + tile + margin))
            block = network(phasor[window][None], coherence[window][None])[0]
            inner = (slice(top - y, top - y + tile), slice(left - x, left - x + tile))
            out[top : top + tile, left : left + tile] = block[inner]
    return out[:height, :width]
