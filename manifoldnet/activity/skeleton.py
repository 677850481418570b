"""From joint positions, as depth cameras give them, to rotations between neighbouring bones: curves on SO(3)^k.

A person has a frame of its own: x to the right, y forward, z up, from hips and shoulders. In it, every bone is turned
out of its neighbour by the smallest rotation that does so, which leaves the twist, that positions do not show, at 0
(relative geometry of body parts: Vemulapalli, Arrate, Chellappa 2014, CVPR, eq. 5; 2016, CVIU 145:155). So the
rotations do not depend on where the person stands, which way it faces, or how tall it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from manifoldnet.errors import InputError

Bones = Sequence[tuple[int, int]]
REFLECTION = np.array([-1.0, 1.0, 1.0])  # diagonal of M: right becomes left
SHORTEST_BONE = 1e-6  # of the mean bone; shorter ones have no direction
STRAIGHT_BACK = 1e-6  # |u + v| of unit vectors below which every perpendicular axis will do


@dataclass(frozen=True)
class Skeleton:
    """What is connected with what: ``joints`` (J,) names; ``bones`` (B,) pairs of their numbers, outwards from the
    trunk; ``hips`` and ``shoulders``, the numbers of the left and the right one."""

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    hips: tuple[int, int]
    shoulders: tuple[int, int]

    @property
    def bodies(self) -> tuple[str, ...]:
        """Names of the bones (B,), as in "left elbow - left wrist"."""
        return tuple(f"{self.joints[a]} - {self.joints[b]}" for a, b in self.bones)

    @property
    def joint_mirror(self) -> np.ndarray:
        """(J,) the joint that takes each one's place in the mirror, by the words left and right in their names.

        Raises InputError when a name has no counterpart.
        """
        swap = {"left": "right", "right": "left"}
        other = [" ".join(swap.get(word, word) for word in name.split()) for name in self.joints]
        lost = [name for name in other if name not in self.joints]
        if lost:
            raise InputError(f"joints: {lost[0]!r} is wanted in the mirror, and there is no such joint")
        return np.array([self.joints.index(name) for name in other])

    @property
    def bone_mirror(self) -> np.ndarray:
        """(B,) the bone that takes each one's place in the mirror; InputError when there is none."""
        swap = self.joint_mirror
        images = [(int(swap[a]), int(swap[b])) for a, b in self.bones]
        lost = [pair for pair in images if pair not in self.bones]
        if lost:
            raise InputError(f"bones: {lost[0]} is wanted in the mirror, and there is no such bone")
        return np.array([self.bones.index(pair) for pair in images])


def outward(bones: Bones, root: int) -> tuple[tuple[int, int], ...]:
    """The ``bones``, pairs of joints in any direction and order, directed away from ``root``, near ones first.

    Raises InputError when they are not a tree that holds ``root``.
    """
    left = list(bones)
    reached, out = {root}, []
    while left:
        near = [pair for pair in left if len(reached.intersection(pair)) == 1]
        if not near:
            raise InputError(f"bones: {left[0]} is not connected with joint {root}, or closes a loop")
        for pair in near:
            a, b = pair if pair[0] in reached else pair[::-1]
            if b in reached:
                raise InputError(f"bones: {pair} closes a loop")
            out.append((a, b))
            reached.add(b)
            left.remove(pair)
    return tuple(out)


def filled(positions: Float[np.ndarray, "n joints 3"], longest: int = 15) -> Float[np.ndarray, "n joints 3"]:
    """Positions without gaps: a missing joint is interpolated linearly in time, and held before and after.

    Missing is nan, or exactly (0, 0, 0) in some frames but not in all of them, as cameras write joints that they do
    not see. Raises InputError when a joint is missing in more than ``longest`` successive frames.
    """
    zero = (positions == 0).all(axis=2)
    missing = ~np.isfinite(positions).all(axis=2) | (zero & ~zero.all(axis=0))
    if not missing.any():
        return positions
    # frames since the joint was last seen
    frames = np.arange(1, len(positions) + 1)[:, None]
    run = frames - np.maximum.accumulate(np.where(missing, 0, frames), axis=0)
    if (run > longest).any():
        frame, joint = np.unravel_index(int((run > longest).argmax()), run.shape)
        raise InputError(
            f"positions: joint {joint} is missing in more than {longest} successive frames, from frame "
            f"{frame - longest} (from 0); cut the recording there or leave the joint out"
        )
    out = np.array(positions, np.float64)
    for joint in np.flatnonzero(missing.any(axis=0)):
        gone = missing[:, joint]
        seen = np.flatnonzero(~gone)
        for axis in range(3):
            out[gone, joint, axis] = np.interp(np.flatnonzero(gone), seen, out[seen, joint, axis])
    return out


