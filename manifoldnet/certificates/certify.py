"""One call that measures everything a field, a flow or a network claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from manifoldnet.certificates.certificate import Certificate, Row, at_most
from manifoldnet.certificates.equivariance import equivariance_defect
from manifoldnet.certificates.field_rows import field_rows
from manifoldnet.certificates.flow_rows import flow_rows, is_flow
from manifoldnet.certificates.lipschitz import lipschitz_bound
from manifoldnet.certificates.pairs import contraction_row, rounding_of

Symmetries = Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]
"""name -> the action of a group element on inputs, and its action on outputs."""


def certify(module: nn.Module, sample: Tensor, symmetries: Symmetries | None = None) -> Certificate:
    """The table of what a module claims against what is measured on a sample.

    Of a field: its one-sided Lipschitz constant (exact or a bound), Lipschitz and cocoercivity constants, operator
    norm, the potential or Hamiltonian whose field it is, first integrals, and its divergence. Of a
    :class:`manifoldnet.nn.Flow`: what it expands pairs of points by, the defects of its Jacobian from symplectic,
    conformally symplectic and volume-preserving matrices, the spectral norm of the sensitivity of every layer, the
    drift of Hamiltonian and first integrals, the fall of its potential, points leaving the space, and its inverse. Of
    an ``nn.Sequential``: the rows of its parts, and its Lipschitz constant. What a module does not claim is measured
    as well where others would claim it, without a bound.

    Args:
        module: a field (t, y) -> generator, a flow, or an ``nn.Sequential`` of layers.
        sample: points (n, *point), n >= 2, of float32 or float64.
        symmetries: under which a flow or network claims to be equivariant.

    Returns:
        Rows (property, bound, measured, holds); ``holds`` says whether all claims stand.

    Raises:
        ValueError: if the sample holds fewer than two points or is not finite.
    """
    if sample.dim() < 1 or len(sample) < 2:
        raise ValueError(f"sample: wanted at least two points (n, *point), got shape {tuple(sample.shape)}")
    if not torch.isfinite(sample).all():
        raise ValueError("sample: wanted finite numbers")
    rows = _rows(module, sample)
    for name, (before, after) in (symmetries or {}).items():
        defect = equivariance_defect(module, before, after, sample)
        rows.append(at_most(f"equivariance defect, {name}", 0.0, defect, rounding_of(sample)))
    return Certificate(rows, type(module).__name__)


def _rows(module: Any, sample: Tensor) -> list[Row]:
    if is_flow(module):
        return flow_rows(module, sample)
    if isinstance(module, nn.Sequential):
        return _network_rows(module, sample)
    if hasattr(module, "space"):
        return field_rows(module, sample)
    return [contraction_row(module, _bound(module), sample)]


def _network_rows(network: nn.Sequential, sample: Tensor) -> list[Row]:
    rows = [contraction_row(network, _bound(network), sample)]
    y = sample
    for name, layer in network.named_children():
        if is_flow(layer) or isinstance(layer, nn.Sequential):
            rows += [row._replace(property=f"{name}: {row.property}") for row in _rows(layer, y)]
        with torch.no_grad():
            y = layer(y)
    return rows


def _bound(module: nn.Module) -> float:
    try:
        return lipschitz_bound(module)
    except ValueError:
        return math.inf
