"""Units of diffusivity told apart."""

import numpy as np
import pytest

from manifoldnet.dti.units import UM2_PER_MS, unit_of
from manifoldnet.errors import InputError


@pytest.mark.parametrize("unit", UM2_PER_MS)
def test_detected(unit):
    # grey matter, fluid, tissue fixed and cold, in numbers of the unit written out
    one = {"m^2/s": 1e-9, "mm^2/s": 1e-3, "um^2/ms": 1.0, "um^2/s": 1000.0}[unit]
    for diffusivity in (0.8, 3.0, 0.2):
        tensors = np.full((9, 1, 1), diffusivity * one, np.float32) * np.eye(3, dtype=np.float32)
        tensors[:2] *= 1e4  # a few that are far off
        assert unit_of(tensors) == unit
        assert UM2_PER_MS[unit] == pytest.approx(one)


def test_declared_or_unknown():
    tensors = 0.03 * np.eye(3)[None]
    assert unit_of(tensors) is None
    assert unit_of(tensors, "mm^2/s") == "mm^2/s"
    with pytest.raises(InputError, match=r"unit: wanted one of m\^2/s, mm\^2/s, um\^2/ms, um\^2/s, got 'mm2/s'"):
        unit_of(tensors, "mm2/s")
