"""Denoise a volume of diffusion tensors with an SPD-valued autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from manifoldnet.arrays import as_tensor
from manifoldnet.dti.fit import residual_sigma, wls
from manifoldnet.dti.gradients import FEWEST, check_fittable, direction_count, tensor_model_holds
from manifoldnet.dti.metrics import bounded
from manifoldnet.dti.mppca import mppca
from manifoldnet.dti.scan import box_round
from manifoldnet.errors import InputError
from manifoldnet.linalg import compilation, sym_expm, sym_from_vector, sym_to_vector
from manifoldnet.nn import SPDAutoencoder, SPDEnsemble
from manifoldnet.training import SavedModel

AT_ONCE = 2**13  # voxels; more are slower, they leave the caches
RIM = 3  # voxels round the mask that networks see, so that it does not matter how much of a file is empty
EIGENVALUES = (1 / 16, 5.0)
USUAL = 12  # directions where nothing is said
COUNTS = (8, 64)  # of directions in training; networks do not know what more of them mean
MOST_TOLD = 12  # best on slices 30 to 39; where scans had more in training, fewer were left for the target
USUAL_LEVEL = 0.05  # the median noise level of training; networks that are told of less smooth less than they should
SYMMETRY = 1e-4  # of the largest entry, room for a file's rounding
Volume = TypeVar("Volume", np.ndarray, Tensor)


class Known(NamedTuple):
    """What a denoiser is told of tensors (x, y, z, 3, 3) besides their mask.

    Attributes:
        sigma: noise level of the signals over S0 (x, y, z), 0 where it is not known.
        directions: to how many the tensors were fitted, 0 if it is not known.
        filtered: the same fit to signals without their noise components, in the unit of the tensors, or None.
    """

    sigma: Float[Tensor, "x y z"]
    directions: float | int = 0
    filtered: Float[Tensor, "x y z 3 3"] | None = None


class Denoised(NamedTuple):
    """Denoised tensors and how far from the truth they may be.

    Attributes:
        tensors: (x, y, z, 3, 3).
        uncertainty: (x, y, z), the root mean square of the affine-invariant distance to the truth (no unit; .1 is an
            eigenvalue that is 10 % off), NaN outside the mask. If errors are a Riemannian Gaussian, 68 % of them are
            below 1.08 of it and 95 % below 1.45.
    """

    tensors: Any
    uncertainty: Any


class DtiDenoiser(SavedModel):
    """The mean of several :class:`SPDAutoencoder` of matrix logarithms, and how far it is followed.

    Args:
        config: ``members``, how many, ``width``, ``embedding``, ``radius2`` of each and two numbers each, a in [0, 1],
            b >= 0, for the shares a / (1 + b n) at n directions: ``strength``, how far to go from the noisy logarithms,
            for "tensors" alone and with "signals", and ``lean``, how far from the network's result to the fit to
            filtered "signals". Kept as ``config`` with whatever else made the weights.
        generator: source of the initial parameters.
    """

    kind = "dti"
    shipped = Path(__file__).parent / "weights" / "default.safetensors"

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__(config)
        self.net = SPDEnsemble(autoencoder(config, generator) for _ in range(config["members"]))
        self.strength = {"tensors": (1.0, 0.0), "signals": (1.0, 0.0), **config.get("strength", {})}
        self.lean = {"signals": (0.0, 0.0), **config.get("lean", {})}

    def forward(
        self, logs: Tensor, mask: Tensor, sigma: Tensor, directions: Tensor, filtered: Tensor | None = None
    ) -> Tensor:
        """As :meth:`SPDEnsemble.forward`."""
        return self.net(logs, mask, sigma, directions, filtered)

    def followed(
        self,
        logs: Float[Tensor, "6 x y z"],
        out: Float[Tensor, "6 x y z"],
        filtered: Float[Tensor, "6 x y z"] | None,
        directions: float | int,
        strength: float | int | None = None,
    ) -> Float[Tensor, "6 x y z"]:
        """What becomes of noisy logarithms, of the network's and of those of filtered signals.

        Strength and lean are the model's own if ``strength`` is None, where 12 directions are assumed if their number
        is not known (0); else there is no lean.
        """
        if strength is not None:
            return torch.lerp(logs, out, strength)
        n = directions or USUAL
        if filtered is not None:
            out = torch.lerp(out, filtered, _share(self.lean["signals"], n))
        return torch.lerp(logs, out, _share(self.strength["tensors" if filtered is None else "signals"], n))


def autoencoder(config: dict[str, Any], generator: torch.Generator | None = None) -> SPDAutoencoder:
    """One member of a :class:`DtiDenoiser` with its initial parameters."""
    return SPDAutoencoder(config["width"], config["embedding"], config["radius2"], generator)


def told(directions: float | int, strength: float | int | None = None) -> float:
    """What the network is told of the number of directions, 0 where it is not known.

    It is clamped: at the model's own strength, for which ``strength`` is None, to MOST_TOLD, at a given one to what
    phantoms had in training.
    """
    most = MOST_TOLD if strength is None else COUNTS[1]
    return float(min(max(directions, COUNTS[0]), most)) if directions else 0.0


def told_level(
    sigma: Float[Tensor, "x y z"], mask: Bool[Tensor, "x y z"], strength: float | int | None = None
) -> Float[Tensor, "x y z"]:
    """What the network is told of the noise level: at the model's own strength, levels whose median is less than
    USUAL_LEVEL times what makes it that, at a given one what is known."""
    known = sigma[mask & (sigma > 0)]
    if strength is not None or not len(known):
        return sigma
    return sigma * (USUAL_LEVEL / known.median()).clamp_min(1.0)


def _share(law: Sequence[float], directions: float | int) -> float:
    """a / (1 + b n): noise / (noise + error) of Wiener's filter, where the variance of the noise goes like 1 / n."""
    return law[0] / (1 + law[1] * directions)


