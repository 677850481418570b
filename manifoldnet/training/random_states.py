"""The states of all generators of random numbers that a training may draw from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader


def random_states() -> dict[str, Any]:
    """The global states of python, numpy, torch and, where CUDA is in use, of its devices; for a checkpoint."""
    version, words, spare = random.getstate()
    bits = np.random.get_state(legacy=False)  # noqa: NPY002 (the global state is what is wanted)
    return {
        "python": (version, torch.tensor(words), spare),
        "numpy": (torch.tensor(bits["state"]["key"].tolist()), bits["state"]["pos"], bits["has_gauss"], bits["gauss"]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the states of :func:`random_states` back; those of CUDA devices only where there are as many."""
    version, words, spare = states["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    key, place, has_gauss, gauss = states["numpy"]
    np.random.set_state(("MT19937", np.array(key.tolist(), np.uint32), place, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def generators_of(data: object) -> list[torch.Generator]:
    """The generators that a DataLoader and its samplers own; none of anything else."""
    if not isinstance(data, DataLoader):
        return []
    sampler, batch_sampler = data.sampler, data.batch_sampler
    owners = [data, sampler, batch_sampler, getattr(batch_sampler, "sampler", None)]
    own = [getattr(owner, "generator", None) for owner in owners]
    return list({id(g): g for g in own if isinstance(g, torch.Generator)}.values())


@contextmanager
def undisturbed(data: object) -> Iterator[None]:
    """Random numbers drawn in the body, the generators of the loader ``data`` included, are drawn again after it."""
    states, own = random_states(), [(g, g.get_state()) for g in generators_of(data)]
    try:
        yield
    finally:
        set_random_states(states)
        for generator, state in own:
            generator.set_state(state)
