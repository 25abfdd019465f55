"""Tar archives: their members are listed once, and read at their places without unpacking to disk.

The archive is not compressed, so any member is read as fast as any other: order and resumption are
those of a folder. Nothing stays open, so processes share the list of one that has forked them.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from bpt_det.utils.errors import InputError

from .listing import Listing, is_hidden, is_outside, nearest_member

_BLOCK = 512  # bytes
_LARGEST_HEADER = 2**20  # bytes of a long name
_REGULAR, _FOLDER = b"0\0007", b"5"  # types of members, one byte each
_LONG_NAME, _EXTENDED, _SKIPPED = b"L", b"x", b"gK"
_KINDS = {b"1": "link", b"2": "link", b"S": "sparse file"}  # the rest: pipes and devices


class TarArchive:
    """The members of an archive by name; a name begins without ``./`` and ends without a slash.

    Args:
        path: of the archive.

    Attributes:
        members: by name, the place of a regular file: offset and size in bytes; see `forget`.
        folders: names of folders that are members.
        left_out: by kind, the number of members that are neither.

    Raises:
        InputError: it is truncated, damaged or no archive, names a file outside of it, or two by
            one name.
        OSError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.members: dict[str, tuple[int, int]] = {}
        self.folders: set[str] = set()
        self.left_out: Counter[str] = Counter()
        self._is_whole = False
        self.list_again()

    def list_again(self) -> None:
        """List all members, unless all are listed."""
        if self._is_whole:
            return
        for listed in (self.members, self.folders, self.left_out):
            listed.clear()
        with open(self.path, "rb") as stream:
            status = os.fstat(stream.fileno())
            self._identity = status.st_size, status.st_mtime_ns
            self._list(stream, status.st_size)
        self._is_whole = True

    def forget(self, names: Iterable[str]) -> None:
        """Take members from the list, for memory; all are listed again when one of them is read."""
        for name in names:
            del self.members[name]
            self._is_whole = False

    @property
    def is_current(self) -> bool:
        """Whether the archive is still the one that was listed."""
        status = os.stat(self.path)
        return (status.st_size, status.st_mtime_ns) == self._identity

    def _list(self, stream: BinaryIO, file_size: int) -> None:
        position = 0
        extension: dict[str, str] = {}  # what is said of the next member
        while (header := self._read_block(stream, position)) != bytes(_BLOCK):
            start, kind = position + _BLOCK, header[156:157]
            is_prefix = kind in _LONG_NAME + _EXTENDED + _SKIPPED  # of the member behind it
            size = self._size_of(header, position)
            if "size" in extension and not is_prefix:
                size = int(extension["size"])
            if start + size > file_size:
                raise self._refusal(f"is truncated: the file at byte {position} ends beyond it")
            position = start + -(-size // _BLOCK) * _BLOCK
            if is_prefix and kind not in _SKIPPED:
                extension = self._read_extension(stream, kind, size, extension)
            elif not is_prefix:
                self._add(extension.get("path") or _name_of(header), kind, start, size, extension)
                extension = {}
        while position and (rest := stream.read(2**20)):
            if any(rest):  # zeros amid the archive, as of a copy with a gap, or a second archive
                raise self._refusal(f"goes on after its end at byte {position}")

    def _read_block(self, stream: BinaryIO, position: int) -> bytes:
        stream.seek(position)
        header = stream.read(_BLOCK)
        if len(header) < _BLOCK:  # the end has two blocks of zeros
            raise self._refusal(
                f"is truncated after {position:,} bytes" if position else "is empty"
            )
        if header != bytes(_BLOCK) and _number(header[148:156]) != _checksum(header):
            problem = f"is damaged at byte {position}" if position else "is no tar archive"
            raise self._refusal(problem)
        return header

    def _size_of(self, header: bytes, position: int) -> int:
        size = _number(header[124:136])
        if size is None:
            raise self._refusal(f"is damaged at byte {position}")
        return size

    def _read_extension(
        self, stream: BinaryIO, kind: bytes, size: int, before: dict[str, str]
    ) -> dict[str, str]:
        """Return what a member says of the one behind it: its name, and its size if it is large."""
        if size > _LARGEST_HEADER:
            raise self._refusal(f"has a name of {size:,} bytes")
        content = stream.read(size)
        if kind == _LONG_NAME:
            return {**before, "path": _decode(content)}
        records = dict(before)
        while content:
            length, _, _ = content.partition(b" ")
            if not length.isdigit() or not len(length) < int(length) <= len(content):
                raise self._refusal("is damaged in a name")
            key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
            records[_decode(key)] = _decode(value)
            content = content[int(length) :]
        if not records.get("size", "0").isdigit():
            raise self._refusal("is damaged in a size")
        return records

    def _add(
        self, name: str, kind: bytes, offset: int, size: int, extension: dict[str, str]
    ) -> None:
        name = name.removeprefix("./").rstrip("/")
        if is_outside(name):
            raise self._refusal(f"names the path '{name}' outside of it")
        if any(key.startswith("GNU.sparse") for key in extension):
            kind = b"S"
        if kind in _FOLDER:
            self.folders.add(name)
        elif kind not in _REGULAR:
            self.left_out[_KINDS.get(kind, "pipe or device")] += 1
        elif self.members.setdefault(name, (offset, size)) != (offset, size):
            raise self._refusal(f"has two files '{name}'")

    def _refusal(self, problem: str) -> InputError:
        return InputError(f"archive '{self.path}' {problem}; copy it again, or pack it anew.")

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            KeyError, OSError: there is no such file, or it cannot be read.
        """
        return next(self.read_all([name]))

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the contents of files, see `read`; the archive is opened once."""
        with open(self.path, "rb") as stream:
            for name in names:
                if name not in self.members:
                    self.list_again()
                if name not in self.members:
                    raise KeyError(nearest_member(name, self.members))
                offset, size = self.members[name]
                stream.seek(offset)
                yield stream.read(size)

    def list_below(self, prefix: str) -> Listing:
        """Return what is below a folder, "" or a path with a closing slash."""
        self.list_again()
        listing = Listing(left_out=self.left_out.copy())
        for names, chosen in ((self.members, listing.files), (self.folders, listing.folders)):
            for name in names:
                path = name.removeprefix(prefix)
                if not name.startswith(prefix) or not path:
                    continue
                if is_hidden(path):
                    listing.left_out["hidden"] += names is self.members
                else:
                    chosen.add(path)
        listing.add_parents()
        return listing


def _number(field: bytes) -> int | None:
    """Return a number in octal digits, or a large one in binary; None: it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def _checksum(header: bytes) -> int:
    """Return the sum of a header's bytes, those of the sum itself as blanks."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _name_of(header: bytes) -> str:
    name = _decode(header[:100])
    folder = _decode(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{folder}/{name}" if folder else name


def _decode(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
