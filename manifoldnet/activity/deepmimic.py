"""Motions of a humanoid in the JSON of DeepMimic, which pybullet carries.

A frame is 44 numbers: its duration in s, the root's position (3), then for each joint a quaternion (real part first)
or, for knees and elbows, one angle in rad about the joint's z axis (Peng, Abbeel, Levine, van de Panne 2018,
DeepMimic, ACM Transactions on Graphics 37(4):143).
"""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from manifoldnet.activity.kinematics import about_axis
from manifoldnet.activity.rotation_arrays import from_quaternions
from manifoldnet.errors import InputError

BODIES = (
    "root", "chest", "neck", "right hip", "right knee", "right ankle", "right shoulder", "right elbow",
    "left hip", "left knee", "left ankle", "left shoulder", "left elbow",
)  # fmt: skip
HINGES = ("right knee", "right elbow", "left knee", "left elbow")
WIDTH = 44


def read(path: Path) -> tuple[Float[np.ndarray, "n bodies 3 3"], float]:
    """Rotations (N, 13, 3, 3) of :data:`BODIES`, the root's in the room and the others' in their parent; rate in Hz.

    Quaternions are normalised: some clips are off by 0.4. The last frame's duration, which writers leave at 0, is
    not used. Raises InputError for other JSON (with the line where it ends being JSON), frames of another width,
    and durations that are not positive or differ.
    """
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["Frames"]
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: not JSON ({error.msg})") from None
    except (KeyError, TypeError):
        raise InputError(f"{path}: JSON without Frames; wanted a motion of DeepMimic's humanoid") from None
    try:
        values = np.array(frames, dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{path}: Frames are not lists of numbers of equal length") from None
    if values.ndim != 2 or values.shape[1] != WIDTH or len(values) < 2:
        raise InputError(f"{path}: Frames of shape {values.shape}, wanted (at least 2, {WIDTH}) for a humanoid")
    steps = values[:-1, 0]
    if not (steps > 0).all() or np.ptp(steps) > 0.01 * steps[0]:
        raise InputError(f"{path}: frames last {steps.min():g} to {steps.max():g} s, wanted one positive duration")
    parts, first = [], 4
    for body in BODIES:
        if body in HINGES:
            parts.append(about_axis(values[:, first], 2))
        else:
            parts.append(from_quaternions(values[:, first : first + 4], "wxyz", f"{path}: {body}"))
        first += 1 if body in HINGES else 4
    return np.stack(parts, axis=1), float(1 / steps.mean())
