"""Which band of a file is what."""

import re
from pathlib import Path

from manifoldnet.errors import InputError
from manifoldnet.insar.raster import Raster

# what the description of a band says that it is
_ROLES = {
    "coherence": re.compile(r"coher|correl|\b(coh|corr?|cc)\b", re.IGNORECASE),
    "amplitude": re.compile(r"ampl|magnitude|\b(amp|mag)\b", re.IGNORECASE),
    "phase": re.compile(r"phase|interferogram|wrapped|\b(phs|unw|ifg)\b", re.IGNORECASE),
}


def roles_of(path: Path, raster: Raster, main: str) -> list[str | None]:
    """The role of every band; the only band of which nothing is known has the ``main`` role."""
    matches = [[role for role, words in _ROLES.items() if words.search(name)] for name in raster.names]
    roles = [match[0] if len(match) == 1 else None for match in matches]
    if main not in roles and roles.count(None) == 1:
        roles[roles.index(None)] = main
    if main not in roles or None in roles or len(set(roles)) < len(roles):
        raise InputError(
            f"{path}: {len(roles)} band(s) described as {list(raster.names)}; wanted one {main} band, "
            f"and further bands only where the descriptions say {', '.join(_ROLES)}, each once"
        )
    if len(roles) > 1 and raster.bands.dtype.kind == "c" and not raster.mixed:
        raise InputError(f"{path}: {len(roles)} complex bands; wanted one")
    return roles