@overload
def denoise(
    tensors: Volume,
    mask: Volume | None = None,
    dwi: Volume | None = None,
    bvals: Any = None,
    bvecs: Any = None,
    model: str | Path | DtiDenoiser = "default",
    *,
    directions: int | None = None,
    strength: float | int | None = None,
    uncertainty: Literal[False] = False,
) -> Volume: ...


@overload
def denoise(
    tensors: Volume,
    mask: Volume | None = None,
    dwi: Volume | None = None,
    bvals: Any = None,
    bvecs: Any = None,
    model: str | Path | DtiDenoiser = "default",
    *,
    directions: int | None = None,
    strength: float | int | None = None,
    uncertainty: Literal[True],
) -> Denoised: ...


@compilation("never")  # one volume is denoised before a compiler is done
def denoise(
    tensors: Volume,
    mask: Volume | None = None,
    dwi: Volume | None = None,
    bvals: Any = None,
    bvecs: Any = None,
    model: str | Path | DtiDenoiser = "default",
    *,
    directions: int | None = None,
    strength: float | int | None = None,
    uncertainty: bool = False,
) -> Volume | Denoised:
    """Denoised diffusion tensors.

    Args:
        tensors: (x, y, z, 3, 3) symmetric positive definite in the mask, in any unit.
        mask: (x, y, z), non-zero = use; by default the voxels whose tensors are finite and not zero.
        dwi: (x, y, z, n) the signals to which the tensors were fitted, in which case the noise level is
            measured by the residuals and the fit to the signals without their noise components (:func:`mppca`) is used
            as well; with ``bvals`` (n,) in s/mm^2 and ``bvecs`` (n, 3), and tensors in mm^2/s. Voxels with a signal
            that is not finite or not positive are denoised without.
        model: "default", a file of weights, or a model.
        directions: to how many directions the tensors were fitted, if there are no signals that say so.
        strength: how far to go from each tensor to the network's along the log-Euclidean geodesic, in [0, 1]; None for
            what was best for so many directions on the slices of a real scan that the model was tuned on. Smooth fields
            gain by more; where it is given, the network is also told of more than 12 directions that there are so many,
            and of noise below .05 of S0 that it is so low.
        uncertainty: return how far from the truth the tensors may be as well; it was learned for no other strength.

    Returns:
        (x, y, z, 3, 3), positive definite in the mask and as it came outside; the kind, device and dtype of the
        input. With ``uncertainty``, :class:`Denoised`.

    Raises:
        InputError: if shapes are wrong, the mask is empty, a tensor in the mask is not SPD, of dwi, bvals and bvecs
            only some are given, they determine no tensor, their unit is not that of the tensors, or directions or
            strength are out of range.
    """
    given = as_tensor("tensors", tensors)
    if given.dim() != 5 or given.shape[-2:] != (3, 3) or not given.is_floating_point():
        raise InputError(f"tensors: wanted shape (x, y, z, 3, 3), real, got {tuple(given.shape)} of {given.dtype}")
    if mask is None:
        inside = given.isfinite().all(-1).all(-1) & (given != 0).any(-1).any(-1)
    else:
        values = as_tensor("mask", mask).to(given.device)
        inside = (values != 0) & (values == values)
    if inside.shape != given.shape[:3]:
        raise InputError(f"mask: wanted shape {tuple(given.shape[:3])}, got {tuple(inside.shape)}")
    if directions is not None and directions < FEWEST:
        raise InputError(f"directions: wanted at least {FEWEST}, got {directions}")
    if strength is not None and not 0 <= strength <= 1:
        raise InputError(f"strength: wanted a number in [0, 1], got {strength}")
    if strength is not None and uncertainty:
        raise InputError(f"strength: wanted None with uncertainty, which is known for the model's own, got {strength}")
    known = Known(given.new_zeros(inside.shape), directions or 0)
    parts = (dwi, bvals, bvecs)
    if any(part is not None for part in parts):
        if any(part is None for part in parts):
            raise InputError("dwi, bvals, bvecs: wanted all three or none of them")
        known = told_by_signals(given, inside, as_tensor("dwi", dwi), bvals, bvecs)
    result = filtered(given, inside, known, DtiDenoiser.named(model), strength)
    if not isinstance(tensors, Tensor):
        result = Denoised(*(image.numpy() for image in result))
    return result if uncertainty else result.tensors


