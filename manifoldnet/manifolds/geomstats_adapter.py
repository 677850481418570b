"""Spaces as geomstats sees them, so that its learning algorithms run on them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.manifolds.base import Space


def to_geomstats(space: Space) -> Any:
    """The space as a ``geomstats`` manifold with a metric, for ``geomstats.learning``.

    ``FrechetMean``, ``TangentPCA``, ``RiemannianKMeans`` and whatever else uses exp, log, distances, inner products and
    parallel transport of a metric run on it, under geomstats' numpy and pytorch backends: numpy arrays come back for
    numpy arrays, tensors with their gradients for tensors. Points have the shape ``space.point_shape``; angles of
    ``Circle``, which are numbers, have the shape (1,) because geomstats knows no points without dimensions.

    geomstats is not installed along with this package and is imported only here. Its pytorch backend makes float64
    torch's default dtype, which is undone here, and its algorithms want tensors of the default dtype: give them float32
    or set the default yourself. Its ``TangentPCA`` decomposes the entries of tangent vectors whatever the metric.

    Args:
        space: one that knows the shape of its points, ``SPD(n=3)`` rather than ``SPD()``.

    Returns:
        An instance of ``geomstats.geometry.manifold.Manifold``.

    Raises:
        ImportError: if geomstats does not import.
        ValueError: if the space does not know its shape and dimension.
    """
    if space.point_shape is None or space.dim is None:
        raise ValueError(f"space: {space.name} must be made with a known size to be given to geomstats")
    return _manifold_class()(space)


def _import_geomstats() -> tuple[Any, Any]:
    before = torch.get_default_dtype()
    try:
        from geomstats.geometry.manifold import Manifold
        from geomstats.geometry.riemannian_metric import RiemannianMetric
    except (ImportError, AttributeError, RuntimeError) as error:
        # with numpy 2.4 and later geomstats 2.8.0 fails by asking for what numpy has no more
        raise ImportError(
            'to_geomstats needs geomstats, which does not import here: pip install "geomstats>=2.8" "numpy<2.4"'
        ) from error
    finally:
        torch.set_default_dtype(before)
    return Manifold, RiemannianMetric


class _Bridge:
    """Calls functions of tensors with the arrays of either backend."""

    def __init__(self, space: Space) -> None:
        self.space = space
        # geomstats knows no points without dimensions
        self.shape = (1,) if space.ndim == 0 else space.point_shape

    def __call__(self, f: Callable[..., Any], *points: Any, to_point: bool = False) -> Any:
        """f of the arrays, of which the last dimensions are those of a point; so are those of the value if to_point."""
        theirs = any(isinstance(p, Tensor) for p in points)
        tensors = [p if isinstance(p, Tensor) else torch.from_numpy(np.array(p)) for p in points]
        dtype = functools.reduce(torch.promote_types, [t.dtype for t in tensors])
        dtype = dtype if dtype.is_floating_point else torch.float64
        tensors = [t.to(dtype) for t in tensors]
        if self.space.ndim == 0:
            tensors = [t.squeeze(-1) for t in tensors]
        value: Tensor = f(*tensors)
        if self.space.ndim == 0 and to_point:
            value = value.unsqueeze(-1)
        value = value.contiguous()  # arrays are changed in place there
        return value if theirs else value.numpy()


class _Metric:
    """What geomstats asks of a Riemannian metric."""

    _space: Any

    def exp(self, tangent_vec: Any, base_point: Any) -> Any:
        return self._space.bridge(self._space.space.expmap, base_point, tangent_vec, to_point=True)

    def log(self, point: Any, base_point: Any) -> Any:
        return self._space.bridge(self._space.space.logmap, base_point, point, to_point=True)

    def inner_product(self, tangent_vec_a: Any, tangent_vec_b: Any, base_point: Any = None) -> Any:
        return self._space.bridge(self._space.space.inner, _given(base_point), tangent_vec_a, tangent_vec_b)

    def squared_norm(self, vector: Any, base_point: Any = None) -> Any:
        return self._space.bridge(self._space.space.inner, _given(base_point), vector)

    def norm(self, vector: Any, base_point: Any = None) -> Any:
        return self._space.bridge(self._space.space.norm, _given(base_point), vector)

    def squared_dist(self, point_a: Any, point_b: Any) -> Any:
        return self._space.bridge(self._space.space.dist2, point_a, point_b)

    def dist(self, point_a: Any, point_b: Any) -> Any:
        return self._space.bridge(self._space.space.dist, point_a, point_b)

    def parallel_transport(
        self, tangent_vec: Any, base_point: Any, direction: Any = None, end_point: Any = None
    ) -> Any:
        if end_point is None:
            end_point = self.exp(_given(direction, "direction or end_point"), base_point)
        return self._space.bridge(self._space.space.transp, base_point, end_point, tangent_vec, to_point=True)

    def injectivity_radius(self, base_point: Any = None) -> Any:
        if base_point is None:
            return self._space.space.injectivity_radius()

        def radius(x: Tensor) -> Tensor:
            value = torch.as_tensor(self._space.space.injectivity_radius(x), dtype=x.dtype, device=x.device)
            return value.expand(x.shape[: x.dim() - self._space.space.ndim])

        return self._space.bridge(radius, base_point)


class _Manifold:
    """What geomstats asks of a manifold."""

    metric_class: Any
    shape: tuple[int, ...]

    def __init__(self, space: Space, equip: bool = True) -> None:
        self.space = space
        self.bridge = _Bridge(space)
        initialise: Any = super().__init__
        initialise(dim=space.dim, shape=self.bridge.shape, intrinsic=False, equip=equip)

    def default_metric(self) -> Any:
        return self.metric_class

    def belongs(self, point: Any, atol: float = 1e-5) -> Any:
        return self._each(lambda x: self.space.check_point_on_manifold(x, atol=atol, rtol=atol), point)

    def is_tangent(self, vector: Any, base_point: Any = None, atol: float = 1e-5) -> Any:
        def check(x: Tensor, u: Tensor) -> bool:
            return bool(self.space.check_vector_on_tangent(x, u, atol=atol, rtol=atol))

        return self._each(check, _given(base_point), vector)

    def _each(self, check: Callable[..., bool], *points: Any) -> Any:
        """The check's answer for every point of the batch."""

        def answers(*tensors: Tensor) -> Tensor:
            ndim = self.space.ndim
            batch = torch.broadcast_shapes(*(t.shape[: t.dim() - ndim] for t in tensors))
            shapes = [t.shape[t.dim() - ndim :] for t in tensors]
            rows = [t.expand((*batch, *s)).reshape((-1, *s)) for t, s in zip(tensors, shapes, strict=True)]
            return torch.tensor([check(*row) for row in zip(*rows, strict=True)]).reshape(batch)

        return self.bridge(answers, *points)

    def to_tangent(self, vector: Any, base_point: Any = None) -> Any:
        return self.bridge(self.space.proju, _given(base_point), vector, to_point=True)

    def projection(self, point: Any) -> Any:
        return self.bridge(self.space.projx, point, to_point=True)

    def random_point(self, n_samples: int = 1, bound: float = 1.0) -> Any:
        """Points of ``space.random``, seeded by a draw of geomstats' generator; the bound has no influence."""
        import geomstats.backend as gs

        seed = int(gs.random.randint(0, 2**31 - 1, size=(1,))[0])
        batch = () if n_samples == 1 else (n_samples,)
        size = (*batch, *(self.space.point_shape or ()))
        points = self.space.random(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        points = points.reshape(*batch, *self.shape)
        return points if isinstance(gs.zeros(1), Tensor) else points.numpy()


@functools.cache
def _manifold_class() -> Any:
    """The class of the adapters; not before geomstats is wanted, from whose classes it is derived."""
    manifold, riemannian_metric = _import_geomstats()
    metric = types.new_class("SpaceMetric", (_Metric, riemannian_metric))
    return types.new_class("SpaceManifold", (_Manifold, manifold), exec_body=lambda ns: ns.update(metric_class=metric))


def _given(value: Any, name: str = "base_point") -> Any:
    if value is None:
        raise ValueError(f"{name}: wanted one, as tangent spaces differ from point to point")
    return value
