"""Measure the denoiser of interferograms on simulated scenes that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from manifoldnet.insar import baselines
from manifoldnet.insar.metrics import delta_snr, residues, rmse_by_coherence, wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.speckle import observe
from manifoldnet.insar.train import scenes

Row = dict[str, str | float]
TEST, TUNING = 1, 2  # streams of random scenes; training draws from stream 0
SIGMAS = (0.8, 1.2, 1.6, 2.0, 2.5, 3.0)
ALPHAS = (0.5, 1.0, 2.0, 3.0, 4.0)


def evaluate(
    count: int = 8,
    size: int = 256,
    looks: tuple[float, ...] = (1.0, 4.0),
    model: str | Path | InsarDenoiser = "default",
    seed: int = 7,
) -> list[Row]:
    """Errors of the model and of classical filters, one row a method and number of looks.

    RMSE is pooled over all pixels (radians), also by true coherence; residues are those left, in percent of the
    noisy image's; better is the share of scenes on which the model has a smaller RMSE than the row's method.
    "tuned" filters have the parameter with the least RMSE on three other scenes at the same number of looks.

    Args:
        count: test scenes.
        size: their side in pixels.
        looks: numbers of looks to simulate.
        model: as in :func:`denoise`.
        seed: of scenes and noise; the training seed is fine, its stream is another.
    """
    network = InsarDenoiser.named(model)
    rows: list[Row] = []
    for number in looks:
        sigma = _tuned(baselines.gaussian, SIGMAS, size, number, seed)
        alpha = _tuned(_goldstein, ALPHAS, size, number, seed)
        phase, coherence, observed, estimate = _observed(count, size, number, seed, TEST)
        known = None if number <= 1 else estimate
        estimates = {
            "noisy": observed.angle(),
            "boxcar 5x5": baselines.boxcar(observed, 5).angle(),
            "boxcar 7x7": baselines.boxcar(observed, 7).angle(),
            f"Gaussian, sigma {sigma:g} (tuned)": baselines.gaussian(observed, sigma).angle(),
            "Goldstein, alpha 1": _goldstein(observed, 1.0).angle(),
            f"Goldstein, alpha {alpha:g} (tuned)": _goldstein(observed, alpha).angle(),
            "manifoldnet, phase only": _denoised(observed, None, network),
        }
        if known is not None:
            estimates["manifoldnet, with coherence"] = _denoised(observed, known, network)
        ours = list(estimates.values())[-1]
        for name, estimated in estimates.items():
            better = [wrapped_rmse(o, p) < wrapped_rmse(e, p) for o, e, p in zip(ours, estimated, phase, strict=True)]
            row: Row = {"looks": f"{number:g}", "method": name, "RMSE": wrapped_rmse(estimated, phase)}
            row |= {f"RMSE {k}": v for k, v in rmse_by_coherence(estimated, phase, coherence).items()}
            row["residues left %"] = 100 * residues(estimated) / max(1, residues(observed.angle()))
            row["dSNR dB"] = delta_snr(estimated, observed.angle(), phase)
            row["ours better %"] = math.nan if estimated is ours else 100 * sum(better) / count
            rows.append(row)
    return rows


def _goldstein(z: Tensor, alpha: float) -> Tensor:
    return baselines.goldstein(z, alpha)


def _denoised(observed: Tensor, coherence: Tensor | None, model: InsarDenoiser) -> Tensor:
    known = [None] * len(observed) if coherence is None else list(coherence)
    return torch.stack([denoise(z, c, model=model) for z, c in zip(observed, known, strict=True)])


def _observed(count: int, size: int, looks: float, seed: int, stream: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    phase, coherence = scenes(count, size, seed, stream)
    generator = torch.Generator().manual_seed(1000 * seed + stream)
    return phase, coherence, *observe(phase, coherence, looks, generator)


def _tuned(
    method: Callable[[Tensor, float], Tensor], values: tuple[float, ...], size: int, looks: float, seed: int
) -> float:
    phase, _, observed, _ = _observed(3, size, looks, seed, TUNING)
    return min(values, key=lambda value: wrapped_rmse(method(observed, value).angle(), phase))
