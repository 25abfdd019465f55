"""Zip archives: their list of files is checked, and entries are read without unpacking to disk."""

import io
import logging
import os
import stat
import zipfile
from typing import BinaryIO

from bpt_det.utils.errors import InputError
from bpt_det.utils.limits import Limit

from .listing import Listing, is_hidden, is_outside, nearest_member

# ImageNet-1k has 1,331,167 images. A list of that length takes 1 GB of memory.
_ENTRIES = Limit("BPT_DET_MAX_ZIP_ENTRIES", 1_500_000, "entries")
# COCO's largest annotation file, instances_train2017.json, has 470 MB.
_BYTES = Limit("BPT_DET_MAX_ZIP_ENTRY_BYTES", 2**29, "bytes")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others give no limit to what they unpack
_ENCRYPTED = 1  # flag of an entry
_CHUNK = 2**20  # bytes
_MARK, _SMALLEST = b"PK\1\2", 46  # of an entry in the list: its first bytes, its least size
_END_RECORDS = 76  # bytes of two records that a large archive has after the list

logger = logging.getLogger(__name__)


class ZipArchive:
    """An open archive whose entries are read one by one.

    Backslashes in names, which some programs for Windows write, count as slashes.

    Args:
        path: of the archive.

    Attributes:
        members: entries by path within the archive; those of folders end in a slash.

    Raises:
        InputError: it has more entries than are allowed, is encrypted or compressed in an unusual
            way, or names a file outside of it, or two by one name.
        OSError, BadZipFile: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"'{path}' is neither a folder nor a regular file; give one of them.")
        with open(path, "rb") as stream:
            _ENTRIES.check(_count_entries(stream), f"archive '{path}'")
        self._file = zipfile.ZipFile(path)
        self.members: dict[str, zipfile.ZipInfo] = {}
        self._add_members(self._file.infolist())

    def _add_members(self, entries: list[zipfile.ZipInfo]) -> None:
        renamed = 0
        for entry in entries:
            name = entry.filename.replace("\\", "/").removeprefix("./")
            renamed += "\\" in entry.filename
            if is_outside(name):
                raise self._refusal(f"names the path '{name}' outside of it")
            if entry.flag_bits & _ENCRYPTED:
                raise self._refusal(f"is encrypted ('{name}')")
            if entry.compress_type not in _METHODS:
                raise self._refusal(f"is compressed by method {entry.compress_type} ('{name}')")
            other = self.members.setdefault(name, entry)
            if (other.CRC, other.file_size) != (entry.CRC, entry.file_size):
                raise self._refusal(f"has two different files '{name}'")
        if renamed:
            text = "archive '%s': backslashes in %d names are read as slashes"
            logger.warning(text, self.path, renamed)

    def _refusal(self, problem: str) -> InputError:
        return InputError(
            f"archive '{self.path}' {problem}; unpack it, look at the files, and give the folder, "
            "or pack it again with a plain zip."
        )

    def read(self, name: str) -> bytes:
        """Return the content of an entry.

        Raises:
            InputError: it is larger than is allowed.
            KeyError, BadZipFile, zlib.error, OSError: there is none, or it is damaged.
        """
        if name not in self.members:
            raise KeyError(nearest_member(name, self.members))
        entry = self.members[name]
        _BYTES.check(entry.file_size, f"'{self.path}/{name}'")
        content = io.BytesIO()
        with self._file.open(entry) as stream:
            while chunk := stream.read(_CHUNK):  # never more at once, whatever the entry claims
                content.write(chunk)
        return content.getvalue()

    def list_below(self, prefix: str) -> Listing:
        """Return what is below a folder, "" or a path with a closing slash."""
        listing = Listing()
        for name, entry in self.members.items():
            path = name.removeprefix(prefix)
            if not name.startswith(prefix) or not path:
                continue
            if is_hidden(path.rstrip("/")):
                listing.left_out["hidden"] += not path.endswith("/")
            elif stat.S_ISLNK(entry.external_attr >> 16):
                listing.left_out["link"] += 1
            elif path.endswith("/"):
                listing.folders.add(path.rstrip("/"))
            else:
                listing.files.add(path)
        listing.add_parents()
        return listing


def _count_entries(stream: BinaryIO) -> int:
    """Return how many entries an archive says to have, or has if it could have more than allowed.

    ZipFile goes by the size of the list, not by the number. Each entry of it begins with a mark.
    """
    record = zipfile._EndRecData(stream)  # type: ignore[attr-defined]  # what ZipFile goes by
    if record is None:
        return 0  # ZipFile says that it is no archive
    stated, size, location = record[4], record[5], record[9]
    if size // _SMALLEST <= _ENTRIES.value or stated > _ENTRIES.value:
        return stated
    stream.seek(max(0, location - size - _END_RECORDS))
    count, rest = 0, b""
    while chunk := stream.read(_CHUNK):
        data = rest + chunk
        count += data.count(_MARK)
        rest = data[1 - len(_MARK) :]
    return count
