"""What a caller of :func:`manifoldnet.activity.io.read` says about a file, and what it means for its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.activity import kinect
from manifoldnet.activity.recording import Recording, checked
from manifoldnet.activity.rotation_arrays import CONTENTS, Content, rotations_of, triples
from manifoldnet.activity.skeleton import Skeleton, filled, relative_rotations
from manifoldnet.activity.units import factor
from manifoldnet.errors import InputError

Triads = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Options:
    """The arguments of ``read``; None where nothing was said."""

    rate: float | None = None
    units: tuple[str, str] | None = None
    content: Content | None = None
    skeleton: str | Path | Skeleton | Triads | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise InputError(f"rate: {self.rate:g}, wanted a positive number of Hz")
        if self.content is not None and self.content not in CONTENTS:
            raise InputError(f"content: {self.content!r}, wanted one of {', '.join(CONTENTS)}")
        if self.units is not None:
            gyroscope, acceleration = self.units
            factor("gyroscope", gyroscope)
            factor("acceleration", acceleration)

    def at_rate(self, rate: float | None) -> Options:
        """The same with another rate."""
        return replace(self, rate=rate)

    def joints(self) -> Skeleton:
        """The skeleton by which positions are read; InputError where none was given."""
        if isinstance(self.skeleton, Skeleton):
            return self.skeleton
        if isinstance(self.skeleton, str):
            return kinect.named(self.skeleton)
        raise InputError(
            f"skeleton: positions need a Skeleton or the name of one ({', '.join(kinect.SKELETONS)}), "
            f"got {self.skeleton!r}"
        )

    def agreed_rate(self, found: float | None, source: str) -> float | None:
        """The given rate, or the one ``found``; InputError when they are more than 5 % apart."""
        if self.rate is not None and found is not None and abs(self.rate / found - 1) > 0.05:
            raise InputError(f"rate: {self.rate:g} Hz, but {source} say {found:.4g} Hz")
        return self.rate or found


def recording_of(
    where: str, name: str, array: np.ndarray, options: Options, rate: float | None, **about: Any
) -> Recording:
    """The recording in one array, whose meaning ``options`` says; ``where`` begins every error."""
    if options.content == "positions":
        return skeleton_recording(where, name, triples(where, array, "positions"), options.joints(), rate, **about)
    if options.content is not None:
        return checked(where, name, rotations_of(where, array, options.content), rate, **about)
    inertial = array.ndim == 2 and array.shape[1] == 6 and array.dtype.kind in "iuf"
    if options.units is None or not inertial:
        return checked(where, name, array, rate, **about)
    factors = np.repeat([factor("gyroscope", options.units[0]), factor("acceleration", options.units[1])], 3)
    samples = array * (factors.astype(array.dtype) if array.dtype.kind == "f" else factors)
    return checked(where, name, samples, rate, declared=True, **about)


def skeleton_recording(
    where: str, name: str, positions: np.ndarray, skeleton: Skeleton, rate: float | None, **about: Any
) -> Recording:
    """Joint positions (N, J, 3) as rotations between neighbouring bones; short gaps are filled."""
    if positions.shape[1] != len(skeleton.joints):
        raise InputError(f"{where}: {positions.shape[1]} joints, the skeleton has {len(skeleton.joints)}")
    try:
        rotations, frame = relative_rotations(
            filled(positions), skeleton.bones, hips=skeleton.hips, shoulders=skeleton.shoulders
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return checked(where, name, rotations, rate, bodies=skeleton.bodies, frame=frame, **about)
