"""The registry is consistent in itself and with the cards."""

import re
from pathlib import Path

import pytest
from dipy.data import fetcher

from manifoldnet.data import DATASETS

CARDS = Path(__file__).parents[2] / "datasets"
NAMES = [
    "tractseg",
    "nlsam",
    "mdt-b1k-b2k",
    "mdt-multishell",
    "small-64d",
    "small-101d",
    "stanford-hardi",
    "sherbrooke-3shell",
    "watch",
    "basic-motions",
    "hapt",
    "hologram",
    "bvh-samples",
    "imu-samples",
    "humanoid-motions",
]


def test_names():
    assert list(DATASETS) == NAMES
    assert all(name == dataset.name for name, dataset in DATASETS.items())


@pytest.fixture
def fetched_by_dipy(monkeypatch):
    """``fetched_by_dipy(name)``: what dipy would fetch, {file: (address, md5)}, and its folder."""
    monkeypatch.setattr(fetcher, "fetch_data", lambda *arguments, **options: None)
    return lambda name: getattr(fetcher, f"fetch_{name.replace('-', '_')}")()


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=list(DATASETS))
def test_entry(dataset, fetched_by_dipy):
    hashes = [member.sha256 for member in dataset.members]
    if dataset.archive == "dipy":
        files, _ = fetched_by_dipy(dataset.name)
        assert {member.path for member in dataset.members} == set(files)
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for _, md5 in files.values())
        assert set(hashes) == {""}
        hashes = []
    elif dataset.archive != "installed":
        hashes.append(dataset.archive_sha256)
        assert dataset.megabytes > 0
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
    targets = [member.target for member in dataset.members]
    assert len(set(targets)) == len(targets)
    assert all(Path(target).name == target and target != "manifest.json" for target in targets)
    for text in (dataset.title, dataset.licence, dataset.citation, dataset.form):
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("name", NAMES)
def test_card(name):
    dataset = DATASETS[name]
    card = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    assert f"`{dataset.source}`" in card
    assert dataset.archive_sha256 in card
    for part in ("**Source**", "**Licence**", "**Citation**", "**Units**", "**Fetched**", "## Known defects"):
        assert part in card
    assert f"manifoldnet data get {name}" in card
    assert all(f"`{member.target}`" in card for member in dataset.members)
    assert dataset.citation.split(" 20")[0] in card
    assert f"]({name}.md)" in (CARDS / "README.md").read_text(encoding="utf-8")


def test_no_card_without_an_entry():
    assert {path.stem for path in CARDS.glob("*.md")} == {*NAMES, "README"}


def test_what_must_not_be_passed_on_says_so():
    for name in ("hapt", "nlsam"):
        assert "redistribute" in DATASETS[name].licence
        assert "redistribute" in (CARDS / f"{name}.md").read_text(encoding="utf-8")
