"""The public maps of a space, of its action and of the group that acts, with arguments on which to call them."""

import torch
from law_cases import F64, coordinates, near, points, tangents

from manifoldnet.manifolds import LieGroup


def arguments(space, *batch, dtype=F64):
    """Two points x and y, tangent vectors u at x, coordinates v and w, and group elements g and h, each of a batch."""
    group = space.action.group
    x = points(space, *batch, dtype=dtype)
    v, w = (coordinates(group, *batch, scale=0.4, dtype=dtype, seed=seed) for seed in (3, 4))
    return {
        "x": x,
        "y": near(space, x, 1.0),
        "u": tangents(space, x, 0.7),
        "v": v,
        "w": w,
        "g": group.exp(v),
        "h": group.exp(w),
        "m": group.hat(v),
    }


def trailing(space):
    """Number of dimensions of each argument that are not batch dimensions."""
    group = space.action.group
    v = torch.zeros(group.dim)
    dims = {"x": space.ndim, "y": space.ndim, "u": space.ndim, "v": 1, "w": 1}
    return {**dims, "g": group.exp(v).dim(), "h": group.exp(v).dim(), "m": group.hat(v).dim()}


def public_maps(space):
    """{name: (map, names of its arguments)}."""
    action, group = space.action, space.action.group
    maps = {
        "expmap": (space.expmap, "xu"),
        "logmap": (space.logmap, "xy"),
        "dist": (space.dist, "xy"),
        "dist2": (space.dist2, "xy"),
        "inner": (space.inner, "xu"),
        "norm": (space.norm, "xu"),
        "transp": (space.transp, "xyu"),
        "proju": (space.proju, "xu"),
        "projx": (space.projx, "x"),
        "egrad2rgrad": (space.egrad2rgrad, "xu"),
        "retr": (space.retr, "xu"),
        "geodesic": (lambda x, y: space.geodesic(x, y, 0.3), "xy"),
        "act": (action.act, "gx"),
        "act_exp": (action.act_exp, "vx"),
        "tangent": (action.tangent, "vx"),
        "lift": (space.lift, "xu"),
        "exp": (group.exp, "v"),
        "compose": (group.compose, "gh"),
        "inverse": (group.inverse, "g"),
        "hat": (group.hat, "v"),
        "vee": (group.vee, "m"),
        "bracket": (group.bracket, "vw"),
        "Ad": (group.Ad, "gv"),
        "dexp": (group.dexp, "vw"),
        "dexpinv": (group.dexpinv, "vw"),
        "dexpinv of order 4": (lambda v, w: group.dexpinv(v, w, 4), "vw"),
    }
    if isinstance(group, LieGroup):
        maps["log"] = (group.log, "g")
    return maps
