"""Denoise an interferogram with the shipped network, or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from manifoldnet.arrays import as_tensor
from manifoldnet.errors import InputError
from manifoldnet.insar.calibration import Calibration, input_kind
from manifoldnet.insar.moduli import coherence_of_phasors, mean_around, relative_modulus
from manifoldnet.insar.phase_net import WIDE, Cut, Observed, PhaseNet, around
from manifoldnet.insar.tiles import by_tiles
from manifoldnet.linalg import wrap_angle
from manifoldnet.training import SavedModel

TILE = 768
#: the least modulus of a result times that of the frame it was found in, and the least one of its continuation, with
#: which rounding errors of float32 turn a phase by less than 1e-5
STEADY, CONTINUED = 0.02, 0.08
BESIDE = 5  # side in pixels of the square whose shortest frame counts
SURROUNDINGS = 31  # side in pixels of the square whose moduli say how far a single one can be trusted
Image = TypeVar("Image", np.ndarray, Tensor)


class Denoised(NamedTuple):
    """A filtered phase and how far from the truth it may be; (H, W) each, in radians.

    Attributes:
        phase: in (-pi, pi].
        uncertainty: the arc distance that 68.3 % of such pixels keep, the standard deviation of a normal error.
        bound: the arc distance that 95 % of such pixels keep.
    """

    phase: Any
    uncertainty: Any
    bound: Any


class InsarDenoiser(SavedModel):
    """A :class:`PhaseNet` and the calibration of its moduli.

    Args:
        config: ``channels`` and ``blocks`` of the network; kept as ``config`` with whatever else made the
            weights.
        generator: source of the initial parameters.
    """

    kind = "insar"
    shipped = Path(__file__).parent / "weights" / "default.safetensors"

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__(config)
        channels = tuple(tuple(stage) for stage in config["channels"])
        self.net = PhaseNet(channels, config["blocks"], generator=generator)
        self.calibration = Calibration()

    @property
    def margin(self) -> int:
        """Pixels on each side that an estimate can depend on, a multiple of ``net.factor``."""
        return self.net.margin + self._continued_from + self._widened

    @property
    def _widened(self) -> int:
        return self.net.whole(SURROUNDINGS // 2)

    @property
    def _continued_from(self) -> int:
        return self.net.whole(WIDE[0])

    def forward(self, *known: Tensor) -> list[Complex[Tensor, "b h w"]]:
        """The outputs of all stages for an :class:`Observed`, the last one being the filtered phasors.

        Their moduli are expected resultant lengths. Sides are multiples of ``net.factor``.
        """
        return self.net(Observed(*known))

    def filtered(self, known: Observed, cut: Cut) -> Complex[Tensor, "b h w"]:
        """The mean of the results for the images and for their transposes, in these rows and columns.

        So rows and columns are treated alike, and of the error the part that depends on which is which goes down.
        Phases are those of :meth:`steady`.
        """
        area, inside = around(cut, self._continued_from, self.net.factor, known.phasor.shape[-2:])
        upright, frame = self.net.last(known, (area[1], area[2]))
        transposed, crossing = self.net.last(Observed(*(image.mT for image in known)), (area[2], area[1]))
        mean, shorter = 0.5 * (upright + transposed.mT), torch.minimum(frame, crossing.mT)
        return self.steady(mean, shorter, known.phasor[area])[(..., *inside)]

    def steady(
        self, mean: Complex[Tensor, "b h w"], frame: Float[Tensor, "b h w"], own: Complex[Tensor, "b h w"]
    ) -> Complex[Tensor, "b h w"]:
        """The results, but for other phases where rounding errors could turn theirs.

        Where a phasor is short, or was found in a frame whose modulus is, its angle is that of an error. A window that
        is wide enough to continue the fringes round it knows better, and where that sees none either a pixel
        keeps its own phase, which turns with a common phase whatever the moduli are.
        """
        firm = -max_pool2d(-frame, BESIDE, stride=1, padding=BESIDE // 2) * mean.abs()
        wide = self.net.continued(mean).continued
        other = torch.where(wide.abs() > CONTINUED, wide, own)
        return torch.where((firm < STEADY) & (other != 0), mean.abs() * other.sgn(), mean)

    def estimate(self, known: Observed, cut: Cut, kind: int) -> Float[Tensor, "3 b h w"]:
        """Phase, uncertainty and bound of :class:`Denoised` in these rows and columns; ``cut`` as in
        :class:`PhaseNet`, ``kind`` as in :class:`Calibration`."""
        area, inside = around(cut, self._widened, self.net.factor, known.phasor.shape[-2:])
        out = self.filtered(known, area[1:])
        widths = self.calibration(out.abs(), surroundings(out.abs(), known.phasor[area] != 0), kind)
        return torch.cat([out.angle()[None], widths])[(..., *inside)]


def surroundings(modulus: Float[Tensor, "b h w"], there: Bool[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Mean modulus in a square of 31 by 31 pixels, of those with data; 0 where there are none."""
    share = mean_around(there.to(modulus.dtype), SURROUNDINGS)
    return mean_around(modulus * there, SURROUNDINGS) / share.clamp_min(1e-6)


