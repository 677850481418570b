"""Time and memory of denoising a head of 104 x 104 x 60 voxels, from tensors alone and with 33 volumes of signals.

python benchmarks/dti_volume.py --threads 1     # two minutes
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from manifoldnet.cli.terminal import peak_memory
from manifoldnet.dti.examples import protocol
from manifoldnet.dti.model import denoise
from manifoldnet.dti.protocol import clamped_fit
from manifoldnet.dti.simulate import dwi, phantom

SHAPE = (104, 104, 60)
DIRECTIONS, SNR = 32, 20


def main() -> None:
    """Print seconds and the memory at its highest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    bvals, bvecs = protocol(DIRECTIONS)
    scene = phantom(max(SHAPE) // 2, np.random.default_rng(0))
    octant = dwi(scene.tensors, scene.s0, bvals, bvecs, SNR, torch.Generator().manual_seed(0))
    signals = octant.repeat(2, 2, 2, 1)[tuple(slice(n) for n in SHAPE)].float()
    grid = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    mask = torch.stack(grid).square().sum(0) < 0.75
    tensors = 1e-3 * clamped_fit(signals, bvals, bvecs, mask)
    for name, told in (("tensors", (None, None, None)), ("signals", (signals, bvals, bvecs))):
        start = time.perf_counter()
        denoise(tensors, mask, *told)
        spent = time.perf_counter() - start
        print(f"{name}: {int(mask.sum()):,} voxels, {spent:.1f} s{peak_memory()}")


if __name__ == "__main__":
    main()
