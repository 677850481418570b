"""How long a step of the explicit Euler method along geodesics may be before it expands distances."""

from __future__ import annotations

import math
from collections.abc import Callable

from manifoldnet.manifolds import SPD, Circle, Euclidean, Grassmann, Hyperbolic, Power, Product, Space, Sphere
from manifoldnet.manifolds.rotations import Rotations

BISECTIONS = 100


def geodesic_step_bound(
    mu: float,
    L: float,
    speed: float,
    curvature: tuple[float, float],
    bending: float | None = None,
    is_symmetric: bool = True,
) -> float:
    """The longest h for which x -> exp_x(h X(x)) is shown not to expand, X = -grad V.

    On a geodesically convex region let mu <= Hess V <= L, |X| <= speed, and the sectional curvatures lie in
    ``curvature``. A curve of starting points with the velocity w has end points with the velocity J(1), J being the
    Jacobi field J'' + R(J, v)v = 0, J(0) = w, J'(0) = -S w along v = h X with S = h Hess V (do Carmo 1992, chapter 5).
    If |J(1)| <= |w| always, the images of minimal geodesics are not longer than these, and no distance grows
    (Ghirardelli, Owren and Celledoni 2025 ask the same question, for cocoercive fields).

    On a symmetric space R is parallel, and J(1) = C(Q) w - E(Q) S w in a parallel frame, with Q = -R(., v)v, whose
    eigenvalues z lie in [z_0, z_1], z_0 = -h^2 speed^2 max(k_high, 0), z_1 = h^2 speed^2 max(-k_low, 0), and
    C(z) = cosh sqrt(z), E(z) = sinh sqrt(z) / sqrt(z), which are cos and sinc for z < 0.

    * First condition. With m = h mu, l = h L, c = (l + m)/2: |S - c| <= (l - m)/2, so that
      |C - E S| <= max_z |C(z) - c E(z)| + max_z E(z) (l - m)/2. For c <= 2 and z_0 >= -(pi/2)^2 both functions grow
      with z (C' = E/2, and E'/E <= 0.203), so J(1) is not longer than w if C(z_1) - m E(z_1) <= 1 and
      c E(z_0) - C(z_0) + E(z_1) (l - m)/2 <= 1. With a = sqrt(z_1) the first of these is h mu >= a tanh(a/2), which no
      condition on mu, speed and curvature alone can improve: Hess V = mu across v attains it. It also says that
      for negative curvature mu = 0 allows no step: parallel motion spreads out. The second is h L <= 2 where it is
      flat. Every term is monotone in h and in |X|.
    * Second condition, for curvature <= 0, where -R(., X)X <= bending Hess V. Let f(a) = a coth a - (a / sinh a)^2
      <= 2 a^2 / 3. If S >= f(sqrt(Q)), then S = f(sqrt(Q)) + S' with 0 <= S' <= l, and C - E f(sqrt(Q)) = 1/E. So
      |J(1)|^2 = |w/E|^2 - 2 <w, S'w> + |E S'w|^2 <= |w|^2 - (2 - E(z_1)^2 l) <w, S'w> <= |w|^2 for l E(z_1)^2 <= 2. As
      S >= Q / (h bending), it suffices that h bending <= 3/2.

    On other spaces, with a = h speed sqrt(max |curvature|), |J(1) - (w + J'(0))| <= (cosh a - 1)|w| +
    (sinh a / a - 1)|J'(0)| (Buser and Karcher 1981, section 6.3), so that
    max(|1 - h mu|, |1 - h L|) + cosh a - 1 + h L (sinh a / a - 1) <= 1 suffices.

    Args:
        mu: >= 0.
        L: >= mu.
        speed: >= 0.
        curvature: bounds from below and above, as :meth:`Space.curvature_bounds` gives them.
        bending: b >= 0 such that -R(w, X, X, w) <= b Hess V(w, w) for every w; None where there is none.
        is_symmetric: whether the curvature tensor is parallel.

    Returns:
        0 where nothing can be said, 2 / L where it is flat or the speed is 0; infinity for L = 0 there.

    Raises:
        ValueError: for bounds that are negative or in the wrong order.
    """
    if not 0 <= mu <= L:
        raise ValueError(f"mu, L: wanted 0 <= mu <= L, got mu={mu} and L={L}")
    if not speed >= 0:
        raise ValueError(f"speed: wanted a bound >= 0, got {speed}")
    low, high = curvature
    if not low <= high:
        raise ValueError(f"curvature: wanted a lower and an upper bound, got {curvature}")
    if bending is not None and not bending >= 0:
        raise ValueError(f"bending: wanted a number >= 0 or None, got {bending}")
    flat = math.inf if L == 0 else 2 / L
    if speed == 0 or low == high == 0:
        return flat
    if not all(map(math.isfinite, (L, speed, low, high))):
        return 0.0
    negative, positive = speed**2 * max(-low, 0.0), speed**2 * max(high, 0.0)
    largest = flat if math.isfinite(flat) else math.pi / speed / math.sqrt(max(-low, high))

    def holds_by_bounds(h: float) -> bool:
        m, length = h * mu, h * L
        c, half = 0.5 * (length + m), 0.5 * (length - m)
        z0, z1 = -(h**2) * positive, h**2 * negative
        if -z0 > (0.5 * math.pi) ** 2:
            return False
        return _rise(z1) - m * _sinhc(z1) <= 0 and c * _sinhc(z0) - _rise(z0) + _sinhc(z1) * half <= 2

    def holds_by_bending(h: float) -> bool:
        if bending is None or high > 0:
            return False
        return h * bending <= 1.5 and h * L * _sinhc(h**2 * negative) ** 2 <= 2

    def holds_anywhere(h: float) -> bool:
        z = h**2 * max(negative, positive)
        spread = max(abs(1 - h * mu), abs(1 - h * L)) - 1
        return spread + _rise(z) + h * L * (_sinhc(z) - 1) <= 0

    if not is_symmetric:
        return _largest(holds_anywhere, largest)
    return max(_largest(holds_by_bounds, largest), _largest(holds_by_bending, largest))


