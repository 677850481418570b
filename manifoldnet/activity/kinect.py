"""Skeletons of the Kinect and of data sets recorded with it.

Joint orders: Kinect SDK 1.8 (NUI_SKELETON_POSITION_INDEX) and 2.0 (JointType); the data sets' own descriptions for
Florence 3D Actions (Seidenari et al. 2013) and MSR Action3D (Li, Zhang, Liu 2010), whose files do not name their
joints: which of a pair is left there does not matter to a classifier, since a swap mirrors all recordings alike.
"""

from collections.abc import Sequence
from itertools import pairwise

from manifoldnet.activity.skeleton import Skeleton, outward
from manifoldnet.errors import InputError

_TRUNK_20 = [
    ("hip center", "spine"), ("spine", "shoulder center"), ("shoulder center", "head"),
    ("shoulder center", "left shoulder"), ("shoulder center", "right shoulder"),
    ("hip center", "left hip"), ("hip center", "right hip"),
]  # fmt: skip


def _limbs(*chains: Sequence[str]) -> list[tuple[str, str]]:
    """The bones of each chain of joints, on both sides."""
    return [
        (f"{side} {a}", f"{side} {b}") for side in ("left", "right") for chain in chains for a, b in pairwise(chain)
    ]


def _side(side: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{side} {name}" for name in names)


def _skeleton(joints: tuple[str, ...], bones: list[tuple[str, str]], root: str) -> Skeleton:
    number = {name: i for i, name in enumerate(joints)}
    return Skeleton(
        joints=joints,
        bones=outward([(number[a], number[b]) for a, b in bones], number[root]),
        hips=(number["left hip"], number["right hip"]),
        shoulders=(number["left shoulder"], number["right shoulder"]),
    )


_ARM, _LEG = ("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")
_LIMBS = (*_side("left", *_ARM), *_side("right", *_ARM), *_side("left", *_LEG), *_side("right", *_LEG))

_SHORT_LIMBS = (
    *_side("left", *_ARM[:3]),
    *_side("right", *_ARM[:3]),
    *_side("left", *_LEG[:3]),
    *_side("right", *_LEG[:3]),
)
_TIPS = ("left hand tip", "left thumb", "right hand tip", "right thumb")
_TRUNK_MSR = ("left shoulder", "right shoulder", "shoulder center", "spine", "left hip", "right hip", "hip center")
_PAIRS = tuple(f"{side} {name}" for name in (*_ARM[1:], *_LEG[1:]) for side in ("left", "right"))

KINECT_20 = _skeleton(
    ("hip center", "spine", "shoulder center", "head", *_LIMBS), [*_TRUNK_20, *_limbs(_ARM, _LEG)], "hip center"
)
KINECT_25 = _skeleton(
    ("spine base", "spine mid", "neck", "head", *_LIMBS, "spine shoulder", *_TIPS),
    [
        *(("spine base", "spine mid"), ("spine mid", "spine shoulder"), ("spine shoulder", "neck"), ("neck", "head")),
        *(("spine shoulder", "left shoulder"), ("spine shoulder", "right shoulder")),
        *(("spine base", "left hip"), ("spine base", "right hip")),
        *_limbs(_ARM, _LEG, ("hand", "hand tip"), ("wrist", "thumb")),
    ],
    "spine base",
)
FLORENCE_15 = _skeleton(
    ("head", "neck", "spine", *_SHORT_LIMBS),
    [
        *(("spine", "neck"), ("neck", "head"), ("neck", "left shoulder"), ("neck", "right shoulder")),
        *(("spine", "left hip"), ("spine", "right hip")),
        *_limbs(_ARM[:3], _LEG[:3]),
    ],
    "spine",
)
MSR_20 = _skeleton((*_TRUNK_MSR, *_PAIRS, "head"), [*_TRUNK_20, *_limbs(_ARM, _LEG)], "hip center")
SKELETONS = {"kinect-20": KINECT_20, "kinect-25": KINECT_25, "florence-15": FLORENCE_15, "msr-20": MSR_20}


def named(name: str) -> Skeleton:
    """A skeleton of :data:`SKELETONS`; "kinect-20" is the one of UTKinect too. InputError for other names."""
    try:
        return SKELETONS[name]
    except KeyError:
        raise InputError(f"skeleton: no skeleton {name!r}; there are {', '.join(SKELETONS)}") from None
