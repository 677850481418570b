"""Units of diffusivity, told apart by the size of the numbers."""

import numpy as np
from jaxtyping import Float

from manifoldnet.errors import InputError

#: 1 um^2/ms in each unit; neighbours differ by a factor of 1000, and tissue and fluid by one of 4
UM2_PER_MS = {"m^2/s": 1e-9, "mm^2/s": 1e-3, "um^2/ms": 1.0, "um^2/s": 1e3}
TYPICAL = (0.1, 10.0)  # um^2/ms, medians of mean diffusivity in heads, fixed tissue and fluid


def unit_of(tensors: Float[np.ndarray, "*batch 3 3"], declared: str | None = None) -> str | None:
    """The unit of diffusion tensors: as declared, else that in which their median mean diffusivity is .1 to 10 um^2/ms.

    None where there is no such unit, as for tensors without one.

    Raises:
        InputError: a declared unit that is none of ``UM2_PER_MS``.
    """
    if declared is not None:
        if declared not in UM2_PER_MS:
            raise InputError(f"unit: wanted one of {', '.join(UM2_PER_MS)}, got {declared!r}")
        return declared
    median = float(np.median(np.trace(tensors, axis1=-2, axis2=-1).astype(np.float64))) / 3
    fitting = (unit for unit, size in UM2_PER_MS.items() if TYPICAL[0] * size <= median < TYPICAL[1] * size)
    return next(fitting, None)
