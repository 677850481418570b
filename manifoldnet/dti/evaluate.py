"""Measure denoisers of diffusion tensors on real scans that they were not trained on, and on phantoms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from manifoldnet.data import DATASETS
from manifoldnet.dti.examples import protocol as gradients
from manifoldnet.dti.fit import wls
from manifoldnet.dti.methods import METHODS, NOISY, Method, Result, Tuned, networks, results, tune
from manifoldnet.dti.metrics import distance_to_truth, scores
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.dti.noise import rician
from manifoldnet.dti.protocol import (
    TRIALS,
    Case,
    Trial,
    case,
    clamped,
    reference_fa_bias,
    reference_noise,
    scattered,
    splits,
)
from manifoldnet.dti.simulate import phantom, signal
from manifoldnet.errors import InputError

Row = dict[str, str | float]
Progress = Callable[[str], None]
TEST, TUNING = 1, 2  # streams of random phantoms; training draws from stream 0
TUNING_PHANTOMS = 1
DIRECTIONS = 64
QUICK = tuple(method for method in METHODS if not method.name.startswith("affine-invariant"))
FLOOR = "noise of the reference"


def evaluate_scans(
    trials: Sequence[Trial] = TRIALS,
    seeds: Sequence[int] = range(3),
    methods: Sequence[Method] | None = None,
    model: str | Path | DtiDenoiser = "default",
    progress: Progress | None = None,
) -> list[Row]:
    """Errors on real scans, one row a trial and method; the reference is the fit of the directions left out.

    dSNR is the gain 10 log10 (sum d(noisy, reference)^2 / sum d(estimate, reference)^2) in dB over the mask, its mean
    over splits of the directions; +- is the standard error over splits, which share the scan, so that it says nothing
    of other heads; the worst of all splits and of all slices of all splits; the same of medians. d2 is the mean squared
    affine-invariant distance, in which eigenvalues of inputs, of refitted signals and of references are clamped to
    [.05, 4] um^2/ms and those of other outputs to [1e-3, 20]. FA, MD (um^2/ms) and direction (degrees where FA > .3)
    are compared with the reference. "sees" says whether a method is given tensors only or the signals too. s is the
    time of one split. Classical filters have parameters that were tuned on other slices of ``tractseg``. The last row
    of a trial is what remains if the output is the truth: noise of the reference, see :func:`reference_noise` and
    :func:`reference_fa_bias`.

    Args:
        trials: which scans, and how they are split.
        seeds: one split each.
        methods: rows; all classical filters and the two of ``model`` when None.
        model: as in :func:`manifoldnet.dti.model.denoise`; not used when ``methods`` are given.
        progress: is told what is being done.

    Raises:
        InputError: if a scan cannot be had, or has too few directions.
    """
    methods = (*METHODS, *networks(model)) if methods is None else methods
    rows: list[Row] = []
    for trial in trials:
        rows += _rows(trial.name, splits(trial, seeds), _with_noisy(_chosen(methods)), progress)
    return rows


def evaluate_phantoms(
    count: int = 3,
    size: int = 32,
    snrs: tuple[float, ...] = (5.0, 10.0, 20.0),
    model: str | Path | DtiDenoiser = "default",
    seed: int = 7,
    methods: Sequence[Method] | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Errors on random phantoms of size^3 voxels with 64 directions, one row a method and signal-to-noise ratio.

    Columns as in :func:`evaluate_scans`, phantoms in the place of splits; the reference is the fit of the signal
    without noise. Classical filters have the parameters with the least d2 on another phantom at the same ratio; those
    of the affine-invariant metric, slow to tune and near the log-Euclidean ones, are left out by default. The model has
    two rows more: phantoms are smoother than the scans on which its strength was chosen, and gain by all of it.
    """
    methods = (*QUICK, *networks(model), *networks(model, strength=1)) if methods is None else methods
    rows: list[Row] = []
    for snr in snrs:
        if progress:
            progress(f"SNR {snr:g}: tuning")
        tuned = tune(methods, phantom_cases(TUNING_PHANTOMS, size, snr, seed, TUNING))
        test = ([one] for one in phantom_cases(count, size, snr, seed, TEST))
        rows += _rows(f"phantom, SNR {snr:g}", test, _with_noisy(tuned), progress)
    return rows


def trials_of(scan: str) -> list[Trial]:
    """The trials of a data set.

    Raises:
        InputError: if it has none.
    """
    found = [trial for trial in TRIALS if trial.scan == scan]
    if not found:
        names = ", ".join(dict.fromkeys(trial.scan for trial in TRIALS))
        what = "no test set" if scan in DATASETS else "no data set"
        raise InputError(f"scan: wanted one of {names}, got {scan!r}, which is {what}")
    return found


