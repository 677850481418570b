"""Fit the shipped classifier of exercises to the watch recordings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.data import load_watch

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = WEIGHTS / "default.safetensors"
CONFIG = WEIGHTS / "default.json"


@dataclass(frozen=True)
class Recordings:
    """Curves (N, 6) with label and subject."""

    samples: list[np.ndarray]
    labels: np.ndarray
    subjects: np.ndarray

    def of(self, subjects: list[int] | list[str], *, others: bool = False) -> Recordings:
        """The recordings of these subjects, or of all others."""
        chosen = np.flatnonzero(np.isin(self.subjects, subjects) != others)
        return Recordings([self.samples[i] for i in chosen], self.labels[chosen], self.subjects[chosen])


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def watch() -> Recordings:
    """The 140 watch recordings, fetched on first use."""
    data = load_watch()
    return Recordings(data.samples, data.labels, data.subjects)


def train(config: dict[str, Any], *, device: str = "cpu", progress: str | None = None) -> ActivityClassifier:
    """A classifier fitted as ``config`` says.

    Args:
        config: ``held_out`` subjects, never seen in the fit, and ``classifier``, the arguments of
            :class:`ActivityClassifier`.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.
    """
    data = watch().of(config["held_out"], others=True)
    classifier = ActivityClassifier(**config["classifier"])
    classifier.fit(data.samples, data.labels, data.subjects, device=device, progress=progress)
    classifier.config_ = config
    return classifier