def smallest_rotation(
    u: Float[np.ndarray, "*batch 3"], v: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3 3"]:
    """The rotation by the smallest angle that takes the unit vector u to the unit vector v.

    It is the product of the reflections in the planes perpendicular to u and then to u + v. Where v = -u it is the
    half turn about the axis perpendicular to u that is nearest to perpendicular to the first coordinate axis
    furthest from u: one of many, but always the same one.
    """
    between = u + v
    length = np.linalg.norm(between, axis=-1, keepdims=True)
    furthest = np.eye(3)[np.abs(u).argmin(axis=-1)]
    aside = furthest - (furthest * u).sum(axis=-1, keepdims=True) * u
    back = length < STRAIGHT_BACK
    middle = np.where(back, aside, between)
    middle = middle / np.linalg.norm(middle, axis=-1, keepdims=True)
    return _reflection(middle) @ _reflection(u)


def _reflection(normal: np.ndarray) -> np.ndarray:
    return np.eye(3) - 2 * normal[..., :, None] * normal[..., None, :]


def relative_rotations(
    positions: Float[np.ndarray, "n joints 3"], bones: Bones, *, hips: tuple[int, int], shoulders: tuple[int, int]
) -> tuple[Float[np.ndarray, "n bones 3 3"], Float[np.ndarray, "n 3 3"]]:
    """Rotations (N, B, 3, 3) of each bone out of its neighbour, and the person's frame (N, 3, 3) in the room.

    ``positions`` (N, J, 3) in any unit, right-handed; ``bones`` (B,) pairs of joints, outwards (:func:`outward`);
    ``hips`` and ``shoulders`` the numbers of the left and right joint. The neighbour of a bone is the one that ends
    where it begins; for the first bones it is the person's z axis, pointing down for bones that end in a hip. The
    frame's columns are the person's right, front and up. A bone of length 0 keeps the direction that it has in the
    frame nearest in time.

    Raises InputError when a position is not finite (:func:`filled` fills gaps), when bones name joints that are
    not there or two end in one joint, and when a bone has length 0, or hips and shoulders no frame, all the time.
    """
    _check(positions, bones, (*hips, *shoulders))
    positions = np.asarray(positions, np.float64)
    start, end = np.array(bones).T
    vectors = positions[:, end] - positions[:, start]
    least = SHORTEST_BONE * float(np.linalg.norm(vectors, axis=-1).mean())
    frame = _person(positions, hips, shoulders, least)
    inside = np.einsum("nij,nbi->nbj", frame, vectors)
    directions = _directions(inside, least, [f"the bone {tuple(bone)}" for bone in bones])
    neighbour = {b: number for number, (_, b) in enumerate(bones)}
    down = np.array([0.0, 0.0, -1.0])
    before = np.stack(
        [
            directions[:, neighbour[a]]
            if a in neighbour
            else np.broadcast_to(down if b in hips else -down, (len(frame), 3))
            for a, b in bones
        ],
        axis=1,
    )
    return smallest_rotation(before, directions), frame


def _check(positions: np.ndarray, bones: Bones, trunk: Sequence[int]) -> None:
    bad = ~np.isfinite(positions).all(axis=2)
    if bad.any():
        frame, joint = np.argwhere(bad)[0]
        raise InputError(
            f"positions: {bad.sum()} joint positions are nan or infinite, the first is frame {frame}, joint {joint} "
            "(from 0); fill the gaps with filled()"
        )
    joints = positions.shape[1]
    for number in (*(number for bone in bones for number in bone), *trunk):
        if not 0 <= number < joints:
            raise InputError(f"bones, hips, shoulders: joint {number}, wanted 0 to {joints - 1}")
    ends = [end for _, end in bones]
    twice = [end for end in ends if ends.count(end) > 1]
    if not bones or twice or any(a == b for a, b in bones):
        problem = f"two bones end in joint {twice[0]}" if twice else "no bone, or one from a joint to itself"
        raise InputError(f"bones: {problem}; wanted pairs of joints that lead outwards, one to each joint")


def _person(positions: np.ndarray, hips: tuple[int, int], shoulders: tuple[int, int], least: float) -> np.ndarray:
    """The frames (N, 3, 3) with columns right, front, up."""
    low, high = positions[:, list(hips)], positions[:, list(shoulders)]
    across = low[:, 1] - low[:, 0] + high[:, 1] - high[:, 0]
    up = _directions((high.mean(axis=1) - low.mean(axis=1))[:, None], least, ["the trunk"])[:, 0]
    level = across - (across * up).sum(axis=1, keepdims=True) * up
    right = _directions(level[:, None], least, ["the line through hips and shoulders"])[:, 0]
    # at another frame's "right", up may lean a little
    right = right - (right * up).sum(axis=1, keepdims=True) * up
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(up, right), up], axis=-1)


def _directions(vectors: np.ndarray, least: float, names: Sequence[str]) -> np.ndarray:
    """Unit vectors (N, B, 3) along ``vectors``; those no longer than ``least`` are taken from the nearest frame."""
    length = np.linalg.norm(vectors, axis=-1)
    valid = length > least
    if not valid.any(axis=0).all():
        raise InputError(f"positions: {names[int(valid.any(axis=0).argmin())]} has length 0 in all frames")
    out = vectors / np.where(valid, length, 1)[..., None]
    if valid.all():
        return out
    n = len(valid)
    frame = np.arange(n)[:, None]
    earlier = np.maximum.accumulate(np.where(valid, frame, -n), axis=0)
    later = np.minimum.accumulate(np.where(valid, frame, 2 * n)[::-1], axis=0)[::-1]
    nearest = np.where(frame - earlier <= later - frame, earlier, later)
    return np.take_along_axis(out, nearest[..., None], axis=0)


def mirrored(positions: Float[np.ndarray, "n joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "n joints 3"]:
    """The person in a mirror at x = 0 of the room: x changes its sign, and left and right joints change places."""
    return positions[:, skeleton.joint_mirror] * REFLECTION.astype(positions.dtype)


def mirrored_rotations(
    rotations: Float[np.ndarray, "n bones 3 3"], skeleton: Skeleton
) -> Float[np.ndarray, "n bones 3 3"]:
    """What :func:`relative_rotations` gives for the mirrored person: M R M of the bone that comes in its place."""
    sign = (REFLECTION[:, None] * REFLECTION).astype(rotations.dtype)
    return rotations[:, skeleton.bone_mirror] * sign
