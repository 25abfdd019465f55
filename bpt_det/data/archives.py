"""File trees: the files of a dataset in a folder or a zip archive; relative paths, with slashes."""

import os
import re
import struct
import zipfile
import zlib
from functools import cached_property
from pathlib import Path

from PIL import Image

from bpt_det.utils.errors import InputError, one_line, shorten

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
_ARCHIVES: dict[str, tuple[int, zipfile.ZipFile]] = {}


class FileTree:
    """The files below a folder, or below a folder inside a zip archive.

    Args:
        root: a folder, or the path of a zip archive.
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

    @cached_property
    def files(self) -> frozenset[str]:
        """All files; hidden ones and what macOS adds to archives are left out."""
        return self._listing[0]

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders, empty ones too."""
        return self._listing[1]

    @cached_property
    def _listing(self) -> tuple[frozenset[str], frozenset[str]]:
        if self.root.is_dir():
            files, folders = _list_folder(str(self.root))
        else:
            names = archive(self.root).namelist()
            inside = [n.removeprefix(self.prefix) for n in names if n.startswith(self.prefix)]
            files = {name for name in inside if name and not name.endswith("/")}
            folders = _folders_above(files | {name for name in inside if name.endswith("/")})
        return _visible(files), _visible(folders)

    def holds(self, path: str) -> bool:
        """Say whether there is such a file, without listing a folder."""
        if self.root.is_dir():
            return (self.root / path).is_file()
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


def archive(path: str | Path) -> zipfile.ZipFile:
    """Return an open archive; each process has its own, also after a fork.

    A forked process that read through its parent's handle would move the parent's file position.

    Raises:
        InputError: it is not a zip archive.
    """
    pid, name = os.getpid(), str(path)
    if name not in _ARCHIVES or _ARCHIVES[name][0] != pid:
        try:
            _ARCHIVES[name] = (pid, zipfile.ZipFile(name))
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"'{name}' cannot be read as a zip archive ({one_line(error)}); download it again"
            ) from error
    return _ARCHIVES[name][1]


def read_bytes(file_name: str | os.PathLike) -> bytes:
    """Return a file's bytes; ``ARCHIVE.zip/inner/path`` is read out of the archive.

    Raises:
        InputError: it is missing or cannot be read.
    """
    name = os.fspath(file_name)
    try:
        for match in re.finditer(r"\.zip/", name, re.IGNORECASE):
            outer, inner = name[: match.end() - 1], name[match.end() :]
            if os.path.isfile(outer):
                return archive(outer).read(inner)
        return Path(name).read_bytes()
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{name}' cannot be read ({one_line(error)}); restore the file or remove it."
        ) from error


def file_status(file_name: str) -> os.stat_result:
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
        if place.is_dir() and any((place / anchor).exists() for anchor in anchors):
            return FileTree(place, advice=advice)
        if place.is_file():
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
    problem = "does not exist" if not root.exists() else f"holds none of {', '.join(anchors)}"
    raise InputError(
        f"'{root}' {problem} (nor does '{folder}' or '{folder}.zip' in it); if it lies elsewhere, "
        f"name the folder as root or in the variable DETECTRON2_DATASETS; {advice}",
        parameter="root",
    )


def _list_folder(root: str) -> tuple[set[str], set[str]]:
    files: set[str] = set()
    folders: set[str] = set()
    for folder, inner_folders, inner_files in os.walk(
        root, onerror=_raise_unreadable, followlinks=True
    ):
        top = Path(folder).relative_to(root).as_posix()
        top = "" if top == "." else f"{top}/"
        files.update(top + name for name in inner_files)
        folders.update(top + name for name in inner_folders)
    return files, folders


def _raise_unreadable(error: OSError) -> None:
    raise InputError(
        f"folder '{error.filename}' cannot be read ({error.strerror}); make it readable"
    ) from error


def _folders_above(paths: set[str]) -> set[str]:
    """Return all folders that paths lie in; a path with a closing slash is one itself."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _visible(paths: set[str]) -> frozenset[str]:
    """Leave out hidden files and what macOS adds to archives."""
    return frozenset(p for p in paths if not p.startswith((".", "__MACOSX")) and "/." not in p)
