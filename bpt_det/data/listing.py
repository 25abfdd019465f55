"""Folder listings: regular files and folders, and a count of what is left out."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bpt_det.utils.errors import InputError

_MAX_VISITS = 16  # of one folder by different links
_MACOS = "__MACOSX"  # folder that macOS adds to archives
_OUTSIDE = re.compile(r"/|[A-Za-z]:|(.*/)?\.\.(/|$)")


@dataclass
class Listing:
    """What is below a folder: paths relative to it, with slashes.

    Attributes:
        files: regular files, and links to them.
        folders: all folders, empty ones too.
        left_out: by kind, what is neither.
    """

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)

    def add_parents(self) -> None:
        """Add the folders that files and folders lie in, which an archive need not name."""
        for path in self.files | self.folders:
            while (path := path.rpartition("/")[0]) and path not in self.folders:
                self.folders.add(path)


def list_folder(root: str, *, recursive: bool = True) -> Listing:
    """List a folder; a link that leads back to a folder above it is not followed.

    Args:
        root: path of the folder.
        recursive: list its subfolders too.

    Raises:
        InputError: a folder cannot be read, or links lead to one over and over.
    """
    listing = Listing()
    visits: Counter[tuple[int, int]] = Counter()
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        top, above = waiting.pop()
        folder = os.path.join(root, top)
        try:
            status = os.stat(folder)
            entries = list(os.scandir(folder))
        except OSError as error:
            raise InputError(
                f"folder '{folder}' cannot be read ({error.strerror}); make it readable"
            ) from error
        identity = (status.st_dev, status.st_ino)
        visits[identity] += 1
        if identity in above:
            listing.left_out["link in a circle"] += 1
            listing.folders.discard(top.rstrip("/"))
            continue
        if visits[identity] > _MAX_VISITS:
            raise InputError(
                f"folder '{folder}' is reached by more than {_MAX_VISITS} links; remove links that "
                "lead in circles"
            )
        for entry in entries:
            kind = _kind(entry)
            if kind == "file":
                listing.files.add(top + entry.name)
            elif kind == "folder":
                listing.folders.add(top + entry.name)
                if recursive:
                    waiting.append((f"{top}{entry.name}/", above | {identity}))
            else:
                listing.left_out[kind] += 1
    return listing


def is_hidden(path: str) -> bool:
    """Whether a file is hidden, or one of those that macOS adds to archives."""
    return any(part.startswith(".") or part == _MACOS for part in path.split("/"))


def is_outside(path: str) -> bool:
    """Whether a path in an archive leads out of it."""
    return _OUTSIDE.match(path) is not None


def nearest_member(name: str, members: Iterable[str]) -> str:
    """Return that an archive has no member of a name, and which one has its last part."""
    last = posixpath.basename(name)
    near = next((m for m in members if posixpath.basename(m) == last), None)
    return f"there is no '{name}' in the archive" + (f", but '{near}'" if near and last else "")


def _kind(entry: os.DirEntry) -> str:
    if is_hidden(entry.name):
        return "hidden"
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError:  # a link to nothing or to itself
        return "broken link"
    return "pipe or device"


def describe_left_out(left_out: Counter[str]) -> str:
    """Return counts by kind as text: ``2 .heic, 1 hidden``."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