def space_step_bound(space: Space, mu: float, L: float, speed: float, bending: float | None = None) -> float:
    """:func:`geodesic_step_bound` with the curvature of the space; 0 on one that declares no finite bounds of it."""
    return geodesic_step_bound(mu, L, speed, space.curvature_bounds(), bending, is_symmetric_space(space))


def is_symmetric_space(space: Space) -> bool:
    """Whether the space is known to be symmetric in the sense of Cartan, so that its curvature tensor is parallel."""
    if isinstance(space, Product):
        return all(map(is_symmetric_space, space.spaces))
    if isinstance(space, Power):
        return is_symmetric_space(space.space)
    if isinstance(space, SPD):
        return space.metric != "bures-wasserstein"
    return isinstance(space, Euclidean | Circle | Rotations | Sphere | Hyperbolic | Grassmann)


def _rise(z: float) -> float:
    """cosh(sqrt(z)) - 1, also for negative z, without cancellation."""
    if z >= 0:
        return 2 * math.sinh(0.5 * math.sqrt(z)) ** 2 if z < 1e5 else math.inf
    return -2 * math.sin(0.5 * math.sqrt(-z)) ** 2


def _sinhc(z: float) -> float:
    """sinh(sqrt(z)) / sqrt(z), also for negative z."""
    if abs(z) < 1e-6:
        return 1 + z / 6
    root = math.sqrt(abs(z))
    if z < 0:
        return math.sin(root) / root
    return math.sinh(root) / root if z < 1e5 else math.inf


def _largest(holds: Callable[[float], bool], upper: float) -> float:
    """The largest h in [0, upper] up to which the condition holds, rounded down; 0 if it fails at every h > 0."""
    if holds(upper):
        return upper
    low, high = 0.0, upper
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if holds(middle):
            low = middle
        else:
            high = middle
    # where h is tiny, rounding meets a condition that fails for every h > 0
    return low if low > 1e-9 * upper else 0.0
