# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Denoising diffusion tensors of a real brain
#
# Twelve directions are what a hurried scan has. Here they are twelve of the 32 of a real one, so the other twenty tell
# what the tensors should have been: a reference with noise of its own, none of it shared but that of the single volume
# without weighting. The slices are not those that the network was trained on or the filters tuned on. Everything is
# seeded and runs in three minutes on one CPU core; `manifoldnet data get tractseg` fetches the scan.

# %%
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress")  # no progress bars here

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch

from manifoldnet.dti.evaluate import evaluate_scans, phantom_cases
from manifoldnet.dti.maps import colour_fa
from manifoldnet.dti.methods import METHODS, networks
from manifoldnet.dti.metrics import distance_to_truth, fa
from manifoldnet.dti.model import denoise
from manifoldnet.dti.protocol import TRIALS, splits
from manifoldnet.dti.tractography import apart, length, streamlines

plt.rcParams.update({"figure.dpi": 72, "image.interpolation": "nearest", "font.size": 8})
torch.set_num_threads(1)
BRAIN = TRIALS[0]
(brain,) = next(splits(BRAIN, [0]))
print(f"{BRAIN.name}, axial slices {BRAIN.slices[0]} to {BRAIN.slices[1] - 1}: {int(brain.mask.sum())} tensors")

# %% [markdown]
# ## 1. Two ways in
#
# Tensors are enough. With the signals that they were fitted to the network also sees how noisy they are and what they
# would be without the principal components that are noise. Tensors in the package's protocol are in um^2/ms, b-values
# in s/mm^2, hence the thousands.


# %%
def timed(*arguments, **options):
    start = time.perf_counter()
    result = 1e3 * denoise(1e-3 * brain.noisy, brain.mask, *arguments, **options)
    return result, time.perf_counter() - start


alone, seconds = timed(directions=12)
both, more_seconds = timed(brain.signals, brain.bvals, brain.bvecs)
print(f"tensors only {seconds:.1f} s, with signals {more_seconds:.1f} s")


def gain(case, tensors):
    """dSNR in dB: how much nearer to the reference than the input, in mean squared affine-invariant distance."""
    before, after = (distance_to_truth(x[case.mask], case.reference[case.mask]).mean() for x in (case.noisy, tensors))
    return 10 * float(torch.log10(before / after))


panels = {"12 directions": brain.noisy, "tensors only": alone, "with signals": both, "the other 20": brain.reference}
Z = 2
ROWS, COLUMNS = (slice(ends[0], ends[-1] + 1) for ends in map(np.unique, np.nonzero(brain.mask[:, :, Z].numpy())))
figure, axes = plt.subplots(3, 4, figsize=(12, 10), layout="constrained")
for column, (name, tensors) in zip(axes.T, panels.items(), strict=True):
    here = (ROWS, COLUMNS, Z)
    flat, reference = (torch.where(brain.mask[here][..., None, None], x[here], torch.eye(3)) for x in (tensors, brain.reference))
    d2 = distance_to_truth(flat, reference)
    column[0].imshow(colour_fa(flat).swapaxes(0, 1), origin="lower")
    column[1].imshow(fa(flat).T, origin="lower", cmap="gray", vmin=0, vmax=1)
    column[2].imshow(d2.sqrt().T, origin="lower", cmap="magma", vmin=0, vmax=0.8)
    column[0].set_title(name if name == "the other 20" else f"{name}, {gain(brain, tensors):+.2f} dB")
for axis, label in zip(axes[:, 0], ("colour FA", "FA", "distance to the reference"), strict=True):
    axis.set_ylabel(label)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])

# %% [markdown]
# ## 2. Beside classical filters
#
# With the parameters that are best on other slices of the same scan. "noise of the reference" is what a perfect
# filter would reach. The whole table, three splits of four sets of two more scanners, is `manifoldnet evaluate dti`.

# %%
QUICK = ("log-Euclidean Gaussian", "log-Euclidean TV", "MPPCA", "MPPCA + log-Euclidean TV")
rows = evaluate_scans([BRAIN], [0], [*(m for m in METHODS if m.name in QUICK), *networks()])
for row in rows:
    print(
        f"{row['method']:45s} {row['sees']:8s} {row['dSNR dB']:+.2f} dB, worst slice {row['worst slice']:+.2f},"
        f" FA bias {row['FA bias']:+.3f}, FA error {row['FA error']:.3f}, direction {row['direction error']:.1f} deg"
    )

# %% [markdown]
# ## 3. How far to go
#
# `strength` goes a part of the way, along the log-Euclidean geodesic. A phantom is smooth and gains by all of it; real
# fields are rough.

