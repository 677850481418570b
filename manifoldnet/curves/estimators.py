"""Estimators in the style of scikit-learn for collections of curves of any lengths."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from manifoldnet.curves.homogeneous import generators
from manifoldnet.curves.pairwise import pairwise_elastic_distance
from manifoldnet.curves.ragged import Curves, as_tensors, as_transforms, by_shape
from manifoldnet.curves.srvt import srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import Space


class CurveEstimator(BaseEstimator):
    """An estimator whose examples are curves, no rows of a table, and which tells scikit-learn so."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags


class SRVT(TransformerMixin, CurveEstimator):
    """Square-root velocity transforms of curves on a Lie group or homogeneous space: :func:`manifoldnet.curves.srvt`.

    Args:
        group: the space of the points.
        side, norm: "left" or "right", "joint" or "perfactor", as there.
        dt: length of a cell, or None. Elastic distances want None.
        cells: number of cells of every transform, or None for those of the curve. The curve, a chain of
            one-parameter subgroups, is sampled at ``cells`` + 1 equidistant times, so that the increments between
            two of them merge into one. A merged rotation must stay below pi.

    Attributes:
        dim_: number of coordinates of a transform.
    """

    def __init__(
        self,
        group: Space,
        side: str = "left",
        norm: str = "joint",
        dt: int | float | None = None,
        cells: int | None = None,
    ) -> None:
        self.group = group
        self.side = side
        self.norm = norm
        self.dt = dt
        self.cells = cells

    def fit(self, X: Curves, y: object = None) -> SRVT:
        """Note the number of coordinates; nothing is learned.

        Args:
            X: curves (N, *point) of any lengths N >= 2.
            y: ignored.

        Raises:
            InputError: there is no curve, ``cells`` is below 1, or as :func:`srvt` for the first curve.
        """
        if self.cells is not None and self.cells < 1:
            raise InputError(f"cells: wanted a number >= 1 or None, got {self.cells}")
        self.dim_ = self._transformed(as_tensors(X, "X")[0][:2]).shape[-1]
        return self

    def transform(self, X: Curves) -> Tensor | np.ndarray | list[Tensor] | list[np.ndarray]:
        """The transforms of curves.

        Args:
            X: as in :meth:`fit`.

        Returns:
            (len(X), cells, dim_) if X is one array or ``cells`` is given, else a list of (N_i - 1, dim_). Tensors
            for tensors, numpy arrays for anything else.

        Raises:
            InputError: the curves are not on the group of the fit.
        """
        check_is_fitted(self)
        curves = as_tensors(X, "X")
        transforms: list[Tensor] = [torch.empty(0)] * len(curves)
        for places, stack in by_shape(curves):
            for place, q in zip(places, self._transformed(stack), strict=True):
                transforms[place] = q
        if any(q.shape[-1] != self.dim_ for q in transforms):
            raise InputError(f"X: wanted curves of {self.dim_} coordinates as in the fit")
        theirs = isinstance(X[0], Tensor)
        if self.cells is not None or isinstance(X, Tensor) or (isinstance(X, np.ndarray) and X.dtype != object):
            stacked = torch.stack(transforms)
            return stacked if theirs else stacked.numpy()
        return transforms if theirs else [q.numpy() for q in transforms]

    @torch.no_grad()
    def _transformed(self, curves: Tensor) -> Tensor:
        """(..., N, *point) -> (..., cells, dim)."""
        dt = self.dt
        if self.cells is not None:
            before = curves.shape[-self.group.ndim - 1] - 1
            curves = _sampled(curves, self.group, self.cells)
            dt = None if dt is None else dt * before / self.cells
        return srvt(curves, self.group, self.side, self.norm, dt)


