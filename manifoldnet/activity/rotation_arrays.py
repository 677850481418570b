"""Rotations written as numbers: unit quaternions in either order, and rotation vectors (exponential maps)."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from manifoldnet.errors import InputError

Content = Literal["wxyz", "xyzw", "rotation vectors", "positions"]
CONTENTS: tuple[Content, ...] = ("wxyz", "xyzw", "rotation vectors", "positions")
WIDTH = {"wxyz": 4, "xyzw": 4, "rotation vectors": 3, "positions": 3}
NORMS = (0.5, 2.0)  # of a quaternion; pybullet's kick has 0.58


def from_quaternions(
    quaternions: Float[np.ndarray, "*batch 4"], order: Literal["wxyz", "xyzw"], where: str = "quaternions"
) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrices of quaternions, whose real part is first ("wxyz") or last ("xyzw").

    They are normalised; q and -q give the same matrix. Raises InputError, which begins with ``where``, when a norm
    is outside 0.5 to 2 or not finite: the numbers are then hardly quaternions.
    """
    flat = np.asarray(quaternions, np.float64).reshape(-1, 4)
    norm = np.linalg.norm(flat, axis=1)
    bad = ~((norm >= NORMS[0]) & (norm <= NORMS[1]))
    if bad.any():
        at = np.unravel_index(int(bad.argmax()), quaternions.shape[:-1])
        raise InputError(
            f"{where}: {bad.sum()} of {bad.size} quaternions have a norm outside {NORMS[0]:g} to {NORMS[1]:g}, the "
            f"first is {norm[bad.argmax()]:.3g} at {', '.join(str(i) for i in at)} (from 0); wanted unit quaternions"
        )
    rotation = Rotation.from_quat(flat, scalar_first=order == "wxyz")
    return rotation.as_matrix().reshape(*quaternions.shape[:-1], 3, 3)


def from_rotation_vectors(
    vectors: Float[np.ndarray, "*batch 3"], where: str = "rotation vectors"
) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrices exp(v) of rotation vectors v in rad (axis times angle).

    Raises InputError, which begins with ``where``, when one is not finite.
    """
    flat = np.asarray(vectors, np.float64).reshape(-1, 3)
    bad = ~np.isfinite(flat).all(axis=1)
    if bad.any():
        raise InputError(
            f"{where}: {bad.sum()} of {bad.size} rotation vectors hold nan or infinity, the first is sample "
            f"{np.unravel_index(int(bad.argmax()), vectors.shape[:-1])[0]} (from 0)"
        )
    return Rotation.from_rotvec(flat).as_matrix().reshape(*vectors.shape[:-1], 3, 3)


def triples(where: str, array: np.ndarray, content: Content) -> np.ndarray:
    """``array`` (N, k, d) or (N, k·d) as float64 (N, k, d), d = 4 for quaternions and 3 for the others.

    Raises InputError, which begins with ``where``, for other shapes and types.
    """
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where}: values of type {array.dtype}, wanted real numbers")
    d = WIDTH[content]
    flat = array.ndim == 2 and array.shape[1] > 0 and array.shape[1] % d == 0
    if not flat and not (array.ndim == 3 and array.shape[2] == d and array.shape[1] > 0):
        raise InputError(f"{where}: shape {array.shape}, wanted (N, k, {d}) or (N, {d}k) for {content}")
    return array.reshape(len(array), -1, d).astype(np.float64)


def rotations_of(where: str, array: np.ndarray, content: Content) -> Float[np.ndarray, "n k 3 3"]:
    """Rotations (N, k, 3, 3) of an array of quaternions or rotation vectors; errors as the functions above."""
    values = triples(where, array, content)
    if content == "rotation vectors":
        return from_rotation_vectors(values, where)
    if content == "positions":
        raise InputError(f"{where}: content: positions are no rotations")
    return from_quaternions(values, content, where)
