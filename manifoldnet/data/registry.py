"""The data sets: which package of the registry carries each, and the hashes that its bytes must have."""

from manifoldnet.data.dataset import Dataset, Member
from manifoldnet.data.diffusion_sets import DIFFUSION_SETS
from manifoldnet.data.recordings import FORMATS, RECORDINGS
from manifoldnet.errors import InputError

_ALL = (
    *DIFFUSION_SETS,
    *RECORDINGS,
    Dataset(
        name="hologram",
        title="Off-axis hologram of one cell: a measured circle-valued image",
        package="qpretrieve",
        version="0.4.0",
        archive="sdist",
        archive_sha256="f6d6371592e988175f3f9aba4f8aa93d98ed0e5331cfae0fc0f41640223a4151",
        members=(
            Member(
                "qpretrieve-0.4.0/examples/data/hologram_cell.npz",
                "3cc5a7926b40940072eeebac2f29f655b83c85757d5cbb0ec5602dd221a900a9",
                "hologram.npz",
            ),
        ),
        licence="MIT",
        citation="Schürmann, Scholze, Müller, Chan, Ekpenyong, Chalut, Guck 2015, Methods Cell Biol. 125:143",
        form="npz, two images (200, 210) uint8",
        megabytes=1.8,
    ),
    *FORMATS,
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def named(name: str) -> Dataset:
    """The data set called ``name``; InputError with all the names where there is none."""
    try:
        return DATASETS[name]
    except KeyError:
        raise InputError(f"name: no data set {name!r}; there are {', '.join(DATASETS)}") from None
