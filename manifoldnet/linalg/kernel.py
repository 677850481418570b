"""The one switch that decides whether the kernels of small matrices run eagerly or as compiled code."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

MODES = ("auto", "always", "never")
# from here on a pass over memory for every arithmetic operation costs more than one compiled loop, many times over
LARGE_BATCH = 1 << 15
# below, the fixed cost of a hundred operations on short tensors is more than that of LAPACK
MEDIUM_BATCH = 1 << 9

_mode = "auto"
_broken = False
_log = logging.getLogger(__name__)


def set_compilation(mode: str) -> None:
    """Choose for the whole process how functions of 2 x 2 and 3 x 3 matrices run.

    Args:
        mode: ``"auto"`` (the default) compiles a kernel by torch.compile the first time that it meets 32768 matrices
            or more, which takes some ten seconds and is then kept on disk by torch; ``"always"`` does so for every
            batch; ``"never"`` runs eagerly. Where there is no working compiler all three run eagerly, after one
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
    """A function of tensors of shape (rows, N) that returns such tensors, run eagerly or compiled as the switch says.

    Column j of every argument holds the numbers of the j-th matrix, so that each row is contiguous and the
    compiled loop works on whole vector registers. The function is called without recording of gradients.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self._compiled: Callable[..., tuple[Tensor, ...]] | None = None

    def __call__(self, *rows: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling() or not _pays(rows[0].shape[-1]) or _is_transformed():
            return self.function(*rows)
        return self._run_compiled(rows)

    def _run_compiled(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        global _broken
        if self._compiled is None:
            self._compiled = torch.compile(self.function, dynamic=True, fullgraph=True)
        try:
            return self._compiled(*rows)
        except torch._dynamo.exc.TorchDynamoException as error:
            _broken = True
            _log.warning("torch.compile does not work here, kernels run eagerly: %s", str(error).strip().split("\n")[0])
            return self.function(*rows)


def closed_form_pays(batch: tuple[int, ...], x: Tensor) -> bool:
    """Whether so many matrices of x's kind are better served by kernels than by a loop over LAPACK calls."""
    if torch.compiler.is_compiling() or x.is_cuda:
        return True
    return math.prod(batch) >= (1 if _mode == "always" else MEDIUM_BATCH)


def _pays(count: int) -> bool:
    if _broken or _mode == "never":
        return False
    return _mode == "always" or count >= LARGE_BATCH


def _is_transformed() -> bool:
    """Inside torch.func transforms (vmap, grad, jvp) tensors are wrapped and are not handed to the compiler."""
    return torch._C._functorch.peek_interpreter_stack() is not None
