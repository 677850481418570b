"""Reading old pickles of plain arrays without letting them call anything else.

A pickle is a program: it may name any function of any module and have it called. The unpickler here resolves
only the names of an exact list, which cover numpy arrays and, as inert records, the pandas tables of a decade
ago. Every other name ends the reading. (A list of *modules* would not do: ``builtins`` holds ``eval``.)
"""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np


class Record:
    """Stands in for a class that is not trusted: keeps its constructor's arguments and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Frame(Record):
    """Record of a ``pandas.DataFrame``."""


class Blocks(Record):
    """Record of a pandas ``BlockManager``."""


class Index(Record):
    """Record of a pandas ``Index``; its one argument is the dict that the index was made from."""


def _latin1(text: str, encoding: str) -> bytes:
    """Python-3 strings that carry bytes, the only use of ``_codecs.encode`` in such files."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the pickle asks for the encoding {encoding!r}")
    return text.encode("latin1")


def _new_record(kind: type, base: type, state: Any) -> Record:
    """``copyreg._reconstructor`` for records only."""
    if not (isinstance(kind, type) and issubclass(kind, Record) and base is object and state is None):
        raise pickle.UnpicklingError("the pickle rebuilds an object which is not a table")
    return kind()


def _new_index(kind: type, contents: dict[str, Any]) -> Index:
    if kind is not Index:
        raise pickle.UnpicklingError("the pickle rebuilds an index which is not one")
    return Index(contents)


ARRAYS: Mapping[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    # numpy moved this private function in version 2; asking an array for it works in all versions
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
}

TABLES: Mapping[tuple[str, str], Any] = {
    **ARRAYS,
    ("__builtin__", "object"): object,
    ("__builtin__", "slice"): slice,
    ("copy_reg", "_reconstructor"): _new_record,
    ("pandas.core.frame", "DataFrame"): Frame,
    ("pandas.core.indexes.base", "Index"): Index,
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    ("pandas.core.indexes.range", "RangeIndex"): Index,
    ("pandas.core.internals.managers", "BlockManager"): Blocks,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle names {module}.{name}, which is not allowed") from None


def restricted_load(content: bytes, allowed: Mapping[tuple[str, str], Any] = ARRAYS) -> Any:
    """The object pickled in ``content``, if it names nothing but the keys (module, name) of ``allowed``.

    Raises pickle.UnpicklingError otherwise, before anything has been called by the name in question.
    """
    return _Unpickler(content, allowed).load()


def columns(frame: Frame) -> dict[str, np.ndarray]:
    """The columns of a recorded table by name, each of shape (rows,), in the order of the table.

    pandas keeps columns of equal type together as the rows of one block, next to the positions they fill.
    """
    manager = frame.state["_data"].state[3]["0.14.1"]
    names = manager["axes"][0].arguments[0]["data"]
    found: dict[str, np.ndarray] = {}
    for block in manager["blocks"]:
        found.update(zip(names[block["mgr_locs"]], block["values"], strict=True))
    return {str(name): found[name] for name in names}
