"""What the tuning slices say of how far a denoiser of tensors is to be followed; see the model card of manifoldnet.dti.

dSNR in dB on slices of both scans of training that were kept for this, and on those of the first one by one and
blurred, mean over 8, 12, 16 and 20 directions, for the law 1 / (1 + b n) and the lean towards the fit to filtered
signals; and FA bias with 12.

python benchmarks/dti_tuning.py --weights w.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manifoldnet.dti.metrics import delta_snr, fa
from manifoldnet.dti.model import DtiDenoiser, by_slabs, logarithms, told, told_by_signals, told_level
from manifoldnet.dti.protocol import TUNING, TUNING_FLAT, TUNING_NOISY, Case, splits
from manifoldnet.linalg import sym_expm, sym_from_vector

DIRECTIONS = (8, 12, 16, 20)
MODES = ("tensors", "signals")
TRIALS = {"tractseg": TUNING, "single, blurred": TUNING_FLAT, "nlsam": TUNING_NOISY}
Figures = dict[tuple[float, float], tuple[float, float]]  # of b and lean: dSNR, FA bias


def figures(cases: list[Case], model: DtiDenoiser, laws: dict[str, list[tuple[float, float]]]) -> dict[str, Figures]:
    """Gains and FA biases of both modes over all images of a split."""
    found: dict[str, dict[tuple[float, float], list[Tensor]]] = {
        mode: {law: [] for law in laws[mode]} for mode in MODES
    }
    for case in cases:
        logs, scale = logarithms(case.noisy, case.mask)
        known = told_by_signals(1e-3 * case.noisy, case.mask, case.signals, case.bvals, case.bvecs)
        assert known.filtered is not None
        fit = logarithms(1e3 * known.filtered, case.mask, scale)[0]
        blind = [logs, case.mask[None], torch.zeros_like(known.sigma)[None]]
        informed = [logs, case.mask[None], told_level(known.sigma, case.mask)[None], fit]
        for mode, images, filtered in zip(MODES, (blind, informed), (None, fit), strict=True):
            out = by_slabs(model, images, told(known.directions))[0].double()
            for b, lean in laws[mode]:
                model.strength, model.lean = {mode: (1.0, b)}, {"signals": (lean, 0.0)}
                followed = model.followed(logs, out, filtered, known.directions)
                tensors = sym_expm(sym_from_vector(followed.movedim(0, -1)[case.mask]))
                found[mode][b, lean].append(scale * tensors)
    noisy = torch.cat([case.noisy[case.mask] for case in cases])
    true = torch.cat([case.reference[case.mask].double() for case in cases])

    def measured(parts: list[Tensor]) -> tuple[float, float]:
        tensors = torch.cat(parts)
        return delta_snr(noisy, tensors, true), float(fa(tensors).mean() - fa(true).mean())

    return {mode: {law: measured(parts) for law, parts in found[mode].items()} for mode in MODES}


def main() -> None:
    """Print a table a mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--b", type=float, nargs="+", default=[0.0083, 0.0125, 0.0167, 0.025, 0.033, 0.04, 0.05, 0.06])
    parser.add_argument("--lean", type=float, nargs="+", default=[0.0, 0.2, 0.4])
    parser.add_argument("--splits", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = DtiDenoiser.named(given.weights)
    laws = {"tensors": [(b, 0.0) for b in given.b], "signals": [(b, lean) for lean in given.lean for b in given.b]}
    gains: dict[tuple[str, str, float, float], list[float]] = {}
    biases: dict[tuple[str, str, float, float], list[float]] = {}
    for name, trial in TRIALS.items():
        for n in DIRECTIONS:
            for cases in splits(dataclasses.replace(trial, directions=n), range(given.splits)):
                for mode, found in figures(cases, model, laws).items():
                    for law, (gain, bias) in found.items():
                        gains.setdefault((name, mode, *law), []).append(gain)
                        if n == TUNING.directions:
                            biases.setdefault((name, mode, *law), []).append(bias)
    for mode in MODES:
        columns = [f"{name}{what}" for name in TRIALS for what in ("", ", FA bias")]
        table = Table("b", "lean", *columns, title=f"{mode}, dSNR in dB", box=box.SIMPLE)
        for b, lean in laws[mode]:
            cells = []
            for name in TRIALS:
                key = (name, mode, b, lean)
                cells += [f"{sum(gains[key]) / len(gains[key]):.3f}", f"{sum(biases[key]) / len(biases[key]):.4f}"]
            table.add_row(f"{b:g}", f"{lean:g}", *cells)
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
