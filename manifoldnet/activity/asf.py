"""Skeletons in ASF, to which AMC holds the motion (``amc``): the formats of Acclaim and of the CMU collection.

A bone's frame C stands in the room as ``axis`` says, in the pose in which all angles are 0 (Lander 1998, Working
with motion capture file formats, Game Developer, January). An order such as XYZ names turns about fixed axes, x
first: C = R_z R_y R_x.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifoldnet.activity.kinematics import product_of_turns
from manifoldnet.activity.lines import fail, numbers, read_lines

SECTIONS = ("version", "name", "units", "documentation", "root", "bonedata", "hierarchy", "skin")
FREEDOMS = ("rx", "ry", "rz", "tx", "ty", "tz", "l")
_ORDER = re.compile(r"[XYZ]{1,3}")


@dataclass(frozen=True)
class Skeleton:
    """An ASF skeleton.

    ``bones`` (J,) names, "root" first and parents before children; ``parents`` (J,), -1 for the root; ``directions``
    (J, 3), from a bone's beginning to its end in the room when all angles are 0, as long as the bone; ``axes``
    (J, 3, 3), the frames C; ``freedoms`` (J,), names of the values that AMC gives for each bone, in their order;
    ``in_degrees``, whether its angles are in degrees.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    directions: np.ndarray
    axes: np.ndarray
    freedoms: tuple[tuple[str, ...], ...]
    in_degrees: bool

    @property
    def turning(self) -> np.ndarray:
        """(J,) bool: which bones have an angle; the others never turn against their parent."""
        return np.array([any(freedom in FREEDOMS[:3] for freedom in names) for names in self.freedoms])


@dataclass
class _Bone:
    name: str
    direction: list[float]
    length: float | None = None
    angles: list[float] | None = None
    order: str = "XYZ"
    freedoms: tuple[str, ...] = ()


def read(path: Path) -> Skeleton:
    """The skeleton in an ASF file.

    Raises InputError with the number of the line for unknown keywords, missing or surplus values, bones that are
    incomplete, unknown or twice there, and a hierarchy that does not reach every bone once.
    """
    sections = _sections(path, read_lines(path))
    degrees = _in_degrees(path, sections["units"])
    bones = {"root": _root(path, sections["root"])}
    for bone, line in _bones(path, sections["bonedata"]):
        if bone.name in bones:
            fail(path, line, f"a second bone {bone.name!r}")
        bones[bone.name] = bone
    parents = _parents(path, sections["hierarchy"], list(bones))
    order = list(parents)
    chosen = [bones[name] for name in order]
    to_radians = np.pi / 180 if degrees else 1.0
    return Skeleton(
        bones=tuple(order),
        parents=tuple(-1 if parents[name] is None else order.index(str(parents[name])) for name in order),
        directions=np.array([np.multiply(bone.direction, bone.length or 0.0) for bone in chosen]),
        axes=np.stack([fixed_turns(np.multiply(bone.angles or [0] * 3, to_radians), bone.order) for bone in chosen]),
        freedoms=tuple(bone.freedoms for bone in chosen),
        in_degrees=degrees,
    )


def fixed_turns(angles: np.ndarray, order: str) -> np.ndarray:
    """Rotations (..., 3, 3), the product of turns (..., turns) about fixed axes, the first of ``order`` first."""
    return product_of_turns(angles[..., ::-1], ["XYZ".index(axis) for axis in order[::-1]])


def _sections(path: Path, lines: list[str]) -> dict[str, list[tuple[int, list[str]]]]:
    """The numbered lines, as words, of every section."""
    found: dict[str, list[tuple[int, list[str]]]] = {}
    current: list[tuple[int, list[str]]] | None = None
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith(":"):
            name = line[1:].split()[0].lower() if line[1:].split() else ""
            if name not in SECTIONS:
                fail(path, number, f"unknown keyword {line.split()[0]!r}, wanted one of :{', :'.join(SECTIONS)}")
            if name in found:
                fail(path, number, f"a second section :{name}")
            current = found[name] = []
        elif current is None:
            fail(path, number, f"{line!r} before the first section")
        else:
            current.append((number, line.split()))
    for name in ("units", "root", "bonedata", "hierarchy"):
        if name not in found:
            fail(path, max(len(lines), 1), f"the file ends without a section :{name}")
    return found


def _in_degrees(path: Path, lines: Sequence[tuple[int, list[str]]]) -> bool:
    for number, words in lines:
        if words[0].lower() == "angle":
            if len(words) != 2 or words[1].lower() not in ("deg", "rad"):
                fail(path, number, f"angle {' '.join(words[1:])!r}, wanted deg or rad")
            return words[1].lower() == "deg"
    return True