@overload
def denoise(
    phase_or_complex: Image,
    coherence: Image | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: Literal[False] = False,
    tile: int = TILE,
) -> Image: ...


@overload
def denoise(
    phase_or_complex: Image,
    coherence: Image | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: Literal[True],
    tile: int = TILE,
) -> Denoised: ...


def denoise(
    phase_or_complex: Image,
    coherence: Image | None = None,
    looks: float | int | None = None,
    model: str | Path | InsarDenoiser = "default",
    *,
    uncertainty: bool = False,
    tile: int = TILE,
) -> Image | Denoised:
    """Filtered phase of an interferogram.

    Args:
        phase_or_complex: (H, W); phase in radians, wrapped or not, or a complex interferogram, whose relative moduli
            tell the filter which pixels to trust. NaN, zero in a complex one and what a numpy array masks mean no data.
        coherence: (H, W) in [0, 1], estimated from the looks of each pixel or over neighbours; where it is NaN or 0, or
            without it, an estimate from 5 by 5 phasors takes its place.
        looks: number of looks of the interferogram, at least 1, or None if it is not known. At a single look a
            coherence of 1 everywhere, which is what its estimate from one look is, is ignored.
        model: "default", a file of weights, or a model.
        uncertainty: return how far from the truth the phase may be as well.
        tile: side of the blocks in which large scenes are computed.

    Returns:
        Phase (H, W) in (-pi, pi], NaN where there is no data; the kind, device and real dtype of the input. With
        ``uncertainty``, :class:`Denoised`.

    Raises:
        InputError: if the shapes are not (H, W) or differ, the numbers are integers, the coherence or the looks are
            out of range, or there is no data at all.
    """
    given = as_tensor("phase_or_complex", phase_or_complex)
    known, valid, kind = observed(given, coherence, looks)
    network = InsarDenoiser.named(model).to(given.device)
    with torch.inference_mode():
        real = given.real.dtype if given.is_complex() else given.dtype
        phase, *widths = torch.where(valid, by_tiles(network, known, kind, tile).to(real), torch.nan)
    images = [wrap_angle(phase), *widths] if uncertainty else [wrap_angle(phase)]
    arrays: Any = images if isinstance(phase_or_complex, Tensor) else [image.numpy() for image in images]
    return Denoised(*arrays) if uncertainty else arrays[0]


def observed(given: Tensor, coherence: Any, looks: float | int | None) -> tuple[Observed, Tensor, int]:
    """What the network is told of an image (H, W), where there are data, and the kind of input; errors as in
    :func:`denoise`."""
    if given.dim() != 2 or not (given.is_floating_point() or given.is_complex()):
        got = f"{tuple(given.shape)} of {given.dtype}"
        raise InputError(f"phase_or_complex: wanted shape (H, W), real (radians) or complex, got {got}")
    check_looks(looks)
    valid = given.isfinite() & (given != 0) if given.is_complex() else given.isfinite()
    if not bool(valid.any()):
        raise InputError("phase_or_complex: wanted at least one pixel with data, all are NaN or no data")
    estimate = None
    if coherence is not None:
        estimate = _coherence(coherence, given.shape).to(given.device)
        if looks == 1 and bool((estimate[valid] > 1 - 1e-4).all()):
            estimate = None
    phase, modulus = (given.angle(), given.abs()) if given.is_complex() else (given, None)
    kind = input_kind(moduli=modulus is not None, coherence=estimate is not None)
    return told(phase, modulus, valid, estimate, looks), valid, kind


def told(phase: Tensor, modulus: Tensor | None, valid: Tensor, estimate: Tensor | None, looks: Any) -> Observed:
    """The images (h, w) that the network gets; phases, moduli and coherences may be anything where nothing is valid."""
    phase = torch.where(valid, phase, 0.0).float()
    phasor = torch.polar(valid.float(), phase)
    modulus = valid.float() if modulus is None else torch.where(valid, modulus, 0.0).float()
    relative = relative_modulus(modulus[None])[0]
    known = coherence_of_phasors(phasor[None], relative[None])[0]
    if estimate is not None:
        known = torch.where(estimate > 0, estimate, known)
    inverse = torch.full_like(phase, 0.0 if looks is None else 1 / looks)
    return Observed(phasor, torch.where(valid, known, 0.0), relative, inverse)


def check_looks(looks: float | int | None) -> None:
    """Raise InputError for a number of looks below 1."""
    if looks is not None and not looks >= 1:
        raise InputError(f"looks: wanted a number of at least 1, got {looks}")


def _coherence(coherence: Any, shape: torch.Size) -> Tensor:
    """Coherence as float32, 0 where it is not known."""
    known = as_tensor("coherence", coherence)
    if known.shape != shape or known.is_complex():
        got = f"{tuple(known.shape)} of {known.dtype}"
        raise InputError(f"coherence: wanted real numbers of shape {tuple(shape)}, got {got}")
    known = known.float().nan_to_num(0.0)
    # estimates of full coherence come out a rounding error above 1
    if bool((known < 0).any()) or bool((known > 1 + 1e-4).any()):
        raise InputError(f"coherence: wanted numbers in [0, 1], got {known.min():g} to {known.max():g}")
    return known.clamp(0, 1)