def phantom_cases(count: int, size: int, snr: float, seed: int, stream: int) -> list[Case]:
    """Random phantoms measured with one volume at b = 0 and 64 at b = 1000; streams of one seed are independent."""
    rng = np.random.default_rng([seed, stream])
    generator = torch.Generator().manual_seed(1000 * seed + stream)
    bvals, bvecs = gradients(DIRECTIONS)
    cases = []
    for _ in range(count):
        scene = phantom(size, rng)
        clean = signal(scene.tensors, scene.s0, bvals, bvecs)
        true = clamped(scattered(1e3 * wls(clean[scene.mask], bvals, bvecs), scene.mask), scene.mask)
        cases.append(case(rician(clean, 1 / snr, generator), bvals, bvecs, scene.mask, true))
    return cases


def _chosen(methods: Sequence[Method]) -> list[Tuned]:
    out: dict[str, Tuned] = {}
    for method in methods:
        out[method.name] = Tuned(method, method.chosen, out[method.after] if method.after else None)
    return list(out.values())


def _with_noisy(methods: Sequence[Tuned]) -> list[Tuned]:
    return [Tuned(NOISY, {}), *methods]


def _rows(
    title: str, tests: Iterable[Sequence[Case]], methods: Sequence[Tuned], progress: Progress | None
) -> list[Row]:
    figures: dict[str, list[dict[str, float]]] = {}
    for number, cases in enumerate(tests, 1):
        if progress:
            progress(f"{title}: {number}")
        outputs = [results(methods, one) for one in cases]
        for tuned in methods:
            found = [output[tuned.method.name] for output in outputs]
            figures.setdefault(tuned.method.name, []).append(_figures(found, cases))
        if cases[0].halves is not None:
            floor = float(reference_noise(cases).mean())
            gain = 10 * math.log10(figures[NOISY.name][-1]["d2"] / floor)
            bias = -reference_fa_bias(cases)
            figures.setdefault(FLOOR, []).append({"delta_snr": gain, "d2": floor, "fa_bias": bias})
    labels = {tuned.method.name: (tuned.method.label(tuned.parameters), tuned.method.sees) for tuned in methods}
    return [_row(title, *labels.get(name, (name, "")), found) for name, found in figures.items()]


def _figures(found: Sequence[Result], cases: Sequence[Case]) -> dict[str, float]:
    """The figures of one split."""
    noisy, reference = (torch.cat([getattr(c, part)[c.mask] for c in cases]) for part in ("noisy", "reference"))
    estimate = torch.cat([result.tensors[c.mask] for result, c in zip(found, cases, strict=True)])
    before, after = distance_to_truth(noisy, reference), distance_to_truth(estimate, reference)
    first, images = 0, []
    for one in cases:
        z = torch.nonzero(one.mask)[:, 2]
        images.append(first + z)
        first += one.mask.shape[2]
    slices = torch.cat(images)
    sums = (torch.zeros(first, dtype=d.dtype).index_add(0, slices, d) for d in (before, after))
    total, left = (s[slices.unique()] for s in sums)
    out = scores(estimate, noisy, reference)
    out["slice"] = float((10 * torch.log10(total / left)).min())
    out["median_gain"] = float(10 * torch.log10(before.median() / after.median()))
    out["seconds"] = sum(result.seconds for result in found)
    return out


def _row(title: str, label: str, sees: str, found: Sequence[dict[str, float]]) -> Row:
    def mean(key: str) -> float:
        return float(np.mean([figures.get(key, math.nan) for figures in found]))

    gains = np.array([figures["delta_snr"] for figures in found])
    spread = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.nan
    lowest = min(figures.get("slice", math.nan) for figures in found)
    row: Row = {"data": title, "method": label, "sees": sees, "dSNR dB": round(mean("delta_snr"), 4) + 0.0}
    row |= {"+-": spread, "worst split": float(gains.min().round(4)) + 0.0, "worst slice": round(lowest, 4) + 0.0}
    row |= {"of medians": round(mean("median_gain"), 4) + 0.0, "d2": mean("d2"), "median d2": mean("d2_median")}
    row |= {"FA bias": mean("fa_bias"), "FA error": mean("fa_error"), "MD error": mean("md_error")}
    row |= {"direction error": mean("direction_error"), "not SPD %": 100 * mean("not_spd"), "s": mean("seconds")}
    return row
