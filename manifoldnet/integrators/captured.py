"""The leaf tensors that a field reaches, to which a derivative written by hand must hand gradients out."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

_OPAQUE = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.dtype, torch.device)


class Captured(NamedTuple):
    """Leaves that require a gradient, each once.

    Attributes:
        derived: whether any of them was found behind a tensor that was computed from it outside of the field; the
            graph between the two is then walked at every step and must be kept.
    """

    leaves: tuple[Tensor, ...]
    derived: bool


def captured_leaves(field: Any) -> Captured:
    """The leaves that a field holds: in the parameters of modules, attributes of objects, containers, arguments of
    partial functions, closures and the globals that functions name.

    Not found are tensors in slots, in class attributes, and in globals that methods name.

    Raises:
        ValueError: for a lazy parameter that has no shape yet.
    """
    seen: dict[int, Any] = {}
    leaves: dict[int, Tensor] = {}
    derived = False
    waiting = [field]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _OPAQUE) or id(item) in seen:
            continue
        seen[id(item)] = item
        if not isinstance(item, Tensor):
            waiting.extend(_parts(item))
        elif isinstance(item, UninitializedTensorMixin):
            raise ValueError("field: a lazy parameter has no shape yet; wanted one evaluation of the field before")
        elif item.requires_grad and item.grad_fn is None:
            leaves[id(item)] = item
        elif item.requires_grad:
            derived = True
            leaves |= {id(leaf): leaf for leaf in _leaves_behind(item)}
    return Captured(tuple(leaves.values()), derived)


def _leaves_behind(computed: Tensor) -> Iterator[Tensor]:
    """The leaves from which a tensor was computed."""
    waiting, seen = [computed.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting.extend(following for following, _ in node.next_functions)


def _parts(item: Any) -> list[Any]:
    """What an object that is no tensor is made of."""
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, (list, tuple, set, frozenset)):
        return list(item)
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, types.FunctionType):
        return _held_by(item)
    return list(vars(item).values()) if hasattr(item, "__dict__") else []


def _held_by(function: types.FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    known = function.__globals__
    named = [known[name] for name in _names(function.__code__) if name in known]
    # functions of other modules are libraries, which hold no tensors of a field
    named = [v for v in named if not isinstance(v, types.FunctionType) or v.__module__ == function.__module__]
    return [*cells, *named, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _names(code: types.CodeType) -> set[str]:
    """Names of globals in the code and in the functions written inside it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False