def told_by_signals(tensors: Tensor, mask: Tensor, dwi: Tensor, bvals: Any, bvecs: Any) -> Known:
    """What the signals tell of the tensors that were fitted to them; errors as in :func:`denoise`."""
    b, v = (as_tensor(name, g).cpu().double().numpy() for name, g in (("bvals", bvals), ("bvecs", bvecs)))
    if dwi.shape[:-1] != mask.shape or b.shape != dwi.shape[-1:] or v.shape != (len(b), 3):
        got = f"{tuple(dwi.shape)}, {b.shape} and {v.shape}"
        raise InputError(f"dwi, bvals, bvecs: wanted shapes {(*mask.shape, 'n')}, (n,) and (n, 3), got {got}")
    b, v = check_fittable(b, v)
    holds = tensor_model_holds(b)
    chosen = tensors[mask]
    decay = float(b[holds].max() * chosen.diagonal(dim1=-2, dim2=-1).mean(-1).double().median())
    if decay <= 0.01 or decay >= 100:  # NaN is for the tensors to answer for
        raise InputError(
            f"tensors, bvals: the b-value times the mean diffusivity is {decay:.2g}, wanted about 1: tensors in mm^2/s"
            " beside b-values in s/mm^2"
        )
    measured = dwi.to(tensors.device)[..., torch.from_numpy(holds)].to(tensors.dtype)
    alive = measured.isfinite().all(-1) & (measured > 0).all(-1)
    seen = mask & alive
    b_used, v_used = (torch.as_tensor(g[holds], dtype=tensors.dtype, device=tensors.device) for g in (b, v))
    sigma, fitted = tensors.new_zeros(mask.shape), tensors.clone()
    sigma[seen] = residual_sigma(measured[seen], b_used, v_used, tensors[seen])
    without_noise = mppca(torch.where(alive[..., None], measured, 0.0), seen)
    fitted[seen] = wls(without_noise[seen], b_used, v_used)
    return Known(sigma, direction_count(b[holds]), fitted)


