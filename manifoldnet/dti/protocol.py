"""Real scans as test sets: a part of the directions makes the input, the fit of the others is the reference.

The noise of the two fits is independent where they share no volume, so the distance to the reference falls with the
distance to the truth. It does not fall to zero: the reference has noise of its own, see :func:`reference_noise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_erosion
from torch import Tensor

from manifoldnet.data import load_diffusion
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import FEWEST, is_b0, tensor_model_holds
from manifoldnet.dti.metrics import INPUT_RANGE, bounded, fa, squared_distance
from manifoldnet.dti.scan import block_means, blurred, box_round, foreground
from manifoldnet.errors import InputError

RIM = 3  # voxels round the mask that filters of signals see
NOISE_EXPONENT = 0.8  # measured: the squared error of a fit falls with its directions a little slower than 1 / n


@dataclass(frozen=True, eq=False)
class Case:
    """What a denoiser is given, and what its output is compared with.

    Tensors are in um^2/ms with eigenvalues in [.05, 4], NaN outside the mask.

    Attributes:
        noisy: fitted to ``signals``.
        reference: the truth, or the fit of other volumes.
        mask: where tensors are given and compared.
        sigma: noise level of the signals relative to that without weighting, from the residuals of the fit; NaN
            outside the mask.
        signals: what the noisy tensors were fitted to, also outside the mask.
        bvals: s/mm^2.
        bvecs: unit vectors.
        halves: the same fit of each half of the volumes of the reference; None where the reference is the truth.
    """

    noisy: Float[Tensor, "x y z 3 3"]
    reference: Float[Tensor, "x y z 3 3"]
    mask: Bool[Tensor, "x y z"]
    sigma: Float[Tensor, "x y z"]
    signals: Float[Tensor, "x y z n"]
    bvals: Float[Tensor, " n"]
    bvecs: Float[Tensor, "n 3"]
    halves: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Trial:
    """How a scan is split.

    Attributes:
        name: what a table calls it.
        scan: a data set of ``manifoldnet data list``.
        directions: how many of the diffusion-weighted volumes make the input.
        slices: first axial slice and the one after the last; None for all.
        separate: whether its slices are no neighbours, and every one is an image of its own.
        erosion: how many voxels are taken off the rim of the mask in every slice.
        block: of how many voxels along each axis signals are means, see :func:`~manifoldnet.dti.scan.block_means`.
        blur: weight of neighbours along y, see :func:`~manifoldnet.dti.scan.blurred`.
    """

    name: str
    scan: str
    directions: int
    slices: tuple[int, int] | None = None
    separate: bool = False
    erosion: int = 0
    block: int = 1
    blur: float = 0.0


#: methods are tuned here: the last of the slices of ``tractseg`` below 40, on which networks may be trained
TUNING = Trial("tractseg below slice 40, 12 directions", "tractseg", 12, (30, 40))
#: the same slices one by one, with noise that neighbours share: as of a single slice that was interpolated
TUNING_FLAT = Trial(
    "tractseg below slice 40, single blurred slices, 12 directions", "tractseg", 12, (30, 40), separate=True, blur=0.22
)
#: the noisier scan of training, above the slices that networks are trained on; how far they are followed is measured
#: here as well
TUNING_NOISY = Trial("nlsam from slice 56, 12 directions", "nlsam", 12, (56, 74), block=2)
#: the test sets; nothing may be trained or tuned on them
TRIALS = (
    Trial("tractseg, 12 directions", "tractseg", 12, (44, 73)),
    Trial("mdt-b1k-b2k, 12 directions", "mdt-b1k-b2k", 12, separate=True, erosion=2),
    Trial("small-64d, 12 directions", "small-64d", 12),
    Trial("small-64d, 32 directions", "small-64d", 32),
)


def well_spread(axes: Float[np.ndarray, "n 3"], count: int, seed: int) -> Int[np.ndarray, " count"]:
    """Indices of ``count`` unit vectors that are far from one another as axes (g and -g are one).

    Each is the one with the least electrostatic energy of charges at +-g (Jones, Horsfield & Simmons 1999) in the
    field of those before it. The first is drawn: seeds below n start from different ones.

    Raises:
        InputError: if there are fewer than ``count``.
    """
    if count > len(axes):
        raise InputError(f"count: wanted at most {len(axes)}, the number of directions, got {count}")
    cosine = np.abs(axes @ axes.T).clip(max=1 - 1e-9)
    energy = (2 - 2 * cosine) ** -0.5 + (2 + 2 * cosine) ** -0.5
    np.fill_diagonal(energy, np.inf)
    chosen = [int(np.random.default_rng(0).permutation(len(axes))[seed % len(axes)])]
    total = energy[chosen[0]].copy()
    while len(chosen) < count:
        chosen.append(int(total.argmin()))
        total += energy[chosen[-1]]
    return np.array(chosen)


def splits(trial: Trial, seeds: Sequence[int]) -> Iterator[list[Case]]:
    """The cases of a trial for every seed, one case for each image.

    Input: well-spread directions and the first volume without weighting. Reference: all other directions, and the other
    volumes without weighting; where there is just one it is in both fits, and its noise goes unseen.

    Raises:
        InputError: if there is no such scan, it cannot be had, or has too few directions.
    """
    scan = load_diffusion(trial.scan)
    used = tensor_model_holds(scan.bvals)
    bvals, bvecs = scan.bvals[used], scan.bvecs[used]
    inside = foreground(scan.data, scan.bvals) if scan.mask is None else scan.mask
    window = slice(*trial.slices) if trial.slices else slice(None)
    signals, whole = block_means(scan.data[:, :, window][..., used], inside[:, :, window], trial.block)
    if trial.blur:
        signals = blurred(signals, whole, trial.blur)
    mask = whole & (signals > 0).all(-1)
    if trial.erosion:
        cross = np.zeros((3, 3, 3), bool)
        cross[1, :, 1] = cross[:, 1, 1] = True
        mask = binary_erosion(mask, cross, trial.erosion)
    box = box_round(mask, RIM)[:2]
    signals, mask = signals[box], mask[box]
    weighted = np.flatnonzero(~is_b0(bvals))
    if len(weighted) < trial.directions + FEWEST:
        wanted = trial.directions + FEWEST
        raise InputError(f"scan: {trial.scan} has {len(weighted)} volumes for the tensor model, wanted {wanted}")
    filled = np.flatnonzero(mask.any((0, 1)))
    images = [slice(z, z + 1) for z in filled] if trial.separate else [slice(filled[0], filled[-1] + 1)]
    for seed in seeds:
        first, rest, halves = _volumes(bvals, bvecs, trial.directions, seed)
        yield [_case(signals[:, :, z], mask[:, :, z], bvals, bvecs, first, rest, halves) for z in images]


def _volumes(
    bvals: np.ndarray, bvecs: np.ndarray, directions: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Volumes of the input, of the reference and of its two halves."""
    zero, weighted = np.flatnonzero(is_b0(bvals)), np.flatnonzero(~is_b0(bvals))
    chosen = weighted[well_spread(bvecs[weighted], directions, seed)]
    others = np.setdiff1d(weighted, chosen)
    free = zero[1:] if len(zero) > 1 else zero
    half = others[well_spread(bvecs[others], len(others) // 2, seed)]
    zeros = (free[::2], free[1::2]) if len(free) > 1 else (free, free)
    parts = np.concatenate([zeros[0], half]), np.concatenate([zeros[1], np.setdiff1d(others, half)])
    return np.concatenate([zero[:1], chosen]), np.concatenate([free, others]), parts


def _case(
    signals: np.ndarray,
    mask: np.ndarray,
    bvals: np.ndarray,
    bvecs: np.ndarray,
    first: np.ndarray,
    rest: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
) -> Case:
    inside = torch.from_numpy(mask)
    b, v = (torch.from_numpy(g).float() for g in (bvals, bvecs))
    measured = torch.from_numpy(signals)

    def fit_of(volumes: np.ndarray) -> Tensor:
        return clamped_fit(measured[..., volumes], b[volumes], v[volumes], inside)

    return case(measured[..., first], b[first], v[first], inside, fit_of(rest), (fit_of(halves[0]), fit_of(halves[1])))


def case(
    signals: Float[Tensor, "x y z n"],
    bvals: Float[Tensor, " n"],
    bvecs: Float[Tensor, "n 3"],
    mask: Bool[Tensor, "x y z"],
    reference: Float[Tensor, "x y z 3 3"],
    halves: tuple[Tensor, Tensor] | None = None,
) -> Case:
    """The case whose input is fitted to the signals."""
    measured = signals[mask]
    tensors = wls(measured, bvals, bvecs)
    sigma = residual_sigma(measured, bvals, bvecs, tensors)
    noisy = scattered(limited(1e3 * tensors), mask)
    return Case(noisy, reference, mask, scattered(sigma, mask), signals, bvals, bvecs, halves)


def reference_noise(cases: Sequence[Case]) -> Float[Tensor, " n"]:
    """Squared distances (n voxels) whose mean is about that of the reference to the truth.

    Half the squared distance of the fits of the two halves of its volumes is the squared error of one of them; with
    twice as many directions that is less by 2^.8, and by more where a half has few (9 on ``mdt-b1k-b2k``), whose noise
    this takes for too large. It bounds what a denoiser can reach: its own error is added to it.
    What all fits share, such as the noise of a single volume without weighting or motion, is in neither.
    """
    distances = []
    for one in cases:
        a, b = (half.double() for half in _halves(one))
        distances.append(0.5 * 2**-NOISE_EXPONENT * squared_distance(a, b))
    return torch.cat(distances)


def reference_fa_bias(cases: Sequence[Case]) -> float:
    """About how much the mean FA of the reference is above that of the truth.

    Noise makes tensors anisotropic (Pierpaoli and Basser 1996), by about 1 / number of directions; so the fits of the
    two halves of the reference are above it by as much as it is above the truth. A denoiser that has this bias with the
    other sign has none. Raises InputError where the reference is the truth.
    """
    gaps = []
    for one in cases:
        both = torch.stack([fa(half) for half in _halves(one)])
        gaps.append(both.mean(0) - fa(one.reference[one.mask]))
    return float(torch.cat(gaps).double().mean())


def _halves(one: Case) -> list[Float[Tensor, "n 3 3"]]:
    """The fits of the two halves in the mask; InputError where there are none."""
    if one.halves is None:
        raise InputError("cases: wanted cases of a real scan, got one whose reference is the truth")
    return [half[one.mask] for half in one.halves]


def limited(tensors: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Tensors (um^2/ms) with eigenvalues clamped to the range of inputs and references, [.05, 4]."""
    return bounded(tensors.double(), *INPUT_RANGE).to(tensors.dtype)


def clamped(tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"]) -> Float[Tensor, "x y z 3 3"]:
    """The tensors of the mask as :func:`limited`, NaN outside."""
    return scattered(limited(tensors[mask]), mask)


def clamped_fit(
    signals: Float[Tensor, "x y z n"],
    bvals: Float[Tensor, " n"],
    bvecs: Float[Tensor, "n 3"],
    mask: Bool[Tensor, "x y z"],
) -> Float[Tensor, "x y z 3 3"]:
    """The tensors (um^2/ms) fitted to the signals (b in s/mm^2) of the mask as :func:`limited`, NaN outside."""
    return scattered(limited(1e3 * wls(signals[mask], bvals, bvecs)), mask)


def scattered(values: Float[Tensor, "n ..."], mask: Bool[Tensor, "x y z"]) -> Float[Tensor, "x y z ..."]:
    """The values of the n voxels of the mask in their places, NaN outside."""
    volume = values.new_full((*mask.shape, *values.shape[1:]), torch.nan)
    volume[mask] = values
    return volume