# %%
(phantom,) = phantom_cases(1, 32, 10.0, 7, 1)
strengths, gains = (0.25, 0.5, 0.7, 0.85, 1.0), []
print("strength   brain   phantom, SNR 10, 64 directions; tensors only")
for strength in strengths:
    on_brain, _ = timed(directions=12, strength=strength)
    on_phantom = 1e3 * denoise(1e-3 * phantom.noisy, phantom.mask, directions=64, strength=strength)
    gains.append((gain(brain, on_brain), gain(phantom, on_phantom)))
    print(f"{strength:8.2f} {gains[-1][0]:+7.2f} {gains[-1][1]:+7.2f}")
figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
for axis, values, name in zip(axes, zip(*gains, strict=True), ("brain", "phantom"), strict=True):
    axis.plot(strengths, values, "o-")
    axis.set(xlabel="strength", ylabel="dSNR, dB", title=name)

# %% [markdown]
# ## 4. What holds by construction
#
# The output is a weighted log-Euclidean mean of tensors near by, so it is positive definite whatever the weights are.
# Turning the head in the scanner by a right angle, tensors and grid, turns the result; other units change nothing else.

# %%
part = (slice(10, 40), slice(10, 40), slice(8, 20))
tensors, inside = (1e-3 * brain.noisy[part]).nan_to_num(), brain.mask[part]
result = denoise(tensors, inside)
R = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def grid_turned(x):
    return x.transpose(0, 1).flip(0)


def turned(x):
    return R @ grid_turned(x) @ R.T


def relative(a, b):
    return f"{float((a - b).abs().max() / b.abs().max()):.1e} of the largest entry"


print("turned by 90 degrees:", relative(denoise(turned(tensors), grid_turned(inside)), turned(result)))
print("in other units:      ", relative(denoise(1e3 * tensors, inside), 1e3 * result))
print(f"smallest eigenvalue:  {float(torch.linalg.eigvalsh(result[inside].double()).min()):.1e} mm^2/s")

# %% [markdown]
# ## 5. Streamlines
#
# dipy's deterministic streamlines from the same seeds in white matter, before and after, and how far they are from
# those of the reference (mean of closest distances, in voxels).

# %%
white = np.argwhere((fa(torch.nan_to_num(brain.reference)) > 0.45).numpy() & brain.mask.numpy()).astype(float)
seeds = white[np.random.default_rng(0).choice(len(white), 400, replace=False)]
mask = brain.mask.numpy()
lines = {name: streamlines(np.nan_to_num(x.numpy()), mask, seeds) for name, x in panels.items()}
for name, found in lines.items():
    gaps, lengths = apart(found, lines["the other 20"]), [length(line) for line in found]
    print(f"{name:14s} median length {np.median(lengths):5.1f}, from the reference {gaps.mean():.2f}, median {np.median(gaps):.2f}")

figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), layout="constrained", sharex=True, sharey=True)
for axis, (name, found) in zip(axes, lines.items(), strict=True):
    for line in found[:200]:
        axis.plot(*line[:, :2].T, lw=0.6)
    axis.set(title=name, aspect="equal", xticks=[], yticks=[])

# %% [markdown]
# ## 6. Files
#
# The command reads NIfTI tensors, or a scan with its b-values and directions, and writes tensors and maps.

# %%
folder = Path(tempfile.mkdtemp())
nib.save(nib.Nifti1Image(brain.signals.numpy(), np.diag([2.5, 2.5, 2.5, 1])), folder / "scan.nii.gz")
nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.diag([2.5, 2.5, 2.5, 1])), folder / "mask.nii.gz")
np.savetxt(folder / "scan.bval", brain.bvals.numpy()[None], fmt="%g")
np.savetxt(folder / "scan.bvec", brain.bvecs.numpy().T)
arguments = ["scan.nii.gz", "out.nii.gz", "--mask", "mask.nii.gz", "--maps", "fa,md,ad,rd,v1,rgb"]
command = [sys.executable, "-c", "from manifoldnet.cli import main; main()", "denoise", "dti", *arguments]
run = subprocess.run(command, cwd=folder, env=os.environ | {"NO_COLOR": "1"},
                     capture_output=True, text=True, check=True)
print(run.stdout)
print(*sorted(path.name for path in folder.glob("out*")))
same = np.abs(nib.load(folder / "out_fa.nii.gz").get_fdata()[mask] - fa(both[brain.mask].double()).numpy())
print(f"FA differs from that of section 1 by {np.median(same):.1e} in the median: dipy fits the command's tensors")
