"""How far the uncertainty of denoised tensors holds, on scans and phantoms that nothing was trained on; see README.md.

Of a scan there is no truth; the two halves of the directions left out have independent noise, so the inner product of
the tangent vectors from the result to the two is the squared distance to the truth in the mean.

python benchmarks/dti_uncertainty.py
"""

from __future__ import annotations

import argparse

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from manifoldnet.dti.evaluate import TEST, phantom_cases
from manifoldnet.dti.gradients import direction_count
from manifoldnet.dti.model import DtiDenoiser, denoise
from manifoldnet.dti.protocol import TRIALS, Case, splits
from manifoldnet.dti.uncertainty import unbiased

GROUPS = 5
QUANTILES = (1.083, 1.449)  # 68.3 and 95 % of a Riemannian Gaussian, in units of its root mean square


def measured(cases: list[Case], with_signals: bool, model: DtiDenoiser) -> tuple[Tensor, Tensor]:
    """What is the squared distance to the truth in the mean, and the uncertainty, of all voxels."""
    squares, widths = [], []
    for case in cases:
        told = (case.signals, case.bvals, case.bvecs) if with_signals else (None, None, None)
        count = None if with_signals else direction_count(case.bvals.numpy())
        result = denoise(1e-3 * case.noisy, case.mask, *told, model, directions=count, uncertainty=True)
        out = 1e3 * result.tensors[case.mask].double()
        one, other = (half[case.mask].double() for half in case.halves or (case.reference, case.reference))
        squares.append(unbiased(out, one, other))
        widths.append(result.uncertainty[case.mask].double())
    return torch.cat(squares), torch.cat(widths)


def main() -> None:
    """Print one row a data set and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = DtiDenoiser.named(given.weights)
    sets = {trial.name: next(iter(splits(trial, [0]))) for trial in TRIALS}
    sets |= {f"phantom, SNR {snr:g}": phantom_cases(1, 32, snr, 7, TEST) for snr in (5.0, 10.0, 20.0)}
    title = (
        "root mean square distance to the truth, measured / predicted, over all and over fifths by what is predicted"
    )
    groups = [f"fifth {k + 1}" for k in range(GROUPS)]
    table = Table("data", "told", "all", *groups, "68 %", "95 %", title=title, box=box.SIMPLE)
    for name, cases in sets.items():
        for with_signals in (False, True):
            squares, widths = measured(cases, with_signals, model)
            order = widths.argsort().tensor_split(GROUPS)
            parts = [torch.arange(len(widths)), *order]
            found = [(squares[part].mean().clamp_min(0).sqrt(), widths[part].square().mean().sqrt()) for part in parts]
            cells = [f"{float(true):.3f} / {float(said):.3f}" for true, said in found]
            known = cases[0].halves is None
            inside = [f"{100 * float((squares <= (q * widths) ** 2).double().mean()):.1f}" for q in QUANTILES]
            table.add_row(name, "signals" if with_signals else "tensors", *cells, *(inside if known else ("", "")))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
