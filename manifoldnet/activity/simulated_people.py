"""People who act in front of a depth camera: joint positions of a stick figure with hands and feet led by targets.

A stand-in for recorded skeletons where none can be shipped: every person has own limbs, speed, manner and hand, stands
somewhere else, turned a little, and the camera's joints jitter and jump. The joints are those of
:data:`JOINTS`; the room is right-handed, z up, the camera looks along -y, lengths are in m.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
JOINTS = ("head", "neck", "spine", *(f"{s} {j}" for s in ("left", "right") for j in (*_ARM, *_LEG)))
BONES = (
    (2, 1), (1, 0), (1, 3), (3, 4), (4, 5), (1, 9), (9, 10), (10, 11),
    (2, 6), (6, 7), (7, 8), (2, 12), (12, 13), (13, 14),
)  # fmt: skip
HIPS, SHOULDERS = (6, 12), (3, 9)
ACTIONS = ("answer", "bow", "clap", "drink", "sit down", "stand up", "tie lace", "watch", "wave")


class Performances(NamedTuple):
    """Recordings with what was done by whom: ``positions`` a list of (N, 15, 3) in m, ``labels`` (n,) among
    :data:`ACTIONS`, ``subjects`` (n,)."""

    positions: list[np.ndarray]
    labels: np.ndarray
    subjects: np.ndarray


class _Person(NamedTuple):
    size: float
    limbs: np.ndarray  # upper arm, forearm, thigh, shank, half shoulders, half hips, trunk, neck to head; m
    speed: float
    manner: dict[str, np.ndarray]  # of each action: (4, 3), by which its targets are moved; m
    swivel: float  # of the elbows; rad
    left_handed: bool


def simulate_people(
    subjects: int = 10, repeats: int = 2, seed: int = 0, jitter: float | int = 0.015, rate: float | int = 12.0
) -> Performances:
    """Every action of every subject ``repeats`` times.

    Args:
        subjects: number of people, two of ten left-handed; one performance of seven is with the other hand.
        repeats: of each action by each person.
        seed: of everything random.
        jitter: standard deviation of each joint's place in m; twice a performance a joint is off by six times as much
            for four frames.
        rate: frames per second; a performance takes about 1 to 3 s.
    """
    rng = np.random.default_rng(seed)
    positions, labels, owners = [], [], []
    for subject in range(subjects):
        person = _person(rng, left_handed=subject % 5 == 4)
        for action in ACTIONS:
            for _ in range(repeats):
                positions.append(_performance(rng, person, action, float(jitter), float(rate)))
                labels.append(action)
                owners.append(subject)
    return Performances(positions, np.array(labels), np.array(owners))


def _person(rng: np.random.Generator, *, left_handed: bool) -> _Person:
    size = float(np.exp(rng.normal(0, 0.07)))
    limbs = np.array([0.28, 0.26, 0.42, 0.42, 0.19, 0.10, 0.50, 0.20])
    return _Person(
        size=size,
        limbs=size * limbs * np.exp(rng.normal(0, 0.05, 8)),
        speed=float(np.exp(rng.normal(0, 0.2))),
        manner={action: rng.normal(0, 0.06, (4, 3)) for action in ACTIONS},
        swivel=float(rng.normal(0.3, 0.25)),
        left_handed=left_handed,
    )


def _performance(
    rng: np.random.Generator, person: _Person, action: str, jitter: float, rate: float
) -> Float[np.ndarray, "n 15 3"]:
    frames = int(np.clip(rate * np.exp(rng.normal(0.6, 0.2)) / person.speed, 10, 40))
    pace = np.exp(rng.normal(0, 0.25, 3))
    u = np.interp(np.linspace(0, 1, frames), np.linspace(0, 1, 4), np.r_[0, pace.cumsum()] / pace.sum())
    offset = person.manner[action] + rng.normal(0, 0.02, (4, 3))
    joints = _posed(person, *_targets(action, u, offset, rng))
    other = rng.random() < 1 / 7
    if person.left_handed != other:
        joints = joints[:, [0, 1, 2, *range(9, 15), *range(3, 9)]] * np.array([-1.0, 1.0, 1.0])
    yaw = rng.normal(0, 0.35)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    noise = rng.normal(0, jitter, joints.shape)
    # the camera loses a joint for some frames and puts it elsewhere
    lost, first = rng.integers(15, size=2), rng.integers(frames, size=2)
    for joint, begin in zip(lost, first, strict=True):
        noise[begin : begin + 4, joint] += rng.normal(0, 6 * jitter, 3)
    return joints @ turn.T + noise + [*rng.normal(0, 0.3, 2), 0]


def _hold(u: np.ndarray, rise: float, fall: float = 1.0) -> np.ndarray:
    """From 0 to 1 until ``rise``, and back to 0 from ``fall`` on, smoothly."""
    up = np.clip(u / rise, 0, 1)
    down = np.clip((1 - u) / max(1 - fall, 1e-9), 0, 1) if fall < 1 else 1.0
    part = np.minimum(up, down)
    return part * part * (3 - 2 * part)


def _targets(
    action: str, u: np.ndarray, offset: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Wrists (n, 2, 3) from the shoulders, left then right; the lean forward (n,) in rad; the pelvis's drop (n,) in m;
    and its way back (n,) in m, all for a right-handed person of size 1, x to the right, y forward, z up."""
    rest = np.array([[-0.05, 0.05, -0.5], [0.05, 0.05, -0.5]]) + offset[2:]
    hands = np.broadcast_to(rest, (len(u), 2, 3)).copy()
    lean, drop, back = np.zeros_like(u), np.zeros_like(u), np.zeros_like(u)

    def right_to(place: tuple[float, float, float], hold: np.ndarray) -> None:
        hands[:, 1] += hold[:, None] * (np.array(place) + offset[1] - rest[1])

    def left_to(place: tuple[float, float, float], hold: np.ndarray) -> None:
        hands[:, 0] += hold[:, None] * (np.array(place) + offset[0] - rest[0])

    if action == "answer":
        right_to((-0.08, 0.06, 0.18), _hold(u, 0.4))
    elif action == "drink":
        right_to((-0.16, 0.18, 0.12), _hold(u, 0.35, 0.75))
    elif action == "watch":
        left_to((0.18, 0.28, -0.08), _hold(u, 0.35, 0.75))
    elif action == "wave":
        hold = _hold(u, 0.3, 0.85)
        right_to((0.18, 0.12, 0.30), hold)
        swings = rng.uniform(1.5, 3)
        hands[:, 1, 0] += 0.14 * hold * np.sin(2 * np.pi * swings * u)
    elif action == "clap":
        hold = _hold(u, 0.25, 0.85)
        right_to((-0.10, 0.35, -0.12), hold)
        left_to((0.10, 0.35, -0.12), hold)
        apart = 0.12 * hold * np.cos(2 * np.pi * rng.uniform(1.5, 3) * u)
        hands[..., 0] += apart[:, None] * [-1, 1]
    elif action == "bow":
        lean = (0.9 + offset[0, 0] * 4) * _hold(u, 0.45, 0.6)
    elif action == "tie lace":
        hold = _hold(u, 0.4)
        lean, drop = 1.2 * hold, (0.35 + offset[0, 2]) * hold
        right_to((-0.12, 0.35, -0.40), hold)
        left_to((0.12, 0.35, -0.40), hold)
    else:
        seated = _hold(u, 0.8) if action == "sit down" else 1 - _hold(u, 0.8)
        lean = (0.5 + offset[0, 0] * 3) * 4 * seated * (1 - seated)
        drop, back = (0.40 + offset[0, 2]) * seated, 0.35 * seated
        right_to((0.0, 0.30, -0.35), seated)
        left_to((0.0, 0.30, -0.35), seated)
    return hands, lean, drop, back


