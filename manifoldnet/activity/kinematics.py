"""Trees of joints: rotations about axes, products of them, and forward kinematics."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def about_axis(angle: Float[np.ndarray, "*batch"], axis: int) -> Float[np.ndarray, "*batch 3 3"]:
    """Right-handed rotations by ``angle`` in rad about the coordinate axis 0 (x), 1 (y) or 2 (z)."""
    angle = np.asarray(angle)
    out = np.zeros((*angle.shape, 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., j, i] = np.sin(angle)
    out[..., i, j] = -out[..., j, i]
    return out


def product_of_turns(angles: Float[np.ndarray, "*batch turns"], axes: Sequence[int]) -> Float[np.ndarray, "*batch 3 3"]:
    """R = R_1 R_2 ... of the turns by ``angles`` (rad) about ``axes`` in this order; identity without a turn.

    Each turn is about the axes that the ones before it have moved; read backwards, about fixed axes.
    """
    out = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for number, axis in enumerate(axes):
        out = out @ about_axis(angles[..., number], axis)
    return out


def global_rotations(
    rotations: Float[np.ndarray, "n joints 3 3"], parents: Sequence[int]
) -> Float[np.ndarray, "n joints 3 3"]:
    """Attitudes in the room of joints whose ``rotations`` are relative to their parents.

    ``parents`` (joints,) come before their children; -1 is the room.
    """
    out = np.array(rotations)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            out[:, joint] = out[:, parent] @ rotations[:, joint]
    return out


def global_positions(steps: Float[np.ndarray, "n joints 3"], parents: Sequence[int]) -> Float[np.ndarray, "n joints 3"]:
    """Sums of ``steps``, vectors in the room from parent to joint, along the tree; ``parents`` as above."""
    out = np.array(steps)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            out[:, joint] += out[:, parent]
    return out
