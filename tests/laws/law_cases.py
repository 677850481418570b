"""What the laws run over: every registered space, its group and its method, at random and at singular points."""

import math

import pytest
import torch

from manifoldnet.integrators import METHODS
from manifoldnet.manifolds import SPACES, SPD, Euclidean, LieGroup, Power, Product

F64 = torch.float64
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
lie_groups = {name: space for name, space in SPACES.items() if isinstance(space, LieGroup)}
every_lie_group = pytest.mark.parametrize("group", lie_groups.values(), ids=lie_groups.keys())
# the groups that act, which on SPD spaces is not the space itself
acting = {name: space.action.group for name, space in SPACES.items()}
every_acting_group = pytest.mark.parametrize("group", acting.values(), ids=acting.keys())
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
lie_methods = {name: method for name, method in METHODS.items() if method.is_lie}
every_lie_method = pytest.mark.parametrize("method", lie_methods.values(), ids=lie_methods.keys())
# where a test takes long, two methods are run every time and the others with -m slow
QUICK_METHODS = ("rkmk4", "cf4")
every_lie_method_at_length = pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=() if n in QUICK_METHODS else pytest.mark.slow, id=n) for n, m in lie_methods.items()],
)
COSTLY_METHODS = ("cg4", "cg5", "lie-midpoint", "lie-trapezoid", "lie-gauss4")
every_lie_method_costly_ones_slowly = pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=pytest.mark.slow if n in COSTLY_METHODS else (), id=n) for n, m in lie_methods.items()],
)
# methods of a vector space, Lie methods among them; those of momenta have laws of their own
vector_methods = {n: m for n, m in METHODS.items() if m.domain not in ("lie-poisson", "cotangent")}
every_vector_method = pytest.mark.parametrize("method", vector_methods.values(), ids=vector_methods.keys())
every_pair = pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.embedded_order], ids=[n for n, m in METHODS.items() if m.embedded_order]
)
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])


def rng(seed):
    return torch.Generator().manual_seed(seed)


def points(space, *batch, dtype=F64, seed=0):
    return space.random(*batch, *space.point_shape, dtype=dtype, generator=rng(seed))


def conjugate_radius(space):
    """No geodesic has conjugate points before: pi over the root of the largest curvature declared (Rauch 1951)."""
    upper = space.curvature_bounds()[1]
    return math.inf if upper <= 0 else math.pi / math.sqrt(upper)


def reach(space, x, length):
    """The length, shortened to stay well before the cut locus; of the batch's shape where the radius depends on x."""
    radius = torch.as_tensor(space.injectivity_radius(x), dtype=x.dtype)
    batch = x.shape[: x.dim() - space.ndim]
    # where the radius ends at singular matrices, float32 has no digits left of a metric at its very end
    share = 0.8 if conjugate_radius(space) == 0 else 0.96
    return torch.clamp(share * radius, max=length).expand(batch)


def tangents(space, x, length=None, seed=1):
    """Random tangent vectors at x, of the Riemannian length that :func:`reach` gives if there is one."""
    u = space.proju(x, torch.randn(x.shape, dtype=x.dtype, generator=rng(seed)))
    if length is None:
        return u
    scale = reach(space, x, length)[(...,) + (None,) * space.ndim]
    return u * (scale / space.norm(x, u, keepdim=True))


def near(space, x, length, seed=2):
    """Points at the distance from x that :func:`reach` gives."""
    return space.expmap(x, tangents(space, x, length, seed))


def coordinates(group, *batch, scale=1.0, dtype=F64, seed=3):
    """Random elements of the algebra."""
    return scale * torch.randn(*batch, group.dim, dtype=dtype, generator=rng(seed))


def close(value, wanted, tolerance):
    """The largest deviation is at most ``tolerance`` relative to the largest entry (but at least 1)."""
    assert value.shape == wanted.shape
    assert value.dtype == wanted.dtype
    if value.numel():
        worst = (value - wanted).abs().max().item()
        assert worst <= tolerance * max(1.0, wanted.abs().max().item()), f"largest deviation {worst:.3g}"


