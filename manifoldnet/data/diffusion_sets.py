"""The diffusion MRI data sets."""

import math

from manifoldnet.data.dataset import Dataset, Member

_MDT = "mdt/data/mdt_example_data"
_MDT_WHEEL = "8a3351be197a25a60c45cdbd97e88c13d39a15c0c4b08bdd06ef475fb3e9546a"
_MDT_LICENCE = "LGPL-3.0-or-later (the package; the images have no licence of their own)"
_MDT_CITATION = "Harms, Fritz, Tobisch, Goebel, Roebroeck 2017, NeuroImage 155:82-96"

DIFFUSION_SETS = (
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
        name="nlsam",
        title="Whole-brain diffusion MRI, 1.2 mm, 40 directions at b = 1000",
        package="nlsam",
        version="1.0",
        archive="sdist",
        archive_sha256="dd5b086f1bc0da16591de30f67ffc0fc37f0ae2900f38fc2571d909db5740178",
        members=(
            Member(
                "nlsam-1.0/example/dwi.nii.gz",
                "309927deb52e06c4f85fd70ca1d08423165f79bf02d67f875aae55d549c0596b",
                "dwi.nii.gz",
            ),
            Member(
                "nlsam-1.0/example/mask.nii.gz",
                "44483a5699edb50c5161c2a93e5ec9640c7c92f1df781c1c8bbf2ebc8d236108",
                "mask.nii.gz",
            ),
            Member(
                "nlsam-1.0/example/bvals",
                "6e44f673f841976cd52c5dc06bedf384b39ffbe8cf0fc9ad5845d067395274f0",
                "dwi.bval",
            ),
            Member(
                "nlsam-1.0/example/bvecs",
                "53835d6f5802c0de20c423dffe8a888bbccb0fbc04441906a213db72daaee59c",
                "dwi.bvec",
            ),
        ),
        licence="GPL-3.0-or-later (the package; the image has no licence of its own: do not redistribute)",
        citation="St-Jean, Coupé, Descoteaux 2016, Medical Image Analysis 32:115-130",
        form="NIfTI (192, 192, 96, 41) uint16 + mask + bval + bvec",
        megabytes=42.3,
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
    Dataset(
        name="small-101d",
        title="A 6 x 10 x 10 block of diffusion MRI, 101 b-values from 300 to 4100",
        package="dipy",
        version="1.12.1",
        archive="installed",
        archive_sha256="",
        members=(
            Member(
                "data/files/small_101D.nii.gz",
                "b96a6c7f60c35f1fa85459017e42d31fea5aebfdc9de03df95564d8407dbd402",
                "dwi.nii.gz",
            ),
            Member(
                "data/files/small_101D.bval",
                "18f43dded4f1c463d0d7c225c12cd5e4e60bb5035f888145ede905914c84648f",
                "dwi.bval",
            ),
            Member(
                "data/files/small_101D.bvec",
                "4a161eb1cd6f7815762482c88d0a3525d47cc3c7df92cbbdfac2abfac456bfc2",
                "dwi.bvec",
            ),
        ),
        licence="BSD-3-Clause",
        citation="Garyfallidis et al. 2014, Frontiers in Neuroinformatics 8:8",
        form="NIfTI (6, 10, 10, 102) uint16 + bval + bvec",
        megabytes=0.0,
    ),
    Dataset(
        name="stanford-hardi",
        title="Whole-brain diffusion MRI, 150 directions at b = 2000",
        package="dipy",
        version="1.12.1",
        archive="dipy",
        archive_sha256="",
        members=(
            Member("HARDI150.nii.gz", "", "dwi.nii.gz"),
            Member("HARDI150.bval", "", "dwi.bval"),
            Member("HARDI150.bvec", "", "dwi.bvec"),
        ),
        licence="not stated by dipy: see the page of the data",
        citation="Rokem, Yeatman, Pestilli, Kay, Mezer, van der Walt, Wandell 2015, PLoS ONE 10:e0123272",
        form="NIfTI + bval + bvec",
        megabytes=math.nan,
    ),
    Dataset(
        name="sherbrooke-3shell",
        title="Whole-brain diffusion MRI, 192 directions on three shells",
        package="dipy",
        version="1.12.1",
        archive="dipy",
        archive_sha256="",
        members=(
            Member("HARDI193.nii.gz", "", "dwi.nii.gz"),
            Member("HARDI193.bval", "", "dwi.bval"),
            Member("HARDI193.bvec", "", "dwi.bvec"),
        ),
        licence="not stated by dipy: see the page of the data",
        citation="Garyfallidis et al. 2014, Frontiers in Neuroinformatics 8:8",
        form="NIfTI + bval + bvec",
        megabytes=math.nan,
    ),
)
