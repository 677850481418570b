"""From the files that packages carry to plain npz files which load without pickle.

Both converters write inertial recordings in the one form that the package uses everywhere: ``samples`` holds
all recordings end to end, shape (total, 6), gyroscope x y z in rad/s then acceleration x y z in g;
``lengths`` (recordings,) says where one ends and the next begins; ``rate`` is in Hz.
"""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manifoldnet.data.unpickle import TABLES, columns, restricted_load

GYROSCOPE_FIRST = [3, 4, 5, 0, 1, 2]  # both sources put acceleration first


def _packed(recordings: Sequence[np.ndarray]) -> dict[str, Any]:
    return {
        "samples": np.concatenate([recording[:, GYROSCOPE_FIRST] for recording in recordings]),
        "lengths": np.array([len(recording) for recording in recordings]),
        "rate": np.array(50.0),
    }


def watch(content: bytes, target: Path) -> None:
    """seglearn's ``watch_dataset.npy`` (a pickled dict) to ``target``: a label, subject, side a recording."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    data = restricted_load(stream.read()).item()
    np.savez_compressed(
        target,
        **_packed(data["X"]),
        labels=np.array(data["y_labels"])[data["y"]],
        subjects=data["subject"].astype(np.int64),
        sides=data["side"].astype(np.int64),
    )


def hapt(content: bytes, target: Path) -> None:
    """The HAPT tables (a gzipped pickle, dict of subject to tables) to ``target``, one label a sample."""
    subjects = restricted_load(gzip.decompress(content), TABLES)
    tables = [(subject, columns(frame)) for subject, frames in subjects.items() for frame in frames]
    channels = ["acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z"]
    np.savez_compressed(
        target,
        **_packed([np.stack([table[channel] for channel in channels], axis=-1) for _, table in tables]),
        sample_labels=np.concatenate([table["label"] for _, table in tables]).astype(np.int64),
        subjects=np.array([subject for subject, _ in tables]),
    )
