"""The restricted unpickler: arrays and recorded tables come through, nothing else is called."""

import pickle

import numpy as np
import pytest

from manifoldnet.data.unpickle import ARRAYS, TABLES, columns, restricted_load


def old_names(content: bytes) -> bytes:
    """A pickle as numpy 1 wrote it, whichever numpy wrote this one."""
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def test_arrays_of_numbers_strings_and_objects():
    value = {
        "x": [np.arange(6.0).reshape(2, 3), np.array([1], dtype=">i2")],
        "names": np.array(["a", None], dtype=object),
        "n": 3,
    }
    out = restricted_load(old_names(pickle.dumps(value, protocol=2)))
    np.testing.assert_array_equal(out["x"][0], value["x"][0])
    np.testing.assert_array_equal(out["x"][1], value["x"][1])
    assert list(out["names"]) == ["a", None]
    assert out["n"] == 3


CALLED: list[str] = []


def touched(argument: str) -> None:
    CALLED.append(argument)


class Caller:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("allowed", [ARRAYS, TABLES])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [touched, eval, print, np.load, np.frombuffer, getattr])
def test_any_other_name_is_refused(function, protocol, allowed):
    CALLED.clear()
    content = pickle.dumps(Caller(function, "1"), protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        restricted_load(old_names(content), allowed)
    assert CALLED == []


def test_a_codec_other_than_latin1_is_refused():
    import _codecs

    content = pickle.dumps(Caller(_codecs.encode, "abc", "rot13"), protocol=2)
    with pytest.raises(pickle.UnpicklingError, match="rot13"):
        restricted_load(content)


def test_rebuilding_anything_but_a_record_is_refused():
    import copyreg

    content = pickle.dumps(Caller(copyreg._reconstructor, slice, object, None), protocol=1)
    with pytest.raises(pickle.UnpicklingError, match="not a table"):
        restricted_load(content, TABLES)


def test_columns_of_a_table_in_blocks(old_pandas):
    floats, whole = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5, 6]])
    frame = old_pandas.table(["a", "n", "b"], [(floats, slice(0, 3, 2)), (whole, np.array([1]))])
    content = pickle.dumps({7: [frame]}, protocol=1)
    assert b"copy_reg\n_reconstructor" in content  # the road of the old file

    table = columns(restricted_load(old_names(content), TABLES)[7][0])
    assert list(table) == ["a", "n", "b"]
    np.testing.assert_array_equal(table["a"], [1, 2])
    np.testing.assert_array_equal(table["b"], [3, 4])
    np.testing.assert_array_equal(table["n"], [5, 6])
