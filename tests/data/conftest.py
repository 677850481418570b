"""Objects that are pickled as old libraries pickled theirs."""

import sys
import types

import numpy as np
import pytest


class _Plain:
    """Pickled by way of ``copyreg._reconstructor`` and ``__setstate__``."""

    def __init__(self, state):
        self.__dict__["held"] = state

    def __getstate__(self):
        return self.held


@pytest.fixture
def old_pandas(monkeypatch):
    """``table(names, [(values, places), ...])`` makes a table that is pickled as an old pandas did it."""
    homes = {
        "DataFrame": "pandas.core.frame",
        "BlockManager": "pandas.core.internals.managers",
        "Index": "pandas.core.indexes.base",
        "_new_Index": "pandas.core.indexes.base",
        "RangeIndex": "pandas.core.indexes.range",
    }
    for home in ("pandas", *homes.values()):
        monkeypatch.setitem(sys.modules, home, types.ModuleType(home))

    def at_home(name, value):
        value.__module__, value.__qualname__, value.__name__ = homes[name], name, name
        setattr(sys.modules[homes[name]], name, value)
        return value

    new_index = at_home("_new_Index", lambda kind, contents: None)

    class AnyIndex:
        def __init__(self, contents):
            self.contents = contents

        def __reduce__(self):
            return new_index, (type(self), self.contents)

    frame = at_home("DataFrame", type("DataFrame", (_Plain,), {}))
    manager = at_home("BlockManager", type("BlockManager", (_Plain,), {}))
    index = at_home("Index", type("Index", (AnyIndex,), {}))
    range_index = at_home("RangeIndex", type("RangeIndex", (AnyIndex,), {}))

    def table(names, blocks):
        columns = index({"data": np.array(names, dtype=object), "name": None})
        rows = range_index({"start": 0, "stop": blocks[0][0].shape[1], "step": 1})
        held = [{"values": values, "mgr_locs": places} for values, places in blocks]
        extra = {"0.14.1": {"axes": [columns, rows], "blocks": held}}
        return frame({"_data": manager(([], [], [], extra)), "_typ": "dataframe"})

    return types.SimpleNamespace(table=table)