GAPS = (0.0, 1e-12, 1e-8, 1e-4)
ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.5, math.pi - 1e-6, math.pi)


def singular_matrices(n):
    """(m, n, n) SPD: the identity, pairs of eigenvalues 0, 1e-12, 1e-8 and 1e-4 apart, and all of them close."""
    basis = torch.linalg.qr(torch.randn(n, n, dtype=F64, generator=rng(4)))[0]
    rows = [torch.ones(n, dtype=F64)]
    for gap in GAPS:
        row = torch.linspace(1.0, 3.0, n, dtype=F64)
        row[0] = row[1] - gap
        rows += [row, 1 + gap * torch.arange(n, dtype=F64)]
    x = (basis * torch.stack(rows)[:, None, :]) @ basis.T
    return 0.5 * (x + x.mT)


def turning_directions(group):
    """(k, dim): turns in one plane, in two planes at once and in general, whose largest angle at time 1 is 1."""
    if group.hat(torch.zeros(group.dim)).shape != group.point_shape or group.ndim != 2:
        axis = torch.linspace(1.0, 2.0, group.dim, dtype=F64)
        return torch.stack([axis / axis.norm(), torch.eye(group.dim, dtype=F64)[-1]])
    n = group.point_shape[0]
    planes = torch.zeros(3, n, n, dtype=F64)
    planes[0, 1, 0] = planes[1, 1, 0] = planes[2, 2, 1] = 1.0
    planes[1, -1, -2] = 1.0 if n > 3 else 0.0
    general = torch.linspace(1.0, 2.0, group.dim, dtype=F64)
    angle = torch.linalg.eigvals(group.hat(general)).imag.max()
    return torch.cat([group.vee(planes - planes.mT), (general / angle)[None]])


def singular_generators(group, angles=ANGLES):
    """(m, dim): the turning directions by each angle."""
    return torch.cat([angle * turning_directions(group) for angle in angles])


def singular_geodesics(space):
    """(m, *point): along two special and one general direction from a plain point, to either side of the cut locus."""
    shape = space.point_shape
    plain = torch.zeros(shape, dtype=F64)
    start = space.projx(
        plain.index_fill(0, torch.tensor([0]), 1.0) if space.ndim == 1 else torch.eye(*shape, dtype=F64)
    )
    directions = [plain.clone() for _ in range(3)]
    directions[0][(-1,) + (0,) * (space.ndim - 1)] = 1.0
    if space.ndim == 2:  # both principal angles at once
        directions[1][-shape[1] :] = torch.eye(shape[1], dtype=F64).flip(0)
    else:
        directions[1][1] = 1.0
    directions[2] = torch.randn(shape, dtype=F64, generator=rng(4))
    radius = float(torch.as_tensor(space.injectivity_radius(start)))
    ends = (radius - 1e-6, radius) if math.isfinite(radius) else (3.0,)
    u = torch.stack([space.proju(start, d) for d in directions])
    u = u / space.norm(start, u, keepdim=True)
    return torch.cat([space.expmap(start, length * u) for length in (0.0, 1e-12, 1e-8, 1e-4, 0.5, *ends)])


def singular_points(space, dtype):
    """(m, *point): where formulas divide by zero: repeated eigenvalues, angles 0 and pi, and their surroundings."""
    if isinstance(space, SPD):
        return singular_matrices(space.n).to(dtype)
    if isinstance(space, Power):
        one = singular_points(space.space, dtype)
        return torch.stack([one.roll(-k, 0) for k in range(space.n)], 1)
    if isinstance(space, Product):
        factors = [singular_points(factor, dtype) for factor in space.spaces]
        count = max(map(len, factors))
        return space.join([f[torch.arange(count) % len(f)] for f in factors])
    if isinstance(space, Euclidean):
        return torch.zeros(1, *space.point_shape, dtype=dtype)
    if isinstance(space, LieGroup):
        return space.exp(singular_generators(space)).to(dtype)
    return singular_geodesics(space).to(dtype)
