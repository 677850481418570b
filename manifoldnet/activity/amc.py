"""Motion in AMC, of a skeleton in ASF (``asf``): the formats of Acclaim and of the CMU collection.

The rotation M of a bone's degrees of freedom is given in the bone's frame C, so that relative to its parent the bone
turns by L = C M C⁻¹ in coordinates of the room (Lander 1998, Working with motion capture file formats, Game
Developer, January). Degrees of freedom rx ry rz turn about fixed axes, the first first: M = R_z R_y R_x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from manifoldnet.activity.asf import Skeleton, fixed_turns
from manifoldnet.activity.kinematics import global_positions, global_rotations
from manifoldnet.activity.lines import fail, numbers, read_lines


@dataclass(frozen=True)
class Motion:
    """An AMC motion: ``rotations`` (N, J, 3, 3) of the bones relative to their parents; ``root`` (N, 3) positions."""

    skeleton: Skeleton
    rotations: np.ndarray
    root: np.ndarray

    def positions(self) -> Float[np.ndarray, "n joints 3"]:
        """Ends of the bones in the room by forward kinematics; the root's end is the root."""
        attitude = global_rotations(self.rotations, self.skeleton.parents)
        steps = (attitude @ self.skeleton.directions[..., None])[..., 0]
        steps[:, 0] = self.root
        return global_positions(steps, self.skeleton.parents)


def read(path: Path, skeleton: Skeleton) -> Motion:
    """The motion in an AMC file of ``skeleton``. The format holds no sampling rate; CMU's is 120 Hz.

    Raises InputError with the number of the line for unknown bones and keywords, a wrong number of values, frames
    that leave out a bone, and frame numbers that do not increase by 1.
    """
    widths = {name: len(names) for name, names in zip(skeleton.bones, skeleton.freedoms, strict=True) if names}
    in_degrees = skeleton.in_degrees
    frames: list[dict[str, list[float]]] = []
    began = began_as = last = 0
    for number, line in enumerate(read_lines(path), start=1):
        key, *words = line.split() or [""]
        if not key or key.startswith("#"):
            continue
        last = number
        if key.startswith(":"):
            if key.lower() not in (":fully-specified", ":degrees", ":radians"):
                fail(path, number, f"unknown keyword {key!r}, wanted :FULLY-SPECIFIED, :DEGREES or :RADIANS")
            in_degrees = {":degrees": True, ":radians": False}.get(key.lower(), in_degrees)
        elif not words and key.isdecimal():
            if frames:
                _whole(path, began, frames[-1], widths)
                if int(key) != began_as + 1:
                    fail(path, number, f"frame {key} after frame {began_as}")
            frames.append({})
            began, began_as = number, int(key)
        elif not frames:
            fail(path, number, f"{key!r} before the first frame number")
        elif key not in widths:
            known = "has no degree of freedom" if key in skeleton.bones else "is not in the skeleton"
            fail(path, number, f"the bone {key!r} {known}")
        elif key in frames[-1]:
            fail(path, number, f"the bone {key!r} twice in one frame")
        else:
            frames[-1][key] = numbers(path, number, words, widths[key], f"the bone {key!r}")
    if not frames:
        fail(path, max(last, 1), "the file ends without a frame")
    _whole(path, began, frames[-1], widths)
    return _motion(skeleton, frames, in_degrees)


def _whole(path: Path, began: int, frame: dict[str, list[float]], widths: dict[str, int]) -> None:
    missing = [name for name in widths if name not in frame]
    if missing:
        fail(path, began, f"the frame that begins here leaves out {', '.join(missing)}")


def _motion(skeleton: Skeleton, frames: Sequence[dict[str, list[float]]], in_degrees: bool) -> Motion:
    rotations = np.broadcast_to(np.eye(3), (len(frames), len(skeleton.bones), 3, 3)).copy()
    root = np.zeros((len(frames), 3))
    for j, (name, freedoms) in enumerate(zip(skeleton.bones, skeleton.freedoms, strict=True)):
        if not freedoms:
            continue
        values = np.array([frame[name] for frame in frames])
        turns = [i for i, freedom in enumerate(freedoms) if freedom.startswith("r")]
        angles = np.radians(values[:, turns]) if in_degrees else values[:, turns]
        own = fixed_turns(angles, "".join(freedoms[i][1].upper() for i in turns))
        rotations[:, j] = skeleton.axes[j] @ own @ skeleton.axes[j].T
        if j == 0:
            for i, freedom in enumerate(freedoms):
                if freedom.startswith("t"):
                    root[:, "xyz".index(freedom[1])] = values[:, i]
    return Motion(skeleton, rotations, root)