def filtered(
    tensors: Float[Tensor, "x y z 3 3"],
    mask: Bool[Tensor, "x y z"],
    known: Known,
    model: DtiDenoiser,
    strength: float | int | None = None,
) -> Denoised:
    """The denoised tensors of :func:`denoise` and their uncertainty, which is that at the model's own strength.

    Raises:
        InputError: if the mask is empty or a tensor in it is not SPD.
    """
    logs, scale = logarithms(tensors, mask)
    model = model.to(tensors.device)
    images = [logs, mask[None], told_level(known.sigma, mask, strength)[None]]
    if known.filtered is not None:
        images.append(logarithms(known.filtered, mask, scale)[0])
    box = box_round(mask.cpu().numpy(), RIM)
    images = [image[(slice(None), *box)] for image in images]
    out, features = averaged(model, images, told(known.directions, strength))
    with torch.inference_mode():
        error = (0.5 * model.net.error(features[None])[0, 0]).exp().to(tensors.dtype)
    inside = mask[box]
    fit = images[3] if known.filtered is not None else None
    out = model.followed(images[0], out.to(logs.dtype), fit, known.directions, strength)
    result, uncertainty = tensors.clone(), torch.full_like(tensors[..., 0, 0], torch.nan)
    # the network's correction of a mean must not leave the range that its input was brought to
    limits = (math.log(limit) for limit in EIGENVALUES)
    exponentials = sym_expm(bounded(sym_from_vector(out.movedim(0, -1)[inside].double()), *limits))
    result[mask] = (scale * 0.5 * (exponentials + exponentials.mT)).to(tensors.dtype)
    uncertainty[mask] = error[inside]
    return Denoised(result, uncertainty)


def logarithms(
    tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"], scale: Float[Tensor, ""] | None = None
) -> tuple[Float[Tensor, "6 x y z"], Float[Tensor, ""]]:
    """Coordinates of the logarithms of tensors / scale, 0 outside the mask; scale is the median mean eigenvalue if it
    is not given.

    Eigenvalues are clamped to 1/16 to 5 times the scale first: beyond that they are noise, and logarithms of
    near-singular fits would outweigh everything near them.

    Raises:
        InputError: if the mask is empty or a tensor in it is not SPD (count and first index are given).
    """
    if not bool(mask.any()):
        raise InputError("mask: wanted at least one voxel with a tensor, it is empty")
    chosen = tensors[mask].double()
    finite = chosen.isfinite().all(-1).all(-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], chosen, 0.0))
    asymmetry = (chosen - chosen.mT).abs().amax((-2, -1))
    symmetric = asymmetry <= SYMMETRY * chosen.abs().amax((-2, -1))
    bad = ~(finite & symmetric & (values[:, 0] > 0))
    if bool(bad.any()):
        first = tuple(torch.nonzero(mask)[bad][0].tolist())
        raise InputError(
            f"tensors: {int(bad.sum())} in the mask are not symmetric positive definite, the first at {first}"
        )
    scale = values.mean(-1).median() if scale is None else scale
    relative = (values / scale).clamp(*EIGENVALUES)
    out = torch.zeros(*mask.shape, 6, dtype=torch.float64, device=tensors.device)
    out[mask] = sym_to_vector((vectors * relative.log()[:, None, :]) @ vectors.mT)
    return out.movedim(-1, 0), scale


def averaged(
    model: DtiDenoiser, images: list[Tensor], directions: float
) -> tuple[Float[Tensor, "6 x y z"], Float[Tensor, "width x y z"]]:
    """The network's output and features; the means are found for AT_ONCE voxels of the mask at a time.

    Args:
        model: the denoiser.
        images: logarithms (6, x, y, z), mask and noise level (1, x, y, z), and logarithms of filtered signals if there
            are any.
        directions: their number as it is :func:`told`.
    """
    logs, mask, sigma, *rest = (x[None] if x.dtype == torch.bool else x[None].float() for x in images)
    filtered = rest[0] if rest else None
    count = logs.new_full((1,), directions)
    with torch.inference_mode():
        out, features = model.net.with_features(logs, mask, sigma, count, filtered, AT_ONCE)
    return out[0], features[0]
