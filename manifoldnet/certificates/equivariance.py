"""Defects of equivariance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def equivariance_defect(module: Map, before: Map, after: Map, sample: Tensor) -> float:
    """max |module(before(x)) - after(module(x))| over the sample, relative to the largest entry of the output.

    Args:
        before: the group element's action on inputs.
        after: its action on outputs.
    """
    with torch.no_grad():
        moved, wanted = module(before(sample)), after(module(sample))
    return ((moved - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)).item()
