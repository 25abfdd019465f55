"""Tar archives of given contents."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_tar(
    path: Path, contents: Mapping[str, bytes] | Iterable[tuple[str, bytes]], **options
) -> Path:
    """Write an archive of regular files, in the order of their contents by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = contents.items() if isinstance(contents, Mapping) else contents
    with tarfile.open(path, "w", **options) as file:
        for name, content in pairs:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path