class ElasticKNNClassifier(ClassifierMixin, CurveEstimator):
    """Vote of the nearest transforms under the elastic distance.

    Args:
        n_neighbors: how many vote.
        slopes, band, refine, scale: of the distance, as in :func:`manifoldnet.curves.elastic_distance`.
        weights: "uniform", or "distance" for votes that weigh 1 / distance; neighbours at distance 0 then
            outvote all others.

    Attributes:
        classes_: the labels, sorted.
        transforms_: those of the fit, as tensors.
        codes_: (len(transforms_),) places of their labels in ``classes_``.
    """

    def __init__(
        self,
        n_neighbors: int = 1,
        slopes: int = 4,
        band: int | float | None = None,
        scale: str | None = None,
        weights: str = "uniform",
        refine: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.slopes = slopes
        self.band = band
        self.scale = scale
        self.weights = weights
        self.refine = refine

    def fit(self, X: Curves, y: ArrayLike) -> ElasticKNNClassifier:
        """Keep the transforms X with labels y.

        Args:
            X: transforms (cells_i, dim) as :class:`SRVT` gives them, of any lengths within the factor ``slopes``.
            y: (len(X),) labels.

        Raises:
            InputError: for transforms of a wrong shape, labels that do not match, fewer curves than ``n_neighbors``,
                or an unknown ``weights``.
        """
        if self.weights not in ("uniform", "distance"):
            raise InputError(f'weights: wanted "uniform" or "distance", got {self.weights!r}')
        transforms = as_transforms(X, "X")
        labels = np.asarray(y)
        if labels.shape != (len(transforms),):
            raise InputError(f"y: wanted one label for each of the {len(transforms)} curves, got shape {labels.shape}")
        check_classification_targets(labels)
        _check_neighbors(self.n_neighbors, len(transforms))
        self.transforms_ = transforms
        self.classes_, self.codes_ = np.unique(labels, return_inverse=True)
        return self

    def kneighbors(
        self, X: Curves | None = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The nearest transforms of the fit, nearest first, the earlier one first at equal distance.

        Args:
            X: as in :meth:`fit`; None for the transforms of the fit, of which none is its own neighbour.
            n_neighbors: how many; that of the estimator when None.
            return_distance: whether the distances come along.

        Returns:
            Distances (len(X), n_neighbors) if asked for, and indices into the fit's collection, of that shape.

        Raises:
            InputError: for transforms of a wrong shape, or more neighbours than there are.
        """
        check_is_fitted(self)
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors
        _check_neighbors(wanted, len(self.transforms_) - (X is None))
        if X is None:
            matrix = self._distances(None).fill_diagonal_(torch.inf)
        else:
            matrix = self._distances(as_transforms(X, "X", self.transforms_[0]))
        # topk would leave the order of equal distances open
        distances, indices = (part[:, :wanted].cpu().numpy() for part in matrix.sort(dim=1, stable=True))
        return (distances, indices) if return_distance else indices

    def predict_proba(self, X: Curves) -> np.ndarray:
        """(len(X), classes): shares of the votes."""
        distances, indices = self.kneighbors(X)
        votes = np.ones_like(distances, np.float64)
        if self.weights == "distance":
            same = distances == 0
            votes = np.where(same.any(1, keepdims=True), same, 1 / np.where(same, 1.0, distances))
        shares = np.zeros((len(distances), len(self.classes_)))
        np.add.at(shares, (np.arange(len(distances))[:, None], self.codes_[indices]), votes)
        return shares / shares.sum(1, keepdims=True)

    def predict(self, X: Curves) -> np.ndarray:
        """(len(X),) labels; of classes with equally many votes the first in ``classes_``."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _distances(self, queries: list[Tensor] | None) -> Tensor:
        """Of queries and the transforms of the fit, or of the latter."""
        first, second = (self.transforms_, None) if queries is None else (queries, self.transforms_)
        return pairwise_elastic_distance(first, second, self.slopes, self.band, refine=self.refine, scale=self.scale)


def _sampled(curves: Tensor, space: Space, cells: int) -> Tensor:
    """The curves at ``cells`` + 1 equidistant times."""
    axis = -(space.ndim + 1)
    before = curves.shape[axis] - 1
    # integers, so that a time that is a sample's is exactly that sample's
    ticks = torch.arange(cells + 1, device=curves.device) * before
    cell = (ticks // cells).clamp(max=before - 1)
    start, end = curves.index_select(axis, cell), curves.index_select(axis, cell + 1)
    v = generators(space, start, end)
    share = ((ticks - cell * cells).to(v) / cells)[:, None]
    return space.action.act_exp(share * v, start)


def _check_neighbors(wanted: int, most: int) -> None:
    if not 1 <= wanted <= most:
        raise InputError(f"n_neighbors: wanted between 1 and the {most} curves there are, got {wanted}")
