"""What users hand over becomes a tensor, or an error that names it."""

import warnings

import numpy as np
import pytest
import torch

from manifoldnet.arrays import as_tensor
from manifoldnet.errors import InputError


def test_tensors_and_plain_arrays_share_memory():
    tensor = torch.zeros(3)
    assert as_tensor("x", tensor) is tensor
    array = np.zeros((2, 3), np.float32)
    as_tensor("x", array)[1, 2] = 5
    assert array[1, 2] == 5


@pytest.mark.parametrize("kind", ["f4", "f8", "c8", "c16", "i2", "i4", "u2", "u1", "?"])
@pytest.mark.parametrize("order", "<>")
def test_kinds_and_byte_orders(kind, order):
    array = np.arange(6).reshape(2, 3).astype(order + kind)
    result = as_tensor("x", array)
    np.testing.assert_array_equal(result.numpy(), array)
    assert result.numpy().dtype == array.dtype.newbyteorder("=")


def test_views_and_read_only_memory():
    array = np.arange(12.0).reshape(3, 4)
    for view in (array[::-1], array[:, ::-2], array.T, np.broadcast_to(array[0], (5, 4))):
        np.testing.assert_array_equal(as_tensor("x", view).numpy(), view)
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_tensor("x", array)[0, 0] = 9
    assert array[0, 0] == 0


def test_masked_arrays():
    mask = [[True, False], [False, False]]
    assert np.isnan(as_tensor("x", np.ma.masked_array(np.ones((2, 2)), mask)).numpy()).tolist() == mask
    assert as_tensor("x", np.ma.masked_array(np.ones((2, 2), int), mask)).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([None]), [[1, 2], [3]], np.zeros(2, np.longdouble)])
def test_refusals(values):
    with pytest.raises(InputError, match="weights: "):
        as_tensor("weights", values)


def test_lists():
    assert as_tensor("x", [[1.0, 2.0]]).shape == (1, 2)
