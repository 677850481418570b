"""The cache: whole or absent, checked each time, fetched once."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from manifoldnet.data import DATASETS, Member, cached, fetch, get
from manifoldnet.errors import InputError


def reverse(content, target):
    np.savez(target, reversed=np.frombuffer(content, dtype=np.uint8)[::-1])


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A registered data set of two members, one copied and one converted, and the count of its downloads."""
    contents = {"a": b"first", "b": b"second"}

    def hashed(name):
        return hashlib.sha256(contents[name]).hexdigest()

    dataset = dataclasses.replace(
        DATASETS["watch"],
        name="toy",
        members=(
            Member("a", hashed("a"), "a.txt"),
            Member("b", hashed("b"), "b.npz", reverse),
        ),
    )
    monkeypatch.setitem(DATASETS, "toy", dataset)
    downloads = []

    def download(wanted, folder):
        downloads.append(wanted.name)
        return folder / "archive"

    monkeypatch.setattr(fetch, "download", download)
    monkeypatch.setattr(fetch, "read_member", lambda archive, name: contents[name])
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path))
    return contents, downloads


def test_fetched_once(toy, tmp_path):
    contents, downloads = toy
    assert cached("toy") is None
    lines = []
    folder = get("toy", progress=lines.append)
    assert folder == tmp_path / "data" / "toy"
    assert (folder / "a.txt").read_bytes() == contents["a"]
    with np.load(folder / "b.npz", allow_pickle=False) as data:
        assert data["reversed"].tobytes() == b"dnoces"
    assert any("seglearn==1.2.5" in line for line in lines)
    assert get("toy") == folder == cached("toy")
    assert downloads == ["toy"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]


@pytest.mark.parametrize("name", ["a.txt", "b.npz", "manifest.json"])
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_copy_is_fetched_anew(toy, name, damage):
    contents, downloads = toy
    path = get("toy") / name
    if damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.unlink()
    assert cached("toy") is None
    assert (get("toy") / "a.txt").read_bytes() == contents["a"]
    assert downloads == ["toy", "toy"]


def test_a_changed_copied_file_is_found_even_if_the_manifest_agrees(toy):
    folder = get("toy")
    (folder / "a.txt").write_bytes(b"forged")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["a.txt"] = hashlib.sha256(b"forged").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert cached("toy") is None


def test_a_new_revision_or_version_is_fetched_anew(toy, monkeypatch):
    get("toy")
    monkeypatch.setattr(fetch, "REVISION", fetch.REVISION + 1)
    assert cached("toy") is None
    get("toy")
    monkeypatch.setitem(DATASETS, "toy", dataclasses.replace(DATASETS["toy"], version="9"))
    assert cached("toy") is None


def test_a_wrong_member_leaves_nothing(toy, tmp_path):
    contents, _ = toy
    contents["b"] = b"other"
    with pytest.raises(InputError, match=r"toy: b: sha256 is .*, expected .*nothing was read") as caught:
        get("toy")
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_wrong_member_is_not_converted(toy, monkeypatch):
    contents, _ = toy
    contents["b"] = b"other"

    def boom(content, target):
        raise AssertionError("converted before it was checked")

    members = DATASETS["toy"].members
    changed = (members[0], dataclasses.replace(members[1], convert=boom))
    monkeypatch.setitem(DATASETS, "toy", dataclasses.replace(DATASETS["toy"], members=changed))
    with pytest.raises(InputError, match="sha256"):
        get("toy")


def test_another_process_may_be_first(toy, monkeypatch):
    """The folder appears between the check and the rename; the finished copy is used."""
    contents, _ = toy
    first = get("toy")
    real = fetch._is_whole
    # the first question is answered "no", later ones truly
    calls = []

    def whole(*arguments):
        calls.append(1)
        return len(calls) > 1 and real(*arguments)

    monkeypatch.setattr(fetch, "_is_whole", whole)
    assert get("toy") == first
    assert (first / "a.txt").read_bytes() == contents["a"]


def test_the_cache_argument_goes_before_the_environment(toy, tmp_path):
    other = tmp_path / "other"
    assert get("toy", cache=other) == other / "data" / "toy"
    assert cached("toy") is None


def test_a_cache_that_is_a_file(toy, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(InputError, match=r"cannot be written .* set MANIFOLDNET_CACHE"):
        get("toy", cache=path)


def test_unknown_name():
    with pytest.raises(InputError, match=r"no data set 'Watch'; there are .*watch, basic-motions"):
        get("Watch")
    with pytest.raises(InputError, match="no data set"):
        cached("nothing")
