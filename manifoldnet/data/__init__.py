"""Public data sets: what they are, where they come from, and a checked copy of each in a cache folder.

>>> from manifoldnet.data import get, load_watch
>>> get("watch")  # doctest: +SKIP
PosixPath('/home/me/.cache/manifoldnet/data/watch')
"""

from manifoldnet.data.dataset import Dataset, Member
from manifoldnet.data.fetch import cached, get
from manifoldnet.data.load import (
    Diffusion,
    Hapt,
    Hologram,
    Watch,
    load_diffusion,
    load_hapt,
    load_hologram,
    load_watch,
)
from manifoldnet.data.registry import DATASETS

__all__ = [
    "DATASETS",
    "Dataset",
    "Diffusion",
    "Hapt",
    "Hologram",
    "Member",
    "Watch",
    "cached",
    "get",
    "load_diffusion",
    "load_hapt",
    "load_hologram",
    "load_watch",
]
