"""Curvature, transport and long optimisation measured from exp, log and dist alone."""

import geoopt
import torch


def rng(seed):
    return torch.Generator().manual_seed(seed)


def orthonormal_pair(space, x, u, v):
    """u and v made orthonormal in the metric at x."""
    u = u / space.norm(x, u, keepdim=True)
    v = v - space.inner(x, u, v, keepdim=True) * u
    return u, v / space.norm(x, v, keepdim=True)


def sectional_curvature(space, x, u, v, step=2e-2):
    """K of the plane of orthonormal u and v from d(exp su, exp sv)^2 = s^2 |u - v|^2 - K s^4 / 3 + O(s^6).

    The odd powers cancel between v and -v.
    """
    squares = [space.dist2(space.expmap(x, step * u), space.expmap(x, sign * step * v)) for sign in (1, -1)]
    return -3 * (0.5 * sum(squares) - 2 * step**2) / step**4


def pole_ladder(space, x, y, v, rungs):
    """Parallel transport of v along the geodesic from x to y, of order 2 in the number of rungs (Pennec 2018)."""
    times = torch.linspace(0, 1, 2 * rungs + 1, dtype=x.dtype).tolist()
    path = [space.geodesic(x, y, t) for t in times]
    tip = space.expmap(x, v / rungs)
    for k in range(rungs):
        tip = space.geodesic(tip, path[2 * k + 1], 2.0)
        # the reflected vector points back: reflect it at the end of the rung
        tip = space.geodesic(tip, path[2 * k + 2], 2.0)
    return rungs * space.logmap(y, tip)


def constraint_error_after_momentum_steps(space, x, steps=10_000):
    """Largest distance to the projection after float32 steps with gradients that jump."""
    parameter = geoopt.ManifoldParameter(x.clone(), manifold=space)
    optimiser = geoopt.optim.RiemannianSGD([parameter], lr=2e-2, momentum=0.9)
    generator = rng(7)
    for _ in range(steps):
        parameter.grad = torch.randn(x.shape, generator=generator)
        optimiser.step()
    x = parameter.detach()
    assert x.isfinite().all()
    return (x.double() - space.projx(x.double())).abs().max().item()