def _posed(
    person: _Person, hands: np.ndarray, lean: np.ndarray, drop: np.ndarray, back: np.ndarray
) -> Float[np.ndarray, "n 15 3"]:
    """Joints of the figure, standing at the origin."""
    n = len(lean)
    upper, fore, thigh, shank, shoulder, hip, trunk, neck = person.limbs
    pelvis = np.stack([np.zeros(n), -person.size * back, (thigh + shank) * 0.99 - person.size * drop], -1)
    # hips move back as a person leans
    pelvis[:, 1] -= 0.2 * person.size * np.sin(lean)
    upward = np.stack([np.zeros(n), np.sin(lean), np.cos(lean)], -1)
    forward = np.stack([np.zeros(n), np.cos(lean), -np.sin(lean)], -1)
    right = np.array([1.0, 0.0, 0.0])
    chest = pelvis + trunk * upward
    joints = np.empty((n, 15, 3))
    joints[:, 0] = chest + neck * (upward + 0.1 * forward)
    joints[:, 1], joints[:, 2] = chest, pelvis + 0.5 * trunk * upward
    for k, side in enumerate((-1, 1)):
        first = 3 + 6 * k
        top = chest - 0.05 * upward + side * shoulder * right
        hand = hands[:, k, :1] * right + hands[:, k, 1:2] * forward + hands[:, k, 2:] * upward
        outwards = side * np.sin(person.swivel) * right - np.cos(person.swivel) * upward
        joints[:, first], (joints[:, first + 1], joints[:, first + 2]) = (
            top,
            _limb(top, top + person.size * hand, upper, fore, outwards),
        )
        socket = pelvis + side * hip * right
        foot = np.broadcast_to([side * 1.2 * hip, 0.02, 0.0], (n, 3))
        joints[:, first + 3] = socket
        joints[:, first + 4], joints[:, first + 5] = _limb(socket, foot, thigh, shank, forward)
    return joints


def _limb(
    top: np.ndarray, target: np.ndarray, first: float, second: float, towards: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and end joints (n, 3) of two bones from ``top`` to ``target``, or near it, bent ``towards``."""
    way = target - top
    reach = np.linalg.norm(way, axis=-1, keepdims=True)
    axis = way / reach
    reach = reach.clip(abs(first - second) + 1e-3, first + second - 1e-3)
    along = (first**2 - second**2 + reach**2) / (2 * reach)
    aside = towards - (towards * axis).sum(-1, keepdims=True) * axis
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    return top + along * axis + np.sqrt((first**2 - along**2).clip(0)) * aside, top + reach * axis
