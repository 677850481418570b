"""Lipschitz constants: those measured on pairs of points, those of layers, and a bound for a whole network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manifoldnet.certificates.step_size import max_step
from manifoldnet.fields import ConvolutionMaps
from manifoldnet.integrators.methods import Method
from manifoldnet.manifolds import Euclidean

Field = Callable[[Tensor, Tensor], Tensor]


def pair_quotients(field: Field, t: Tensor, x: Tensor, y: Tensor, dims: int = 1) -> dict[str, Tensor]:
    """For every pair: <df, dx> / |dx|^2, <df, dx> / |df|^2 and |df| / |dx|, named "nu", "cocoercivity", "lipschitz"."""
    fx, fy = field(t, x).flatten(-dims), field(t, y).flatten(-dims)
    x, y = x.flatten(-dims), y.flatten(-dims)
    df, dx = fx - fy, x - y
    inner, f2, x2 = (df * dx).sum(-1), df.square().sum(-1), dx.square().sum(-1)
    # where df is close to the rounding of what it is the difference of, quotients by it are rounding too
    size = fx.norm(dim=-1) + fy.norm(dim=-1) + x.norm(dim=-1) + y.norm(dim=-1)
    moved = f2.sqrt() > torch.finfo(f2.dtype).eps ** 0.5 * size
    return {
        "nu": inner / x2,
        "cocoercivity": torch.where(moved, inner / torch.where(moved, f2, 1.0), -math.inf),
        "lipschitz": (f2 / x2).sqrt(),
    }


def operator_norm(layer: nn.Module, shape: Sequence[int] | None = None, iterations: int = 1000) -> tuple[float, float]:
    """A lower and an upper bound of |W|_2 of a linear layer: (power iteration, rigorous bound).

    The lower bound is what power iteration has converged to, never more than |W|; certify with the upper one, which
    is the largest singular value of a matrix, and of a convolution with a square odd kernel the bound of
    :class:`manifoldnet.fields.ConvolutionMaps`. With groups, dilation or other kernels it is the root of the largest
    absolute row sum times the largest absolute column sum.

    Args:
        layer: ``nn.Linear`` or ``nn.Conv2d``.
        shape: (channels, H, W) of the images, for the lower bound of a convolution.

    Raises:
        ValueError: for another layer, a padding without a bound, or a convolution without ``shape``.
    """
    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.Linear):
        upper = float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2))
        return upper, upper
    if not isinstance(layer, nn.Conv2d) or weight is None:
        raise ValueError(f"layer: wanted nn.Linear or nn.Conv2d, got {type(layer).__name__}")
    if shape is None:
        raise ValueError("shape: wanted (channels, H, W) of the images of a convolution")
    linear = _without_bias(layer)
    return power_iteration(linear, tuple(shape), iterations), _convolution_bound(layer)


def power_iteration(linear: Callable[[Tensor], Tensor], shape: tuple[int, ...], iterations: int = 1000) -> float:
    """The spectral norm of a linear map, from below; stops when it changes by less than 1e-12 of itself."""
    x = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = 0.0
    for _ in range(iterations):
        x = (x / x.norm()).detach().requires_grad_()
        with torch.enable_grad():
            image = linear(x)
        before, norm = norm, float(image.detach().norm())
        (x,) = torch.autograd.grad(image, x, image.detach())
        if abs(norm - before) <= 1e-12 * norm:
            break
    return norm


def _without_bias(layer: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    weight = layer.weight.detach().double()
    return lambda x: layer._conv_forward(x, weight, None)


def _convolution_bound(layer: nn.Conv2d) -> float:
    weight = layer.weight.detach().double()
    k, same = layer.kernel_size, tuple(size // 2 for size in layer.kernel_size)
    if layer.padding_mode != "zeros" and (layer.padding_mode != "circular" or layer.padding not in (same, "same")):
        raise ValueError(f"layer: no bound is known for padding_mode={layer.padding_mode!r} with {layer.padding}")
    if layer.groups == 1 and layer.dilation == (1, 1) and k[0] == k[1] and k[0] % 2 == 1:
        # a stride keeps some of the outputs only, and any padding with zeros is a part of a larger torus
        return float(ConvolutionMaps(k[0]).norm(weight))
    per_pair = weight.abs().sum((-2, -1)).unflatten(0, (layer.groups, -1))
    return math.sqrt(float(per_pair.sum(2).max()) * float(per_pair.sum(1).max()))


def step_growth(method: Method, z: float) -> float:
    """A bound of |y1 - z1| / |y0 - z0| of an explicit step for a field with h L = z: 1 + z |b|' (I - z |A|)^-1 1.

    Raises:
        ValueError: for an implicit method, or one without a tableau.
    """
    tableau = method.tableau
    if tableau is None or not tableau.is_explicit:
        raise ValueError(f"method: wanted an explicit Runge-Kutta method, got {method.name!r}")
    A, b = np.abs(np.array(tableau.A, float)), np.abs(np.array(tableau.b, float))
    return float(1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * A, np.ones(len(b))))


def flow_bound(flow: Any) -> float:
    """A Lipschitz constant of a :class:`manifoldnet.nn.Flow` in the space's distance, infinite where none is known.

    1 where every step is certified (:func:`max_step`), else in vector spaces the growth of explicit steps by the
    field's Lipschitz constant.
    """
    field, method = flow.field, flow.method
    if flow.steps == "adaptive":
        return math.inf
    if flow.steps == "certified":
        max_step(field, method)
        return 1.0
    lengths = [float(h) for h in flow.lengths()]
    try:
        longest = max_step(field, method)
    except ValueError:
        longest = 0.0
    if min(lengths) >= 0 and max(lengths) <= longest:
        return 1.0
    if method.tableau is None or not method.tableau.is_explicit or not isinstance(flow.space, Euclidean):
        return math.inf
    try:
        L = float(field.lipschitz())
    except (AttributeError, ValueError):  # the field declares none, or says for which of its kinds it has one
        return math.inf
    return math.prod(step_growth(method, abs(h) * L) for h in lengths)


NON_EXPANSIVE = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Tanh,
    nn.Softplus,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Hardtanh,
    nn.ELU,
    nn.LogSigmoid,
)


def lipschitz_bound(module: nn.Module, known: Mapping[nn.Module, float] | None = None) -> float:
    """A certified Lipschitz constant of a network in the Euclidean norm: the product over its layers.

    Served are ``nn.Sequential``, ``nn.Linear``, ``nn.Conv2d``, flows of fields with a Lipschitz constant, activations
    of slope at most 1, ``nn.Sigmoid`` (1/4) and modules with a method ``lipschitz()``. Dropout counts as in evaluation.

    Args:
        known: constants of further modules.

    Raises:
        ValueError: for a layer of which nothing is known; BatchNorm and max-pooling are such.
    """
    if known is not None and module in known:
        return known[module]
    if isinstance(module, nn.Sequential):
        return math.prod(lipschitz_bound(child, known) for child in module)
    if isinstance(module, nn.Linear):
        return operator_norm(module)[1]
    if isinstance(module, nn.Conv2d):
        return _convolution_bound(module)
    if hasattr(module, "field") and hasattr(module, "method"):
        return flow_bound(module)
    if hasattr(module, "lipschitz"):
        return float(module.lipschitz())  # type: ignore[operator]
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, module.alpha)
    if isinstance(module, nn.Sigmoid):
        return 0.25
    if isinstance(module, NON_EXPANSIVE):
        return 1.0
    raise ValueError(f"module: no Lipschitz constant is known of {type(module).__name__}; give it in known")
