"""What the denoiser of interferograms is trained on: simulated patches, drawn when they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from manifoldnet.insar.calibration import input_kind
from manifoldnet.insar.draws import Draws
from manifoldnet.insar.moduli import coherence_around, coherence_of_phasors, relative_modulus
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe, wrapped_gaussian

#: phasor, coherence, relative modulus, 1 / looks (0: not known), true phase; (batch, patch, patch) each
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

SCENES_AT_ONCE = 16
WINDOWS = (3, 5, 7, 9)  # of coherence estimated over neighbours
MOST_LOOKS = 20.0
CALIBRATION_WINDOW = 5
UNSEEN_LOOKS = (2, 9)  # and all within 1 / 2 of them, so that evaluations can show what a network does there


class SimulatedPatches:
    """Batches of patches of a pool of scenes, a function of the step: each is drawn anew from a seed of its own.

    Nine samples in ten or so show speckle of 1 to 20 looks but for :data:`UNSEEN_LOOKS`, the others wrapped normal
    noise of the phase. Coherence is shown as people have it: estimated from the looks of each pixel, from the
    neighbours as well, known, or not at all, where an estimate from phases alone takes its place, as it does in use.
    The number of looks and the moduli are shown or withheld independently of that; some patches have holes.

    Args:
        config: ``seed``; ``scenes`` of ``scene_size`` pixels; ``batch`` patches of side ``patch``, flipped and
            transposed at random.
        device: where to draw; the draws of one device are not those of another.
        distribution: of the scenes (:func:`manifoldnet.insar.simulate.scenes`).
    """

    def __init__(self, config: dict[str, Any], device: str = "cpu", distribution: str = "training") -> None:
        self.config, self.device = config, device
        generator, left = torch.Generator(device).manual_seed(config["seed"]), config["scenes"]
        drawn = []
        while left > 0:
            count = min(left, SCENES_AT_ONCE)
            drawn.append(scenes(count, config["scene_size"], generator=generator, distribution=distribution))
            left -= count
        self.scenes = [torch.cat(images) for images in zip(*drawn, strict=True)]

    def __call__(self, step: int) -> Batch:
        config, n, side = self.config, self.config["batch"], self.config["patch"]
        generator = torch.Generator(self.device).manual_seed((config["seed"] << 32) + step + 1)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=self.device)

        which = (uniform(n, 1, 1) * config["scenes"]).long()
        corners = (uniform(2, n, 1, 1) * (config["scene_size"] - side + 1)).long()
        window = torch.arange(side, device=self.device)
        window = torch.where(uniform(2, n, 1) < 0.5, window, side - 1 - window)
        rows, columns = corners[0] + window[0][:, :, None], corners[1] + window[1][:, None, :]
        swap = uniform(n, 1, 1) < 0.5
        rows, columns = torch.where(swap, rows.mT, rows), torch.where(swap, columns.mT, columns)
        return seen(*(image[which, rows, columns] for image in self.scenes), generator=generator)


def told_apart(config: dict[str, Any], step: int, device: str = "cpu") -> Iterator[tuple[int, Batch]]:
    """Mixed scenes of ``scene_size``, or half of it at odd steps, at 1 to 20 looks, in all kinds of input.

    What a network says of its own errors is measured on these. Where a coherence is known it is the estimate from the
    looks, and from 5 by 5 neighbours where there is a single one. Kinds are those of ``calibration.input_kind``.
    """
    n, side = config["batch"], config["scene_size"] // (1 + step % 2)
    generator = torch.Generator(device).manual_seed(((config["seed"] + 1) << 32) + step)
    phase, coherence, _ = scenes(n, side, generator=generator, distribution="mixed")
    looks = _looks(Draws(n, generator))
    z, estimate = observe(phase, coherence, looks, generator)
    around = coherence_around(z, z.abs() / estimate.clamp_min(1e-6), CALIBRATION_WINDOW)
    estimate = torch.where(looks < 1.01, around, estimate)
    phasor, one = z.sgn(), torch.ones_like(phase)
    for modulus in (one, relative_modulus(z.abs())):
        for known in (coherence_of_phasors(phasor, modulus), estimate):
            kind = input_kind(moduli=modulus is not one, coherence=known is estimate)
            yield kind, (phasor, known, modulus, torch.zeros_like(one), phase)


def seen(phase: Tensor, coherence: Tensor, amplitude: Tensor, *, generator: torch.Generator) -> Batch:
    """A batch of what is known of patches (b, h, w) with noise at random."""

    draw = Draws(len(phase), generator)
    coherence = torch.where(draw.chance(0.15, 1, 1), draw.uniform(0.1, 0.95, 1, 1), coherence)
    looks = _looks(draw)
    speckled, estimate = observe(phase, coherence, looks, generator, amplitude)
    sigma = torch.exp(draw.uniform(math.log(0.1), math.log(1.3), 1, 1))
    jittered = wrapped_gaussian(phase, sigma, generator)

    is_normal = draw.chance(0.15, 1, 1)
    z = torch.where(is_normal, jittered, speckled)
    power = torch.where(is_normal, torch.ones_like(phase), speckled.abs() / estimate.clamp_min(1e-6))
    estimate = torch.where(is_normal, torch.exp(-0.5 * sigma.square()).expand_as(phase), estimate)
    coherence = torch.where(is_normal, estimate, coherence)
    neighbours = torch.stack([coherence_around(z, power, size) for size in WINDOWS])
    size = (draw.uniform(0, 1, 1, 1) * len(WINDOWS)).long()
    around = torch.gather(neighbours, 0, size.expand_as(phase)[None])[0]
    kind = draw.uniform(0, 1, 1, 1)
    shown = torch.where(kind < 0.35, around, torch.where(kind < 0.45, coherence, torch.zeros_like(coherence)))
    # an estimate from one look says nothing; some give it all the same
    by_pixel = (kind > 0.7) & ((looks > 1.01) | is_normal | (kind > 0.95))
    shown = torch.where(by_pixel, estimate, shown)

    known_looks = torch.where(draw.chance(0.5, 1, 1) & ~is_normal, 1 / looks, torch.zeros_like(looks))
    modulus = torch.where(draw.chance(0.4, 1, 1), relative_modulus(z.abs()), torch.ones_like(phase))
    phasor = torch.polar(torch.ones_like(phase), z.angle())
    hole = draw.chance(0.1, 1, 1) & _rectangle(phase, draw)
    phasor, modulus = torch.where(hole, 0, phasor), torch.where(hole, 1, modulus)
    shown = torch.where(shown > 0, shown, coherence_of_phasors(phasor, modulus))
    return phasor, torch.where(hole, 0, shown), modulus, known_looks.expand_as(phase), phase


def _looks(draw: Draws) -> Tensor:
    """Numbers of looks for each of the images; two in five have a single one."""
    looks = torch.exp(draw.uniform(0.0, math.log(MOST_LOOKS), 1, 1))
    looks = torch.where(draw.chance(0.6, 1, 1), looks.round(), looks)
    for unseen in UNSEEN_LOOKS:
        looks = torch.where((looks - unseen).abs() <= 0.5, torch.full_like(looks, unseen + 1), looks)
    return torch.where(draw.chance(0.4, 1, 1), torch.ones_like(looks), looks)


def _rectangle(like: Tensor, draw: Draws) -> Tensor:
    height, width = like.shape[-2:]
    rows = torch.arange(height, device=like.device)[:, None] / height
    columns = torch.arange(width, device=like.device) / width
    inside_rows = (rows - draw.uniform(0, 1, 1, 1)).abs() < draw.uniform(0.02, 0.25, 1, 1)
    return inside_rows & ((columns - draw.uniform(0, 1, 1, 1)).abs() < draw.uniform(0.02, 0.25, 1, 1))
