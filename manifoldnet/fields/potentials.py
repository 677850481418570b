"""The learned potentials that each space has, by name."""

from __future__ import annotations

from manifoldnet.fields.busemann import HyperbolicBusemann, SPDBusemann
from manifoldnet.fields.log_trace import ConvexLogTrace, LogTrace
from manifoldnet.fields.scores import LinearScores, Scores
from manifoldnet.manifolds import SPD, Hyperbolic, Space


def potentials_of(space: Space) -> tuple[str, ...]:
    """Names of the potentials that the space has, "default" first."""
    if isinstance(space, SPD) and space.metric == "affine-invariant":
        return "default", "log-euclidean", "log-trace", "busemann"
    # singular matrices are at a finite Bures-Wasserstein distance: these potentials would drive flows into them
    if isinstance(space, SPD) and space.metric != "bures-wasserstein":
        return "default", "log-euclidean", "log-trace"
    if isinstance(space, Hyperbolic):
        return "default", "busemann"
    return ("default",)


def scores_of(space: Space, potential: str) -> Scores:
    """The scores of the potential of that name.

    Raises:
        ValueError: if the space has none of that name.
    """
    names = potentials_of(space)
    if potential not in names:
        wanted = ", ".join(map(repr, names))
        raise ValueError(f"potential: {space.name} has {wanted}, got {potential!r}")
    if potential in ("default", "log-euclidean"):
        return LinearScores(space)
    if isinstance(space, Hyperbolic):
        return HyperbolicBusemann(space)
    assert isinstance(space, SPD)
    if potential == "busemann":
        return SPDBusemann(space)
    return ConvexLogTrace(space) if space.metric == "affine-invariant" else LogTrace(space)
