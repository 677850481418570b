"""Arrays that users hand over, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.errors import InputError


def as_tensor(name: str, values: Any) -> Tensor:
    """``values``, a tensor or anything numpy takes for an array, as a tensor that shares memory where torch can.

    Masked elements of numpy's masked arrays become NaN, or 0 in arrays of integers.

    Raises:
        InputError: if the values are not numbers that torch knows.
    """
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ma.MaskedArray):
        values = values.filled(np.nan if values.dtype.kind in "fc" else 0)
    try:
        array = np.asarray(values)
        # torch refuses reversed views and the byte order of other machines, and warns of memory that is read-only
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not an array of numbers that torch knows ({error})") from error
