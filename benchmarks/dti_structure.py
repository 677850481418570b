"""How nearly the denoiser of diffusion tensors keeps frames and units in float32, and whether what it gives is SPD.

python benchmarks/dti_structure.py                      # the shipped weights, a phantom; a minute
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from manifoldnet.dti.examples import protocol
from manifoldnet.dti.model import EIGENVALUES, DtiDenoiser, denoise
from manifoldnet.dti.protocol import clamped_fit
from manifoldnet.dti.simulate import dwi, phantom

SIZE, DIRECTIONS, SNR = 20, 16, 15
UNITS = (1e3, 1e-3, 1024.0)
CONDITIONS = (1e2, 1e4, 1e6)


def cube_group() -> list[torch.Tensor]:
    """The 48 rotations and reflections of the grid."""
    matrices = []
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            r = torch.zeros(3, 3)
            r[range(3), permutation] = torch.tensor(signs)
            matrices.append(r)
    return matrices


def moved(volume: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """The volume whose voxels r took to other places."""
    permutation = r.abs().argmax(1).tolist()
    backwards = [axis for axis in range(3) if r[axis, permutation[axis]] < 0]
    return volume.permute(*permutation, *range(3, volume.dim())).flip(backwards)


def turned(tensors: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """r D r' where r takes the voxel of D."""
    return r @ moved(tensors, r) @ r.T


def off(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> float:
    """Largest difference of an entry in the mask, relative to the largest entry of its tensor."""
    a, b = a[mask].double(), b[mask].double()
    return float(((a - b).abs().amax((-2, -1)) / b.abs().amax((-2, -1))).max())


def ill_conditioned(condition: float, size: int, generator: torch.Generator) -> torch.Tensor:
    """SPD tensors in float32 whose condition is the given one, in random frames."""
    frames = torch.linalg.qr(torch.randn(size, size, size, 3, 3, generator=generator, dtype=torch.float64))[0]
    middle = torch.rand(size, size, size, generator=generator, dtype=torch.float64)
    values = torch.stack([torch.zeros_like(middle), -middle, -torch.ones_like(middle)], -1) * np.log(condition)
    tensors = (frames * values.exp()[..., None, :]) @ frames.mT
    return (0.5 * (tensors + tensors.mT)).float()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default")
    model = DtiDenoiser.named(parser.parse_args().weights)
    bvals, bvecs = protocol(DIRECTIONS)
    scene = phantom(SIZE, np.random.default_rng(3))
    generator = torch.Generator().manual_seed(3)
    signals = dwi(scene.tensors, scene.s0, bvals, bvecs, SNR, generator).float()
    mask = scene.mask
    tensors = 1e-3 * clamped_fit(signals, bvals, bvecs, mask)
    console = Console(width=120)

    symmetry = Table("float32, worst voxel", "tensors alone", "with signals", box=box.SIMPLE)
    own = [denoise(tensors, mask, model=model), denoise(tensors, mask, signals, bvals, bvecs, model=model)]
    worst = [0.0, 0.0]
    for r in cube_group():
        inputs = turned(tensors, r), moved(mask, r)
        again = (
            denoise(*inputs, model=model),
            denoise(*inputs, moved(signals, r), bvals, bvecs @ r.T, model=model),
        )
        worst = [max(w, off(a, turned(b, r), inputs[1])) for w, a, b in zip(worst, again, own, strict=True)]
    symmetry.add_row("R D R' and the grid, 48 R", *(f"{w:.1e}" for w in worst))
    for unit in UNITS:
        again = denoise(unit * tensors, mask, model=model)
        symmetry.add_row(f"{unit:g} D", f"{off(again, unit * own[0], mask):.1e}", "unit is fixed")
    console.print(symmetry)

    names = ("condition", "tensors", "eigenvalues clamped %", "SPD %", "smallest eigenvalue / scale")
    table = Table(*names, box=box.SIMPLE)
    for condition in CONDITIONS:
        field = ill_conditioned(condition, SIZE, generator)
        result = torch.linalg.eigvalsh(denoise(field, model=model, strength=1.0).double())
        values = torch.linalg.eigvalsh(field.double())
        scale = values.mean(-1).median()
        clamped = ((values < EIGENVALUES[0] * scale) | (values > EIGENVALUES[1] * scale)).double().mean()
        spd = (result[..., 0] > 0).double().mean()
        counts = (f"{condition:g}", f"{SIZE**3:,}", f"{100 * clamped:.0f}", f"{100 * spd:g}")
        table.add_row(*counts, f"{result[..., 0].min() / scale:.4f}")
    console.print(table)


if __name__ == "__main__":
    main()
