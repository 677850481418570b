"""What every space offers: geoopt's Manifold protocol, an action, a lift and a mean."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import geoopt
import torch
from geoopt.utils import size2shape
from torch import Tensor

from manifoldnet.linalg import safe_sqrt
from manifoldnet.manifolds.frechet import frechet_mean
from manifoldnet.manifolds.gaussian import random_normal
from manifoldnet.manifolds.tangent_bases import orthonormal_basis
from manifoldnet.manifolds.volume import numerical_log_density, space_form_log_density

if TYPE_CHECKING:
    from manifoldnet.manifolds.actions import Action


class Space(geoopt.manifolds.Manifold):
    """A Riemannian manifold whose points are plain tensors.

    The last ``ndim`` dimensions of a tensor are the point, the leading ones are batch dimensions, and every
    method broadcasts over them. Names and signatures are geoopt's, so each space works with geoopt's optimisers
    and ``ManifoldParameter``.

    Attributes:
        ndim: number of trailing dimensions that make one point.
        point_shape: their sizes, or None if the tensor decides (SPD(n) for any n).
        dim: dimension of the manifold, or None if the tensor decides.
        reversible: whether :meth:`retr` by the transported, reversed step leads back, which geoopt's samplers want.
        is_compact: whether it is compact; then :meth:`random` is uniform with respect to the Riemannian volume.
    """

    ndim: int
    reversible = True
    point_shape: tuple[int, ...] | None = None
    dim: int | None = None
    is_compact: bool = False

    @property
    @abstractmethod
    def action(self) -> Action:
        """The action of a Lie group on this space by which Lie-group integrators move."""

    def lift(self, y: Tensor, tangent: Tensor) -> Tensor:
        """The horizontal lift: a generator v of ``action.group`` with action.tangent(v, y) = tangent."""
        return self.action.lift(y, tangent)

    def _sum(self, x: Tensor, keepdim: bool) -> Tensor:
        """Sum over the dimensions of a point."""
        dims = tuple(range(-self.ndim, 0))
        return x.sum(dims, keepdim=keepdim) if dims else x

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Squared geodesic distance, smooth at x = y; shape of the batch."""
        return self.inner(x, self.logmap(x, y), keepdim=keepdim)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Geodesic distance, shape of the batch; at x = y its gradient is finite, a subgradient."""
        return safe_sqrt(self.dist2(x, y, keepdim=keepdim))

    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
        """Riemannian norm of the tangent vector u at x, with gradient 0 at u = 0."""
        return safe_sqrt(self.inner(x, u, keepdim=keepdim))

    @abstractmethod
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Tangent vector at x of the shortest geodesic that reaches y at time 1."""

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """A step from x along u; the exponential map unless a space has something cheaper or safer."""
        return self.expmap(x, u)

    def curvature_bounds(self) -> tuple[float, float]:
        """A lower and an upper bound of the sectional curvature; both 0 where there are no sections.

        Raises:
            NotImplementedError: for a space that declares none.
        """
        raise NotImplementedError(f"curvature_bounds: {self.name} declares none")

    def injectivity_radius(self, x: Tensor | None = None) -> float | Tensor:
        """Distance up to which geodesics from x are shortest and unique; the least one of all points for None.

        A number where it is the same at every point, otherwise a tensor of the shape of the batch.

        Raises:
            NotImplementedError: for a space that declares none.
        """
        raise NotImplementedError(f"injectivity_radius: {self.name} declares none")

    def orthonormal_basis(self, x: Tensor) -> Tensor:
        """Some orthonormal basis of the tangent space at x, shape (..., dim, *point); without derivatives in x."""
        return orthonormal_basis(self, x)

    def random_tangent(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """A tangent vector at x with the standard normal distribution of the metric there, equal in all directions."""
        basis = self.orthonormal_basis(x)
        batch = basis.shape[: x.dim() - self.ndim + 1]
        z = torch.randn(batch, dtype=x.dtype, device=x.device, generator=generator)
        return (z[(...,) + (None,) * self.ndim] * basis).sum(-(self.ndim + 1))

    def geodesic(self, x: Tensor, y: Tensor, t: Tensor | float) -> Tensor:
        """Point at time t of the geodesic with value x at 0 and y at 1; a tensor t broadcasts over the batch."""
        if isinstance(t, Tensor):
            t = t[(...,) + (None,) * self.ndim]
        return self.expmap(x, t * self.logmap(x, y))

    def frechet_mean(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weighted Fréchet mean: the minimiser of sum_i w_i dist(mean, x_i)^2.

        It is unique if the points lie in a ball of radius r < min(inj, pi / sqrt(K)) / 2, with the injectivity radius
        inj and the upper bound K > 0 of the curvature (Karcher 1977; Afsari 2011); otherwise a stationary point near
        the extrinsic mean is returned. Iterations are fixed in number. They reach rounding for points within nine
        tenths of that r, and, where r is infinite, within 6 of their mean; for points within 8 on affine-invariant
        SPD(3) in float64 they leave a distance of about 1e-8.

        Derivatives of every order, backward and forward, come from the implicit function theorem; memory does not
        grow with the iterations. They are finite unless the Hessian at the mean is singular, which it is not for points
        nearer to it than pi / (2 sqrt(K)).

        Args:
            points: (..., n, *point).
            weights: (..., n), not negative, with a positive sum; uniform when None.

        Returns:
            (..., *point).
        """
        return frechet_mean(self, points, self._mean_weights(points, weights))

    def _mean_weights(self, points: Tensor, weights: Tensor | None) -> Tensor:
        """The weights scaled to sum 1, of shape (..., n, 1, ..., 1)."""
        weights = points.new_ones(points.shape[-(self.ndim + 1)]) if weights is None else weights
        return (weights / weights.sum(-1, keepdim=True))[(...,) + (None,) * self.ndim]

    def _mean_guess(self, points: Tensor, weights: Tensor) -> Tensor:
        """Projection of the weighted mean of the coordinates; weights already sum to 1 and broadcast."""
        return self.projx((weights * points).sum(-(self.ndim + 1)))

    def log_volume_density(self, x: Tensor, u: Tensor) -> Tensor:
        """log |det d exp_x(u)|, the factor by which the exponential map changes volumes at u; shape of the batch.

        In closed form for constant curvature, otherwise numerically, through the derivative along a basis.
        """
        low, high = self.curvature_bounds()
        return space_form_log_density(self, x, u, low) if low == high else numerical_log_density(self, x, u)

    def _volume_bound(self) -> tuple[int, float]:
        """N and k with log_volume_density(x, u) <= N log(sinh(a) / a), a^2 = k |u|^2, before the cut locus.

        The default is that of Bishop: N = dim - 1, -k the lower bound of the curvature.
        """
        low = self.curvature_bounds()[0]
        if low >= 0:
            return 0, 0.0
        if low == -math.inf or self.dim is None:
            raise NotImplementedError(f"random_normal: {self.name} has no bound of its volume density")
        return self.dim - 1, -low

    def random_normal(
        self,
        mean: Tensor,
        std: Tensor | float = 1.0,
        *,
        size: tuple[int, ...] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Riemannian Gaussian: density proportional to exp(-dist(mean, x)^2 / (2 std^2)) (Pennec 2006).

        The density is with respect to the Riemannian volume, and samples follow it exactly: by rejection, in rounds
        until every sample is accepted, without derivatives. It is not the image of a normal vector under the
        exponential map, from which it differs where there is curvature.

        Args:
            mean: (*batch, *point).
            std: number or tensor that broadcasts against the batch, in the units of the distance.
            size: shape of the samples for each mean.
            generator: source of random numbers.

        Returns:
            (*size, *batch, *point).

        Raises:
            ValueError: if std is not positive and finite, or so large that hardly any candidate is accepted, which
                happens for several times the radius of curvature in many dimensions.
            NotImplementedError: for a space without a lower bound of the curvature.
        """
        with torch.no_grad():
            return random_normal(self, mean, std, size, generator)

    @abstractmethod
    def random(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Random points; ``size`` is the full shape, point dimensions included."""

    def origin(
        self,
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> Tensor:
        """The same plain point everywhere in the batch: an identity, a unit vector, zero; ``size`` is the full shape.

        Args:
            seed: not used; geoopt's signature has it.
        """
        shape = self._size(*size)
        first = len(shape) - self.ndim
        return self.projx(self._plain(shape[first:], dtype, device)).expand(shape)

    def _plain(self, point: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
        """What :meth:`origin` projects: the first unit vector, or ones on the diagonal of a matrix."""
        if self.ndim == 0:
            return torch.zeros((), dtype=dtype, device=device)
        columns = torch.eye(*(point if self.ndim > 1 else (*point, 1)), dtype=dtype, device=device)
        return columns if self.ndim > 1 else columns[:, 0]

    def _size(self, *size: Any) -> tuple[int, ...]:
        shape = tuple(size2shape(*size))
        self._assert_check_shape(shape, "size")
        return shape

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        wanted = self.point_shape
        if wanted is not None:
            if len(shape) < self.ndim or tuple(shape[len(shape) - self.ndim :]) != wanted:
                return (
                    False,
                    f"{name}: {self.name} wants shape (..., {', '.join(map(str, wanted))}), got {tuple(shape)}",
                )
        elif len(shape) < self.ndim:
            return False, f"{name}: {self.name} wants {self.ndim} point dimensions, got shape {tuple(shape)}"
        return True, None

    def _close(self, value: Tensor, wanted: Tensor, what: str, atol: float, rtol: float) -> tuple[bool, str | None]:
        if torch.allclose(value, wanted, atol=atol, rtol=rtol):
            return True, None
        worst = (value - wanted).abs().max().item()
        return False, f"{self.name}: {what} (largest deviation {worst:.3g})"
