"""File trees: a dataset's files in a folder, zip or tar archive; relative paths, with slashes."""

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from bpt_det.utils.errors import InputError, one_line, shorten

from .listing import list_folder
from .tar_files import TarArchive
from .zip_files import ZipArchive

# What reading a damaged file or decoding a damaged image raises.
UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's for broken PNG files
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    NotImplementedError,
    KeyError,
)
_ARCHIVES: dict[str, tuple[int, ZipArchive | TarArchive]] = {}
_SUFFIXES = (".zip", ".tar")  # of archives whose names may go on with a path inside
_INSIDE = re.compile(r"\.(zip|tar)/", re.IGNORECASE)
# By their first bytes, files that are read from their beginning alone, and what unpacks them.
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}


class FileTree:
    """The files below a folder, or below a folder inside an archive.

    Args:
        root: a folder, or the path of a zip or tar archive.
        prefix: folder inside the archive, with a closing slash, or "".
        advice: where the dataset comes from; it ends the error of a missing file.
    """

    def __init__(self, root: str | Path, prefix: str = "", advice: str = "") -> None:
        self.root = Path(root)
        self._base = self.root.as_posix().rstrip("/")
        self.prefix = prefix
        self.advice = advice

    def file_name(self, path: str) -> str:
        """Return the name under which `read_bytes` and `read_rgb` find a file."""
        return f"{self._base}/{self.prefix}{path}".rstrip("/")

    @property
    def files(self) -> frozenset[str]:
        """All files; hidden ones and what macOS adds to archives are left out."""
        return self._listing[0]

    @property
    def folders(self) -> frozenset[str]:
        """All folders, empty ones too."""
        return self._listing[1]

    @property
    def left_out(self) -> Counter[str]:
        """By kind, the number of files that are left out."""
        return self._listing[2]

    def inside(self, folder: str) -> "FileTree":
        """Return the tree below one of the folders."""
        if os.path.isdir(self.root):
            return FileTree(self.root / folder, advice=self.advice)
        return FileTree(self.root, f"{self.prefix}{folder}/", self.advice)

    @cached_property
    def _listing(self) -> tuple[frozenset[str], frozenset[str], Counter[str]]:
        if os.path.isdir(self.root):
            listing = list_folder(str(self.root))
        else:
            listing = archive(self.root).list_below(self.prefix)
        return frozenset(listing.files), frozenset(listing.folders), listing.left_out

    def holds(self, path: str) -> bool:
        """Say whether there is such a file, without listing a folder."""
        if os.path.isdir(self.root):
            return os.path.isfile(self.root / path)
        return path in self.files

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            InputError: it is missing or cannot be read.
        """
        if not self.holds(path):
            raise InputError(f"'{self.file_name(path)}' is missing; {self.advice}")
        return read_bytes(self.file_name(path))

    def require(self, paths: list[str], listed_in: str) -> None:
        """Check that all images that a list names are there.

        Raises:
            InputError: some are missing.
        """
        missing = [path for path in paths if path not in self.files]
        if missing:
            raise InputError(
                f"{len(missing)} of the {len(paths)} images of {listed_in} are missing below "
                f"'{self.file_name('')}': {shorten(missing)}; {self.advice}"
            )


def archive(path: str | Path) -> ZipArchive | TarArchive:
    """Return an open archive; of zip archives each process has its own, also after a fork.

    A forked process that read through its parent's handle would move the parent's file position.
    A tar archive that has changed is listed again.

    Raises:
        InputError: it is no archive, or one that is not read, see `ZipArchive` and `TarArchive`.
    """
    pid, name = os.getpid(), str(path)
    if name in _ARCHIVES:
        opened_by, opened = _ARCHIVES[name]
        if opened.is_current if isinstance(opened, TarArchive) else opened_by == pid:
            return opened
    is_tar = name.lower().endswith(".tar")
    try:
        _check_uncompressed(name)
        _ARCHIVES[name] = (pid, TarArchive(name) if is_tar else ZipArchive(name))
    except (OSError, zipfile.BadZipFile, struct.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{name}' cannot be read as a {'tar' if is_tar else 'zip'} archive "
            f"({one_line(error)}); download it again"
        ) from error
    return _ARCHIVES[name][1]


def _check_uncompressed(name: str) -> None:
    if not os.path.isfile(name):
        return
    with open(name, "rb") as stream:
        head = stream.read(8)
    for mark, program in _COMPRESSED.items():
        if head.startswith(mark):
            raise InputError(
                f"'{name}' is compressed as a whole, so no file in it can be read without all "
                f"before it; unpack that ({program}) and give the .tar file."
            )


def find_tree(path: str | os.PathLike) -> FileTree | None:
    """Return the tree of a folder, an archive, or a folder inside one; None: there is none.

    Raises:
        InputError: the archive cannot be read.
    """
    name = os.fspath(path)
    if os.path.isdir(name) or (name.lower().endswith(_SUFFIXES) and os.path.isfile(name)):
        return FileTree(name)
    if place := archive_at(name):
        outer, inner = place
        prefix = f"{inner.rstrip('/')}/"
        if any(member.startswith(prefix) for member in archive(outer).members):
            return FileTree(outer, prefix)
    return None


def is_file(path: str | os.PathLike) -> bool:
    """Whether there is a regular file of a name that `open_file` takes."""
    if place := archive_at(path):
        outer, inner = place
        return inner in archive(outer).members
    return os.path.isfile(path)


def archive_at(path: str | os.PathLike) -> tuple[str, str] | None:
    """Return the archive in a path and the path inside it; None: it is none of a file in one."""
    name = os.fspath(path)
    for match in _INSIDE.finditer(name):
        outer = name[: match.end() - 1]
        if os.path.isfile(outer):
            return outer, name[match.end() :]
    return None


def open_file(file_name: str | os.PathLike) -> BinaryIO:
    """Return an open file; ``ARCHIVE.zip/inner/path`` is read out of the archive, a tar as well.

    Only regular files are opened, so nothing waits for a pipe or a device.

    Raises:
        InputError: it is missing, no regular file, or cannot be read.
    """
    name = os.fspath(file_name)
    try:
        if place := archive_at(name):
            outer, inner = place
            return io.BytesIO(archive(outer).read(inner))
        mode = os.stat(name).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"
            raise InputError(f"'{name}' cannot be read (it is {kind}); give a regular file.")
        return open(name, "rb")
    except UNREADABLE as error:
        raise unreadable(name, error) from error


def read_bytes(file_name: str | os.PathLike) -> bytes:
    """Return a file's bytes, see `open_file`.

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        with open_file(file_name) as stream:
            return stream.read()
    except UNREADABLE as error:
        raise unreadable(file_name, error) from error


