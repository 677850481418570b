"""b-values and gradient directions in text files: found, read and checked."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from manifoldnet.errors import InputError
from manifoldnet.files import existing

B0_THRESHOLD = 60.0
B_MAX = 1500.0
FEWEST = 6  # directions that determine a tensor
SLACK = 1.01
LENGTH_TOLERANCE = 0.02


def is_b0(bvals: Float[np.ndarray, "n"]) -> np.ndarray:
    """Which volumes count as not diffusion weighted: b <= 60 s/mm^2."""
    return bvals <= B0_THRESHOLD


def direction_count(bvals: Float[np.ndarray, "n"]) -> int:
    """How many volumes are diffusion weighted."""
    return int((~is_b0(bvals)).sum())


def tensor_model_holds(bvals: Float[np.ndarray, "n"]) -> np.ndarray:
    """Which volumes the tensor model may use: b <= 1500 s/mm^2, above which the decay is not
    mono-exponential.

    1 % slack, because a nominal 1500 is stored as 1495 in one volume and 1505 in the next.
    """
    return bvals <= SLACK * B_MAX


def beside(path: Path) -> tuple[Path | None, Path | None]:
    """The .bval(s) and .bvec(s) files with the stem of the image ``path``, None for what is not there."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")

    def find(suffixes: tuple[str, ...]) -> Path | None:
        candidates = [path.with_name(stem + suffix) for suffix in suffixes]
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    return find((".bval", ".bvals")), find((".bvec", ".bvecs"))


def _numbers(path: Path, what: str) -> np.ndarray:
    try:
        rows = [
            [float(word) for word in line.replace(",", " ").split()]
            for line in path.read_text().splitlines()
            if line.strip()
        ]
        return np.array(rows, dtype=np.float64)
    except ValueError as error:  # UnicodeDecodeError, a word that is no number, rows of unequal length
        raise InputError(f"{what}: {path} is not a table of numbers ({error})") from None


def read_gradients(
    bvals: str | Path, bvecs: str | Path, volumes: int
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
    """b-values (s/mm^2) and unit directions (0 where b <= 60), one for each of ``volumes`` volumes.

    bvecs may be 3 x n (FSL) or n x 3. Directions are taken as they are written, in the frame of the file;
    lengths within 2 % of 1 are normalised.

    Raises:
        InputError: a file is missing or no table of numbers, a count does not match, a b-value is negative, a
            direction is not a unit vector, or :func:`check_fittable` refuses.
    """
    b = _numbers(existing(bvals, "b-value file"), "bvals").ravel()
    if len(b) != volumes:
        raise InputError(f"bvals: {bvals} holds {len(b)} values, wanted {volumes}, one for each volume")
    v = _numbers(existing(bvecs, "gradient direction file"), "bvecs")
    if v.shape == (3, volumes):
        v = v.T
    if v.shape != (volumes, 3):
        raise InputError(f"bvecs: {bvecs} is a table of shape {v.shape}, wanted (3, {volumes}) or ({volumes}, 3)")
    return check_fittable(b, v)


def check_fittable(
    bvals: Float[np.ndarray, "n"], bvecs: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
    """The gradient table with unit directions, if the volumes with b <= 1500 s/mm^2 determine a tensor.

    Raises:
        InputError: negative or non-finite b-values, directions that are not unit vectors where b > 60
            s/mm^2, no volume with b <= 60, or fewer than six different directions.
    """
    if not (np.isfinite(bvals).all() and (bvals >= 0).all()):
        raise InputError(f"bvals: wanted finite values >= 0, got {bvals[~(bvals >= 0)][:3]}")
    b0, used = is_b0(bvals), tensor_model_holds(bvals)
    length = np.linalg.norm(np.where(b0[:, None], 1.0, bvecs), axis=1)
    wrong = ~b0 & ~(np.abs(length - 1) <= LENGTH_TOLERANCE)
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"bvecs: wanted unit vectors where b > {B0_THRESHOLD:g}, got length {length[first]:.3g} in volume"
            f" {first} (b = {bvals[first]:g}); {wrong.sum()} such volumes"
        )
    if not b0.any():
        raise InputError(f"bvals: no volume with b <= {B0_THRESHOLD:g} s/mm^2, smallest is {bvals.min():g}")
    directions = np.where(b0[:, None], 0.0, bvecs / length[:, None])
    x, y, z = directions[used & ~b0].T
    quadratic = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], 1)
    rank = np.linalg.matrix_rank(quadratic, tol=1e-3) if len(quadratic) else 0
    if rank < FEWEST:
        raise InputError(
            f"bvecs: a tensor needs {FEWEST} independent directions with {B0_THRESHOLD:g} < b <= {B_MAX:g} s/mm^2,"
            f" got {rank} from {len(quadratic)} volumes"
        )
    return bvals, directions
