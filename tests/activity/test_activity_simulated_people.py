"""The stick figure: a body of fixed size that stands on the ground and does what it is said to do."""

import numpy as np

from manifoldnet.activity.simulated_people import ACTIONS, BONES, JOINTS, simulate_people

STILL = simulate_people(subjects=3, repeats=1, jitter=0.0)


def test_everybody_does_everything():
    assert len(STILL.positions) == 3 * len(ACTIONS)
    for subject in range(3):
        assert sorted(STILL.labels[STILL.subjects == subject]) == sorted(ACTIONS)
    assert {p.shape[1:] for p in STILL.positions} == {(15, 3)}
    assert min(map(len, STILL.positions)) >= 10


def test_arms_and_legs_keep_their_lengths():
    limbs = [(a, b) for a, b in BONES if a > 2]
    assert len(limbs) == 8
    for positions in STILL.positions:
        for a, b in limbs:
            length = np.linalg.norm(positions[:, b] - positions[:, a], axis=-1)
            assert np.ptp(length) < 1e-9
            assert 0.15 < length[0] < 0.6


def test_persons_differ_in_size_and_stand_on_the_ground():
    heads = [p[0, 0, 2] for p, y in zip(STILL.positions, STILL.labels, strict=True) if y == "bow"]
    assert np.ptp(heads) > 0.01
    feet = [JOINTS.index("left ankle"), JOINTS.index("right ankle")]
    standing = [p for p, y in zip(STILL.positions, STILL.labels, strict=True) if y in ("bow", "wave")]
    assert all(np.abs(p[:, feet, 2]).max() < 0.2 for p in standing)


def test_hands_do_what_the_action_says():
    wrists, head = [JOINTS.index("left wrist"), JOINTS.index("right wrist")], JOINTS.index("head")
    for positions, action in zip(STILL.positions, STILL.labels, strict=True):
        near = np.linalg.norm(positions[:, wrists] - positions[:, [head]], axis=-1).min()
        if action in ("answer", "drink"):
            assert near < 0.45
        if action == "sit down":
            assert positions[-1, 0, 2] < positions[0, 0, 2] - 0.2


def test_seeds_repeat():
    again = simulate_people(subjects=3, repeats=1, jitter=0.0)
    other = simulate_people(subjects=3, repeats=1, jitter=0.0, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(STILL.positions, again.positions, strict=True))
    assert not np.array_equal(STILL.positions[0][0], other.positions[0][0])
