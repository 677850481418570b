"""Data sets that dipy fetches, from a server that is made here or is away."""

import hashlib
import io
import urllib.error

import numpy as np
import pytest
from dipy.data import fetcher

from manifoldnet.data import cached, get, load_diffusion
from manifoldnet.errors import InputError


@pytest.fixture
def server(tmp_path, monkeypatch):
    """What dipy gets from the net for ``stanford-hardi``, {address: bytes}, and how often it asked."""
    contents, asked = {}, []

    def urlopen(address, timeout):
        asked.append(address)
        if address not in contents:
            raise urllib.error.URLError("Name or service not known")
        stream = io.BytesIO(contents[address])
        stream.headers = {"content-length": str(len(contents[address]))}
        return stream

    names = ["HARDI150.nii.gz", "HARDI150.bval", "HARDI150.bvec"]
    payloads = [b"an image", b"0 2000\n", b"0 1\n0 0\n0 0\n"]
    fetch = fetcher._make_fetcher(
        "fetch_stanford_hardi", tmp_path / "dipy", "https://nowhere.invalid/", ["a", "b", "c"], names,
        md5_list=[hashlib.md5(payload).hexdigest() for payload in payloads],
    )  # fmt: skip
    monkeypatch.setattr(fetcher, "urlopen", urlopen)
    monkeypatch.setattr(fetcher.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(fetcher, "fetch_stanford_hardi", fetch)
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))
    addresses = [f"https://nowhere.invalid/{name}" for name in "abc"]
    return contents, asked, dict(zip(addresses, payloads, strict=True))


def test_fetched_once_and_checked(server, tmp_path):
    contents, asked, payloads = server
    contents.update(payloads)
    lines = []
    folder = get("stanford-hardi", progress=lines.append)
    assert folder == tmp_path / "data" / "stanford-hardi" == cached("stanford-hardi")
    assert (folder / "dwi.nii.gz").read_bytes() == b"an image"
    np.testing.assert_array_equal(np.loadtxt(folder / "dwi.bval"), [0, 2000])
    assert "stanford-hardi: fetching with dipy==1.12.1" in lines
    count = len(asked)
    get("stanford-hardi")
    assert len(asked) == count == 3
    (folder / "dwi.bvec").write_text("forged")
    assert cached("stanford-hardi") is None
    get("stanford-hardi")
    assert len(asked) == 3  # dipy has its own copy
    assert (folder / "dwi.bvec").read_bytes() == payloads["https://nowhere.invalid/c"]


@pytest.mark.parametrize("there", [0, 2])
def test_no_network_leaves_nothing(server, tmp_path, there):
    contents, _, payloads = server
    contents.update(list(payloads.items())[:there])
    with pytest.raises(InputError, match=r"stanford-hardi: dipy cannot fetch it; is there a network\? \(") as error:
        get("stanford-hardi")
    assert "\n" not in str(error.value)
    assert cached("stanford-hardi") is None
    assert list((tmp_path / "data").iterdir()) == []


def test_other_bytes_are_refused(server):
    contents, _, payloads = server
    contents.update({**payloads, "https://nowhere.invalid/b": b"0 1000\n"})
    with pytest.raises(InputError, match=r"dipy cannot fetch it.*md5"):
        get("stanford-hardi")


def test_the_installed_one(tmp_path):
    series = load_diffusion("small-101d", cache=tmp_path)
    assert series.data.shape == (6, 10, 10, 102)
    assert series.bvals.shape == (102,)
    assert 4000 < series.bvals.max() < 4200
    lengths = np.linalg.norm(series.bvecs, axis=1)
    assert ((np.abs(lengths - 1) < 0.01) | (series.bvals == 0)).all()
