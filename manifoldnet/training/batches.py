"""Where a training is in its data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.training.random_states import generators_of, random_states, set_random_states

Batch = Sequence[Tensor]
Data = Iterable[Batch] | Callable[[int], Batch]


def split(data: Callable[[int], Batch], processes: int) -> Callable[[int], Batch]:
    """Each batch in ``processes`` parts of equally many samples, one after the other, which are batches of their own.

    :func:`fit` gives part r to process r, so processes share the batches that one would have to itself, and a step is
    the same however many there are. The number of samples must be a multiple of theirs.
    """

    def part(place: int) -> Batch:
        return [samples[place % processes :: processes] for samples in data(place // processes)]

    return data if processes == 1 else part


class Batches:
    """The batches of ``data`` one after the other, from any place on.

    Args:
        data: one of

            * a function step -> batch, such as one that seeds a generator with the step. Any place is found at once,
              whatever the training did before: the safest.
            * what can be passed over again and again: a DataLoader, a list of batches. The random states at the start
              of a pass are kept, among them those of the loader's and its samplers' own generators, so that a place is
              found by the same pass once more, up to there.
            * an iterator, one pass. A place is found by a fresh iterator, drawn up to there.
        wanted: number of batches that are needed, for the message if the data end early.
        process, processes: of P processes, process r gets the batches r, r + P, ... It draws the others as well, but
            for a function.

    Attributes:
        drawn: number of batches that this process was given.
    """

    def __init__(self, data: Data, wanted: int, process: int = 0, processes: int = 1) -> None:
        self.data = data
        self.wanted = wanted
        self.process = process
        self.processes = processes
        self.drawn = 0
        self._pass: Iterator[Batch] | None = None
        self._in_pass = 0
        self._start: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """What the data are, in words."""
        if not isinstance(self.data, Iterable):
            return "a function"
        if isinstance(self.data, Iterator):
            return "an iterator"
        length = self.pass_length
        return "passes" if length is None else f"passes of {length} batches"

    @property
    def pass_length(self) -> int | None:
        """Number of batches in a pass, where that is known."""
        try:
            return len(self.data)  # type: ignore[arg-type]  # an IterableDataset's loader has no length either
        except TypeError:
            return None

    def draw(self, note: bool = False) -> Batch:
        """The next batch.

        Args:
            note: whether :meth:`state_dict` will be asked for before the next call.

        Raises:
            InputError: if the data have ended.
        """
        if not isinstance(self.data, Iterable):
            batch = self._noted(lambda: self._of_step(self.drawn), note)
        else:
            drawn = [self._next(note and k == self.processes - 1) for k in range(self.processes)]
            batch = drawn[self.process]
        self.drawn += 1
        return batch

    def _of_step(self, step: int) -> Batch:
        assert callable(self.data)
        return self.data(step * self.processes + self.process)

    def _next(self, note: bool) -> Batch:
        while True:
            if self._pass is None:
                self._begin()
            assert self._pass is not None
            try:
                batch = self._noted(self._pass.__next__, note)
            except StopIteration:
                if self._in_pass == 0 or isinstance(self.data, Iterator):
                    raise InputError(f"data: wanted {self.wanted} batches, got {self._in_pass}") from None
                self._pass = None
            else:
                self._in_pass += 1
                return batch

    def _begin(self) -> None:
        assert isinstance(self.data, Iterable)
        own = [generator.get_state() for generator in generators_of(self.data)]
        self._start = {"random": random_states(), "generators": own}
        self._pass, self._in_pass = iter(self.data), 0

    def _noted(self, draw: Callable[[], Batch], note: bool) -> Batch:
        before = random_states() if note else {}
        batch = draw()
        if note:
            self._last = {"random": before, "digest": digest(batch)}
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, after a batch that was noted; for a checkpoint."""
        return {"drawn": self.drawn, "in_pass": self._in_pass, "start": self._start, "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place. The global random states are left in disorder.

        The batch before that place is drawn again, from the random states of the first time. If it is another, so
        would be all others.

        Raises:
            InputError: if it is another, or the data end before that place.
        """
        self.drawn = state["drawn"]
        self._start, self._last = state["start"], state["last"]
        if not isinstance(self.data, Iterable):
            set_random_states(self._last["random"])
            again = self._of_step(self.drawn - 1)
        else:
            again = self._passed_again(state["in_pass"])
        if digest(again) != self._last["digest"]:
            raise InputError(
                f"data: batch {self.drawn} is not the one that the checkpoint was made after; wanted the same data "
                "again: a function of the step, a DataLoader, or a fresh iterator that is seeded as before"
            )

    def _passed_again(self, count: int) -> Batch:
        assert isinstance(self.data, Iterable)
        for generator, own in zip(generators_of(self.data), self._start["generators"], strict=True):
            generator.set_state(own)
        set_random_states(self._start["random"])
        self._pass, self._in_pass = iter(self.data), count
        try:
            for _ in range(count - 1):
                next(self._pass)
            set_random_states(self._last["random"])
            return next(self._pass)
        except StopIteration:
            raise InputError(f"data: wanted the {count} batches up to the checkpoint again, got fewer") from None


def digest(batch: Batch) -> str:
    """A checksum of all numbers, types and shapes of a batch."""
    total = hashlib.sha256()
    for part in batch:
        plain = part.detach().cpu().contiguous()
        total.update(f"{plain.dtype} {tuple(plain.shape)}".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
