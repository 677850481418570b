"""Fit the shipped classifier of exercises to the watch recordings."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.data import load_watch

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = WEIGHTS / "default.safetensors"
CONFIG = WEIGHTS / "default.json"


@dataclass(frozen=True)
class Recordings:
    """Curves (N, 6) with label, subject and, where it is known, the side."""

    samples: list[np.ndarray]
    labels: np.ndarray
    subjects: np.ndarray
    sides: np.ndarray | None = None

    def of(self, subjects: list[int] | list[str], *, others: bool = False) -> Recordings:
        """The recordings of these subjects, or of all others."""
        chosen = np.flatnonzero(np.isin(self.subjects, subjects) != others)
        sides = None if self.sides is None else self.sides[chosen]
        return Recordings([self.samples[i] for i in chosen], self.labels[chosen], self.subjects[chosen], sides)


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def watch() -> Recordings:
    """The 140 watch recordings, fetched on first use."""
    data = load_watch()
    return Recordings(data.samples, data.labels, data.subjects, data.sides)


def train(config: dict[str, Any], *, device: str = "cpu", progress: str | None = None) -> ActivityClassifier:
    """A classifier fitted as ``config`` says, without being told the sides.

    Args:
        config: ``held_out`` subjects, never seen in the fit, and ``classifier``, the arguments of
            :class:`ActivityClassifier`.
        device: "cpu" or "cuda".
        progress: what a terminal shows while it works, or None.
    """
    data = watch().of(config["held_out"], others=True)
    classifier = ActivityClassifier(**{**config["classifier"], "device": device})
    with nullcontext() if progress is None else Console(stderr=True).status(progress):
        classifier.fit(data.samples, data.labels, data.subjects)
    classifier.set_params(device="cpu")
    classifier.config_ = config
    return classifier
