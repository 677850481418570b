"""Windows of a wrist that moves in one of three ways, at any phase, at several speeds, on either side of the body."""

import numpy as np
from scipy.spatial.transform import Rotation

from manifoldnet.activity.windows import mirror

WAYS = ("circle", "swing", "twist")


def windows(count, seed, rate=50.0, seconds=2.0):
    """Windows (count, t, 6), labels, who moved, and sides."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    samples, labels, who, sides = [], [], [], []
    for i in range(count):
        subject, way, side = i // 6, WAYS[i % 3], i % 2
        manner = np.random.default_rng(1000 + subject)
        phase = 2 * np.pi * (t * manner.uniform(0.8, 1.4) + rng.random())
        wave, other = np.sin(phase), np.cos(phase)
        angles = {
            "circle": np.stack([wave, 0.8 * other, 0 * t], -1),
            "swing": np.stack([wave, 0.3 * wave + 0.2 * np.sin(2 * phase), 0 * t], -1),
            "twist": np.stack([0.2 * other, 0 * t, wave], -1),
        }[way] * manner.uniform(0.7, 1.1)
        attitude = Rotation.from_rotvec(angles)
        turning = (attitude[:-1].inv() * attitude[1:]).as_rotvec() * rate
        pull = attitude.inv().apply([0.3, 0.2, 0.93])
        window = np.concatenate([np.concatenate([turning, turning[-1:]]), pull], -1)
        window += rng.normal(0, 0.05, window.shape)
        samples.append(mirror(window) if side else window)
        labels.append(way)
        who.append(subject)
        sides.append(side)
    return np.stack(samples), np.array(labels), np.array(who), np.array(sides)
