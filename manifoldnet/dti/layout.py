"""Component orders of symmetric 3x3 matrices in files."""

import numpy as np
from jaxtyping import Float

ORDERS = {
    "fsl": ("xx", "xy", "xz", "yy", "yz", "zz"),
    "dipy": ("xx", "xy", "yy", "xz", "yz", "zz"),  # lower triangle by rows: NIfTI intent 1005 as well
    "mrtrix": ("xx", "yy", "zz", "xy", "xz", "yz"),
    "full": ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
}
SYMMATRIX = 1005


def choices() -> str:
    """The six-component orders, for messages: ``fsl (xx, xy, ...), dipy (...), mrtrix (...)``."""
    return ", ".join(f"{name} ({', '.join(ORDERS[name])})" for name in ORDERS if name != "full")


def unpack(components: Float[np.ndarray, "*batch c"], order: str) -> Float[np.ndarray, "*batch 3 3"]:
    """Matrices from six components, or from nine in row-major order."""
    names = ORDERS[order]
    position = [[names.index(a + b) if a + b in names else names.index(b + a) for b in "xyz"] for a in "xyz"]
    return components[..., np.array(position)]


def pack(tensors: Float[np.ndarray, "*batch 3 3"], order: str) -> Float[np.ndarray, "*batch c"]:
    """Inverse of :func:`unpack` for symmetric matrices."""
    rows, columns = np.array([["xyz".index(axis) for axis in name] for name in ORDERS[order]]).T
    return tensors[..., rows, columns]
