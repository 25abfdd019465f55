"""Zip check: what a zip archive of weights holds, before anything in it is unpacked."""

import struct
import zipfile
from pathlib import Path

from bpt_det.utils.limits import Limit

_LEAST_LIMIT = 64 << 20  # bytes
_RATIO = 4  # of weights to the archive; they hardly get smaller
_MAX_DIRECTORY = 10 << 20  # bytes, about 100,000 members
_END = struct.Struct("<4s4H2LH")  # the last record of an archive without a comment
_END_64 = struct.Struct("<4sQ2H2L4Q")  # of a large archive, before a locator and the last record
_LOCATOR_BYTES = 20


def check_zip(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by name, after checking that they can be unpacked.

    Raises:
        InputError: they are larger than the limit when unpacked.
        BadZipFile: it is damaged, or made to look smaller than it is.
    """
    size = path.stat().st_size
    _check_directory(path, size)
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
    members = {member.filename: member for member in listed}
    if len(members) < len(listed):
        raise zipfile.BadZipFile("two members of one name")
    if sum(member.compress_size for member in listed) > size:
        raise zipfile.BadZipFile("members that overlap")
    unpacked = sum(member.file_size for member in listed)
    most = max(_LEAST_LIMIT, _RATIO * size)
    Limit("BPT_DET_MAX_UNPACKED_BYTES", most, "bytes when unpacked").check(unpacked, f"'{path}'")
    return members


def _check_directory(path: Path, size: int) -> None:
    """Check the end of an archive: that all readers find the same directory, and that it is small.

    NumPy and PyTorch write no comments.
    """
    with path.open("rb") as file:
        file.seek(max(0, size - _END.size - _LOCATOR_BYTES - _END_64.size))
        tail = file.read()
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\x05\x06":
        raise zipfile.BadZipFile("no directory at the end")
    directory = _END.unpack(tail[-_END.size :])[5]
    if directory == 0xFFFFFFFF and len(tail) >= _END_64.size:
        directory = _END_64.unpack(tail[: _END_64.size])[8]
    if directory > _MAX_DIRECTORY:
        raise zipfile.BadZipFile(f"a directory of {directory} bytes")
