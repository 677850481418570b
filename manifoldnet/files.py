"""Output files that are either whole or absent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from manifoldnet.errors import InputError


def existing(path: str | Path, what: str = "file") -> Path:
    """``path`` as a Path, or an InputError which says that there is no such ``what``."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {what}")
    return path


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside ``path`` (same name, other folder); rename it to ``path`` on success.

    If the body raises, nothing is left behind and an older file at ``path`` stays as it was.
    """
    with all_written_whole([path]) as (scratch,):
        yield scratch


@contextmanager
def all_written_whole(paths: Sequence[str | Path]) -> Iterator[list[Path]]:
    """As :func:`written_whole` for several files: every rename happens after every file was written."""
    targets = [Path(path) for path in paths]
    with ExitStack() as stack:
        scratch = []
        for target in targets:
            if not target.parent.is_dir():
                raise InputError(f"{target}: the folder {target.parent} does not exist")
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent, prefix=".manifoldnet-"))
            scratch.append(Path(folder) / target.name)
        yield scratch
        for source, target in zip(scratch, targets, strict=True):
            for part in sorted(source.parent.iterdir()):  # side files (a header) travel with the main one
                part.replace(target.parent / part.name)
