"""Measure the denoiser of diffusion tensors on phantoms and on real scans that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manifoldnet.dti.baselines import euclidean_gaussian, log_euclidean_gaussian, tune
from manifoldnet.dti.examples import protocol, scan_source
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import is_b0
from manifoldnet.dti.metrics import INPUT_RANGE, bounded, scores
from manifoldnet.dti.model import DtiDenoiser, filtered
from manifoldnet.dti.simulate import Pair, pair, phantom
from manifoldnet.errors import InputError

Row = dict[str, str | float]
TEST, TUNING = 1, 2  # streams of random phantoms; training draws from stream 0
DIRECTIONS = 64
HELD_OUT_SLICES = {"tractseg": (44, 73)}
SEPARATE_SLICES = ("mdt-b1k-b2k",)  # two slices that are far apart
SMALLEST_REFERENCE = 6  # directions, which determine a tensor


def evaluate_phantoms(
    count: int = 3,
    size: int = 40,
    snrs: tuple[float, ...] = (5.0, 10.0, 20.0),
    model: str | Path | DtiDenoiser = "default",
    seed: int = 7,
) -> list[Row]:
    """Errors on random phantoms with 64 directions, one row a method and signal-to-noise ratio.

    d2 is the mean squared affine-invariant distance to the fit of the noiseless signal. Gaussian filters have the
    sigma with the least d2 on two other phantoms at the same ratio.
    """
    rows: list[Row] = []
    for snr in snrs:
        test, tuning = (_phantom_pairs(n, size, snr, seed, stream) for n, stream in ((count, TEST), (2, TUNING)))
        rows += _rows(f"phantom, SNR {snr:g}", test, tuning, DtiDenoiser.named(model))
    return rows


def evaluate_scan(name: str, model: str | Path | DtiDenoiser = "default", directions: int = 12) -> list[Row]:
    """Errors on a real scan: 12 of its directions in, the fit of all others as the reference.

    The reference has noise of its own, which bounds what any method can reach. Of ``tractseg``, the scan of the
    training, only slices the training never saw are used, and the filters' sigma is tuned on its training slices;
    elsewhere the filters are tuned on the test itself, in their favour.
    """
    if name in SEPARATE_SLICES:
        test = [scan_pair(name, (z, z + 1), directions) for z in (0, 1)]
    else:
        test = [scan_pair(name, HELD_OUT_SLICES.get(name), directions)]
    tuning = [scan_pair(name, (0, 40), directions)] if name in HELD_OUT_SLICES else test
    return _rows(f"{name}, {directions} directions", test, tuning, DtiDenoiser.named(model))


def _phantom_pairs(count: int, size: int, snr: float, seed: int, stream: int) -> list[Pair]:
    rng = np.random.default_rng([seed, stream])
    generator = torch.Generator().manual_seed(1000 * seed + stream)
    return [pair(phantom(size, rng), *protocol(DIRECTIONS), snr, generator) for _ in range(count)]


def scan_pair(name: str, slices: tuple[int, int] | None, directions: int) -> Pair:
    """Two fits that share no weighted volume: well-spread ``directions`` with the first b0, and all the others.

    Tensors in um^2/ms; ``slices`` are the first axial slice and the one after the last, None for all. With several
    b0 volumes the fits share none of them either; with one they share it, and its noise goes unseen.

    Raises:
        InputError: if there is no such scan, or it has too few volumes for two fits.
    """
    source = scan_source(name, slices)
    bvals, bvecs, mask = source.bvals, source.bvecs, source.mask
    b0 = torch.from_numpy(is_b0(bvals.numpy()))
    zero = torch.nonzero(b0)[:, 0]
    weighted, wanted = torch.nonzero(~b0)[:, 0], directions + SMALLEST_REFERENCE
    if len(weighted) < wanted:
        raise InputError(f"scan: {name} has {len(weighted)} volumes for the tensor model, wanted at least {wanted}")
    chosen = _spread(bvecs, weighted, directions)
    rest = torch.tensor([i for i in range(len(bvals)) if not b0[i] and i not in chosen])
    reference_zero = zero[1:] if len(zero) > 1 else zero
    fits = []
    for volumes in (torch.cat([zero[:1], chosen]), torch.cat([reference_zero, rest])):
        measured = source.signals[mask][:, volumes]
        tensors = wls(measured, bvals[volumes], bvecs[volumes])
        fits.append((1e3 * tensors, residual_sigma(measured, bvals[volumes], bvecs[volumes], tensors)))
    (noisy, sigma), (reference, _) = fits
    return Pair(_scattered(noisy, mask), _scattered(reference, mask), _scattered(sigma, mask), mask)


def _scattered(values: Tensor, mask: Tensor) -> Tensor:
    volume = values.new_full((*mask.shape, *values.shape[1:]), torch.nan)
    volume[mask] = values
    return volume


def _spread(bvecs: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Indices of directions chosen one by one, each farthest (as an axis) from those before."""
    chosen = [int(candidates[0])]
    while len(chosen) < count:
        nearest = (bvecs[candidates] @ bvecs[chosen].T).abs().amax(1)
        chosen.append(int(candidates[nearest.argmin()]))
    return torch.tensor(chosen)


def _rows(title: str, test: Sequence[Pair], tuning: Sequence[Pair], model: DtiDenoiser) -> list[Row]:
    smoothers = {
        "Euclidean Gaussian": euclidean_gaussian,
        "log-Euclidean Gaussian": log_euclidean_gaussian,
    }
    volumes = [(clamped(p.noisy, p.mask), clamped(p.true, p.mask), p.mask) for p in tuning]
    sigmas = {name: tune(method, volumes) for name, method in smoothers.items()}
    inputs = [clamped(p.noisy, p.mask) for p in test]
    outputs: dict[str, list[Tensor]] = {"noisy": inputs}
    for name, method in smoothers.items():
        label = f"{name}, sigma {sigmas[name]:g} (tuned)"
        outputs[label] = [method(x, p.mask, sigmas[name]) for x, p in zip(inputs, test, strict=True)]
    for label, level in (("manifoldnet, tensors only", 0.0), ("manifoldnet, with noise level", 1.0)):
        outputs[label] = [
            filtered(x, p.mask, level * p.sigma.nan_to_num(), model) for x, p in zip(inputs, test, strict=True)
        ]
    true = torch.cat([clamped(p.true, p.mask)[p.mask] for p in test])
    noisy = torch.cat([x[p.mask] for x, p in zip(inputs, test, strict=True)])
    rows = []
    for label, volumes_out in outputs.items():
        figures = scores(torch.cat([x[p.mask] for x, p in zip(volumes_out, test, strict=True)]), noisy, true)
        row: Row = {"data": title, "method": label, "d2": figures["d2"], "median d2": figures["d2_median"]}
        row |= {
            "dSNR dB": round(figures["delta_snr"], 4) + 0.0,
            "FA error": figures["fa_error"],
            "FA bias": figures["fa_bias"],
        }
        row |= {"MD error": figures["md_error"], "direction error": figures["direction_error"]}
        row["not SPD %"] = 100 * figures["not_spd"] if math.isfinite(figures["not_spd"]) else math.nan
        rows.append(row)
    return rows


def clamped(tensors: Tensor, mask: Tensor) -> Tensor:
    """Tensors with eigenvalues clamped to the protocol's range inside the mask, NaN outside."""
    out = torch.full_like(tensors, torch.nan)
    out[mask] = bounded(tensors[mask].double(), *INPUT_RANGE).to(tensors.dtype)
    return out