def unreadable(name: str | os.PathLike, error: Exception, kind: str = "") -> InputError:
    """Return the error of a file that cannot be read; an `InputError` stays as it is.

    Args:
        name: of the file.
        error: what reading it raised, one of `UNREADABLE`.
        kind: what the file is, before its name.
    """
    if isinstance(error, InputError):
        return error
    reason = one_line(error)
    return InputError(
        f"{kind}'{os.fspath(name)}' cannot be read ({reason}); restore the file or remove it."
    )


def file_status(file_name: str | os.PathLike) -> os.stat_result:
    """Return size and time of a file, or of the archive that it lies in.

    Raises:
        InputError: there is no such file.
    """
    path = Path(file_name)
    while True:
        try:
            return path.stat()
        except NotADirectoryError:  # inside an archive
            path = path.parent
        except OSError as error:
            raise InputError(f"'{file_name}' cannot be read ({error})") from error


def locate(root: str | Path, folder: str, anchors: tuple[str, ...], advice: str) -> FileTree:
    """Return the tree that holds one of the anchors: ``root``, or ``folder`` in it, or a zip.

    Inside an archive the anchor may lie in any folder; the topmost one counts.

    Raises:
        InputError: none of the places has one.
    """
    root = Path(root)
    for place in (root, root / folder, root / f"{folder}.zip"):
        if os.path.isdir(place) and any(os.path.exists(place / a) for a in anchors):
            return FileTree(place, advice=advice)
        if os.path.isfile(place):
            whole = FileTree(place, advice=advice)
            paths = whole.files | whole.folders
            prefixes = [
                path[: len(path) - len(anchor)]
                for anchor in anchors
                for path in paths
                if path == anchor or path.endswith(f"/{anchor}")
            ]
            if prefixes:
                return FileTree(place, min(prefixes, key=lambda p: (p.count("/"), p)), advice)
    problem = (
        "does not exist" if not os.path.exists(root) else f"holds none of {', '.join(anchors)}"
    )
    raise InputError(
        f"'{root}' {problem} (nor does '{folder}' or '{folder}.zip' in it); if it lies elsewhere, "
        f"name the folder as root or in the variable DETECTRON2_DATASETS; {advice}",
        parameter="root",
    )
