"""The one switch that decides whether the kernels of small matrices run eagerly or as compiled code."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor

from manifoldnet.linalg.rows import Entries

MODES = ("auto", "always", "never")
# from here on a pass over memory for every arithmetic operation costs more than one compiled loop, many times over
LARGE_BATCH = 1 << 15
# below, the fixed cost of a hundred operations on short tensors is more than that of LAPACK
MEDIUM_BATCH = 1 << 9

_mode = "auto"
_broken = False
_number = count()
_log = logging.getLogger(__name__)


def set_compilation(mode: str) -> None:
    """Choose for the whole process how functions of 2 x 2 and 3 x 3 matrices run.

    Args:
        mode: ``"auto"`` (the default) compiles a kernel by torch.compile the first time that it meets 32768 matrices
            or more, which takes ten to thirty seconds and is then kept on disk by torch; ``"always"`` does so for two
            or more; ``"never"`` runs eagerly. Where there is no working compiler all three run eagerly, after one
            warning in the log. Compiled and eager values may differ in the last digit.

    Raises:
        ValueError: for another mode.
    """
    global _mode
    if mode not in MODES:
        raise ValueError(f"mode: wanted one of {', '.join(map(repr, MODES))}, got {mode!r}")
    _mode = mode


@contextmanager
def compilation(mode: str) -> Iterator[None]:
    """:func:`set_compilation` for the body of a ``with`` statement."""
    before = _mode
    set_compilation(mode)
    try:
        yield
    finally:
        set_compilation(before)


class Kernel:
    """A function of the entries of points to those of others, run eagerly or compiled as the switch says.

    Args:
        function: takes and returns points as sequences of their entries, each of shape (N,). It is called without
            recording of gradients.

    The kernel takes points as rows of entries, of shape (entries, N), so that the compiled loop loads whole vector
    registers, and returns them with shape (N, entries): a loop that stores them there needs no second pass.
    """

    def __init__(self, function: Callable[..., tuple[Entries, ...]]) -> None:
        self.function = function
        self._compiled: Callable[..., tuple[Tensor, ...]] | None = None

    def __call__(self, *rows: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling() or not _pays(rows[0].shape[-1]) or is_transformed():
            return self._points(*rows)
        return self._run_compiled(rows)

    def _points(self, *rows: Tensor) -> tuple[Tensor, ...]:
        images = self.function(*(points.unbind(0) for points in rows))
        return tuple(torch.stack(list(entries), -1) for entries in images)

    def _run_compiled(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        global _broken
        if self._compiled is None:
            self._compiled = torch.compile(self._alone(), fullgraph=True)
        for points in rows:
            # any N, but not dynamic=True: that also makes a run-time argument of every constant of a series
            torch._dynamo.maybe_mark_dynamic(points, 1)
        try:
            return self._compiled(*rows)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            return self._points(*rows)
        except torch._dynamo.exc.TorchDynamoException as error:
            _broken = True
            _log.warning("torch.compile does not work here, kernels run eagerly: %s", str(error).strip().split("\n")[0])
            return self._points(*rows)

    def _alone(self) -> Callable[..., tuple[Tensor, ...]]:
        """The function with a code object of its own, because torch counts what it compiled by code object."""

        def points(*rows: Tensor) -> tuple[Tensor, ...]:
            return self._points(*rows)

        points.__code__ = points.__code__.replace(co_name=f"kernel_{next(_number)}")
        return points


def closed_form_pays(batch: tuple[int, ...], x: Tensor) -> bool:
    """Whether so many matrices of x's kind are better served by kernels than by a loop over LAPACK calls."""
    if torch.compiler.is_compiling() or x.is_cuda:
        return True
    return math.prod(batch) >= (1 if _mode == "always" else MEDIUM_BATCH)


def _pays(matrices: int) -> bool:
    if _broken or _mode == "never":
        return False
    # torch.compile makes other code for one
    return matrices >= (2 if _mode == "always" else LARGE_BATCH)


def is_transformed() -> bool:
    """Inside torch.func transforms (vmap, grad, jvp) tensors are wrapped and are not handed to the compiler."""
    return torch._C._functorch.peek_interpreter_stack() is not None