def _order(path: Path, line: int, words: Sequence[str]) -> str:
    if len(words) != 1 or not _ORDER.fullmatch(words[0].upper()) or len(set(words[0])) != len(words[0]):
        fail(path, line, f"axis order {' '.join(words)!r}, wanted one such as XYZ")
    return words[0].upper()


def _freedoms(path: Path, line: int, words: Sequence[str]) -> tuple[str, ...]:
    names = tuple(word.lower() for word in words)
    if any(name not in FREEDOMS for name in names) or len(set(names)) != len(names):
        fail(path, line, f"degrees of freedom {' '.join(words)!r}, wanted some of {', '.join(FREEDOMS)}, each once")
    return names


def _root(path: Path, lines: Sequence[tuple[int, list[str]]]) -> _Bone:
    root = _Bone("root", [0.0, 0.0, 0.0])
    for number, (key, *words) in lines:
        match key.lower():
            case "order":
                root.freedoms = _freedoms(path, number, words)
            case "axis":
                root.order = _order(path, number, words)
            case "orientation":
                root.angles = numbers(path, number, words, 3, "orientation")
            case "position":
                numbers(path, number, words, 3, "position")
            case _:
                fail(path, number, f"unknown keyword {key!r}, wanted order, axis, position or orientation")
    return root


def _bones(path: Path, lines: Sequence[tuple[int, list[str]]]) -> list[tuple[_Bone, int]]:
    """The bones between begin and end, each with the number of its last line."""
    bones: list[tuple[_Bone, int]] = []
    bone: _Bone | None = None
    for number, (key, *words) in lines:
        key = key.lower()
        if (key == "begin") != (bone is None):
            fail(path, number, f"{key!r} where {'begin' if bone is None else 'end'} was wanted")
        if bone is None:
            bone = _Bone("", [])
        elif key == "end":
            for part, missing in (
                ("name", not bone.name),
                ("direction", not bone.direction),
                ("length", bone.length is None),
                ("axis", bone.angles is None),
            ):
                if missing:
                    fail(path, number, f"the bone {bone.name!r} ends without {part}")
            bones.append((bone, number))
            bone = None
        else:
            _describe(path, number, bone, key, words)
    if bone is not None:
        fail(path, lines[-1][0], f"the bone {bone.name!r} is not closed with end")
    return bones


def _describe(path: Path, number: int, bone: _Bone, key: str, words: list[str]) -> None:
    """Take in one line about a bone."""
    match key:
        case "name":
            if len(words) != 1:
                fail(path, number, f"{len(words)} words for name, wanted 1")
            bone.name = words[0]
        case "direction":
            bone.direction = numbers(path, number, words, 3, "direction")
        case "length":
            bone.length = numbers(path, number, words, 1, "length")[0]
        case "axis":
            bone.angles = numbers(path, number, words[:3], 3, "axis")
            bone.order = _order(path, number, words[3:])
            if len(bone.order) != 3:
                fail(path, number, f"axis order {bone.order!r}, wanted three axes")
        case "dof":
            bone.freedoms = _freedoms(path, number, words)
        case "id" | "limits" | "bodymass" | "cofmass":
            pass
        case _:
            if not key.startswith("("):  # limits of further degrees of freedom
                fail(path, number, f"unknown keyword {key!r} in a bone")


def _parents(path: Path, lines: Sequence[tuple[int, list[str]]], bones: Sequence[str]) -> dict[str, str | None]:
    """The parent of every bone, parents before children."""
    parents: dict[str, str | None] = {"root": None}
    if not lines or [word.lower() for word in lines[0][1]] != ["begin"]:
        fail(path, lines[0][0] if lines else 1, "the hierarchy does not start with begin")
    for number, (parent, *children) in lines[1:]:
        if parent.lower() == "end":
            break
        for name in (parent, *children):
            if name not in bones:
                fail(path, number, f"unknown bone {name!r}")
        if parent not in parents:
            fail(path, number, f"the bone {parent!r} has children before it has a parent")
        for child in children:
            if child in parents:
                fail(path, number, f"a second parent for the bone {child!r}")
            parents[child] = parent
    else:
        fail(path, lines[-1][0], "the hierarchy is not closed with end")
    lost = [name for name in bones if name not in parents]
    if lost:
        fail(path, lines[-1][0], f"the hierarchy does not reach the bone {lost[0]!r}")
    return parents
