"""Reading recordings of movement: inertial samples or rotations, each with its rate.

An inertial recording is ``(N, 6)``: gyroscope x y z in rad/s, then acceleration x y z in g. A recording
of rotations is ``(N, k, 3, 3)``: the orientations of k bodies. :func:`read` lists the formats.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from manifoldnet.activity import amc, asf, bvh, c3d, deepmimic, numpy_arrays, parquet, table, ts
from manifoldnet.activity.options import Options, Triads, skeleton_recording
from manifoldnet.activity.recording import SHORTEST, Recording, checked, warn_of_aliasing
from manifoldnet.activity.rotation_arrays import known
from manifoldnet.activity.skeleton import Skeleton, filled
from manifoldnet.errors import InputError
from manifoldnet.files import existing

__all__ = ["SHORTEST", "Recording", "read"]


def read(
    path: str | Path,
    rate: float | int | None = None,
    *,
    units: tuple[str, str] | None = None,
    content: str | None = None,
    skeleton: str | Path | Skeleton | Triads | None = None,
) -> list[Recording]:
    """All recordings in a file.

    Inertial samples, joint rotations and joint positions:

    * ``.csv``, ``.txt``, ``.tsv``, ``.parquet``: one recording. Columns are found by name, in any order and case:
      gx gy gz, wx wy wz or gyr_x, gyro_x, gyroscope_x ... and ax ay az, acc_x, accel_x, acceleration_x ...; a unit
      may follow in brackets (rad/s, deg/s, dps; g, mg, m/s^2). Or rotations of bodies: quaternions qw qx qy qz, with
      the name of the body before them where there are several (hip_qw ...), or rotation vectors rv_x rv_y rv_z in
      rad. A column t, time or timestamp gives the rate: in s, ms, µs or ns, whichever makes 1 to 1000 Hz. Columns
      label, subject and side (constant) are kept. Text without a header has six columns, gyroscope first.
    * ``.npy``: (N, 6), (N, k, 3, 3), or (N, 3, 3), which is k = 1.
    * ``.npz``: one such array a recording, under its name; and rate, units, content, skeleton if wanted. Or all
      recordings end to end as ``samples`` with their ``lengths``, and one of ``labels``, ``subjects``, ``sides``
      each, as ``manifoldnet data get watch`` writes it.
    * ``.ts``: the UEA text format, for BasicMotions only (10 Hz, acceleration first, in m/s² without
      gravity; it is turned to g). The format does not name its channels, so other problems are refused.

    Motion capture, always one recording of rotations, the root's in the room and the others' in their parent:

    * ``.bvh``: all joints that have rotation channels.
    * ``.amc``: all bones that can turn; its ``.asf`` is given as ``skeleton``, or lies beside it under the same name
      (the part before the first underscore, as in 01.asf and 01_02.amc, will do). CMU's rate is 120 Hz.
    * ``.json``, ``.txt``: a motion of DeepMimic's humanoid, as pybullet carries them.
    * ``.c3d``: markers. ``skeleton`` says which: a dict from each body's name to three or more markers on it, or a
      :class:`Skeleton` whose joints are markers.

    Args:
        path: the file.
        rate: in Hz, where the file does not give it.
        units: of gyroscope and acceleration, such as ("deg/s", "m/s^2"), where no header gives them.
        content: what the numbers of an array or table are, if not the above: quaternions, "wxyz" or "xyzw", or
            "rotation vectors" in rad, (N, k, 4 or 3) or flat; or joint "positions" (N, J, 3), which become rotations
            between neighbouring bones of ``skeleton`` (:func:`manifoldnet.activity.skeleton.relative_rotations`).
        skeleton: for positions a :class:`Skeleton` or the name of one in ``kinect.SKELETONS``, such as "kinect-20";
            for ``.amc`` and ``.c3d`` see there.

    Warns (UserWarning) when samples turn by more than π/2 from one to the next, and when uneven times had to be
    interpolated.

    Raises InputError when the file is missing, empty or none of these, with the number of the line in text formats;
    when values are not finite, rotations not orthogonal, a recording is shorter than 16 samples or 4 poses; when the
    numbers look like degrees/s or m/s² and no unit was given; and for arguments that the format has no use for.
    """
    path = existing(path, "recording")
    if path.suffix.lower() not in _READERS:
        raise InputError(f"{path}: unknown format {path.suffix!r}, wanted one of {', '.join(_READERS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    reader, used = _READERS[path.suffix.lower()]
    kind = None if content is None else known(content)
    options = Options(None if rate is None else float(rate), units, kind, skeleton)
    for name in ("units", "content", "skeleton"):
        if getattr(options, name) is not None and name not in used:
            raise InputError(f"{name}: not used for {path.suffix} files, got {getattr(options, name)!r}")
    recordings = reader(path, options)
    if not recordings:
        raise InputError(f"{path}: holds no recording")
    warn_of_aliasing(str(path), recordings)
    return recordings


def _read_table(path: Path, options: Options) -> list[Recording]:
    with path.open("rb") as stream:
        if stream.read(64).lstrip().startswith(b"{"):
            return _read_deepmimic(path, options)
    return [table.read(path, options)]


def _read_deepmimic(path: Path, options: Options) -> list[Recording]:
    rotations, found = deepmimic.read(path)
    rate = options.agreed_rate(found, f"the frames of {path}")
    return [checked(str(path), path.stem, rotations, rate, bodies=deepmimic.BODIES)]


def _read_bvh(path: Path, options: Options) -> list[Recording]:
    motion = bvh.read(path)
    rate = options.agreed_rate(motion.rate, f"the frames of {path}")
    bodies = tuple(name for name, turns in zip(motion.joints, motion.turning, strict=True) if turns)
    return [checked(str(path), path.stem, motion.rotations[:, motion.turning], rate, bodies=bodies)]


def _read_amc(path: Path, options: Options) -> list[Recording]:
    if options.skeleton is not None and not isinstance(options.skeleton, str | Path):
        raise InputError(f"skeleton: wanted an .asf file for {path}, got {options.skeleton!r}")
    if options.skeleton is None:
        beside = [path.with_name(f"{stem}.asf") for stem in (path.stem, path.stem.partition("_")[0])]
        source = next((file for file in beside if file.is_file()), None)
        if source is None:
            raise InputError(f"{path}: its skeleton {beside[0].name} is not beside it; give the .asf file as skeleton")
    else:
        source = existing(options.skeleton, "skeleton")
    bones = asf.read(source)
    motion = amc.read(path, bones)
    bodies = tuple(name for name, turns in zip(bones.bones, bones.turning, strict=True) if turns)
    return [checked(str(path), path.stem, motion.rotations[:, bones.turning], options.rate, bodies=bodies)]


def _read_c3d(path: Path, options: Options) -> list[Recording]:
    markers = c3d.read(path)
    rate = options.agreed_rate(markers.rate, f"the frames of {path}")
    if isinstance(options.skeleton, Skeleton):
        positions = markers.of(options.skeleton.joints, str(path))
        return [skeleton_recording(str(path), path.stem, positions, options.skeleton, rate)]
    if not isinstance(options.skeleton, Mapping):
        raise InputError(
            f"skeleton: C3D holds positions only; wanted a dict of bodies with three or more markers each, or a "
            f"Skeleton of markers, got {options.skeleton!r}; the markers in {path} are {', '.join(markers.labels)}"
        )
    rotations = []
    for body, names in options.skeleton.items():
        try:
            rotations.append(c3d.rigid_bodies({body: filled(markers.of(names, body))}))
        except InputError as error:
            raise InputError(f"{path}: {body}: {str(error).removeprefix(f'{body}: ')}") from None
    if not rotations:
        raise InputError("skeleton: a dict without a body")
    return [checked(str(path), path.stem, np.concatenate(rotations, axis=1), rate, bodies=tuple(options.skeleton))]


Reader = Callable[[Path, Options], list[Recording]]
_ALL = ("units", "content", "skeleton")
_READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    ".csv": (_read_table, _ALL),
    ".txt": (_read_table, _ALL),
    ".tsv": (_read_table, _ALL),
    ".parquet": (lambda path, options: [parquet.read(path, options)], _ALL),
    ".npy": (numpy_arrays.read_npy, _ALL),
    ".npz": (numpy_arrays.read_npz, _ALL),
    ".ts": (lambda path, options: ts.read(path, options.rate), ()),
    ".bvh": (_read_bvh, ()),
    ".amc": (_read_amc, ("skeleton",)),
    ".json": (_read_deepmimic, ()),
    ".c3d": (_read_c3d, ("skeleton",)),
}
