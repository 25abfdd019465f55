"""Files that grow when they are read are refused in seconds and little memory."""

import struct
import subprocess
import sys
import zipfile

import pytest

from tests.support.image_kinds import REFUSED

# Reads a file in a process that may take 500 MB more than the imports and 5 s of the processor.
READER = """
import resource, sys
from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError
read = open("/proc/self/statm").read().split()[0]
taken = int(read) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 500_000_000,) * 2)
used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 6,) * 2)
try:
    read_rgb(sys.argv[1])
except InputError as error:
    print(error)
"""


def refusal(path):
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [name for name in REFUSED if "huge" in name or "bomb" in name])
def test_an_image_bomb(tmp_path, name):
    REFUSED[name][1](tmp_path / name)
    assert name in refusal(tmp_path / name)


def test_a_file_of_zeros_of_100_gigabytes(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**11)
    assert "of none of the formats" in refusal(tmp_path / "a.png")


def archive_of(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("a.png", "w") as entry:
            for part in content:
                entry.write(part)
    return path


def test_an_entry_of_more_zeros_than_are_allowed(tmp_path):
    path = archive_of(tmp_path / "a.zip", [bytes(2**24)] * 32 + [bytes(1_234_567)])
    assert path.stat().st_size < 600_000
    assert "BPT_DET_MAX_ZIP_ENTRY_BYTES=538105479" in refusal(f"{path}/a.png")
    data = path.read_bytes()  # the same, but it says that it is small
    path.write_bytes(data.replace(struct.pack("<I", 538105479), struct.pack("<I", 99)))
    assert "cannot be read" in refusal(f"{path}/a.png")


def test_a_list_of_millions_of_entries_in_an_archive_that_says_it_has_one(tmp_path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[20] * 2, *[0] * 4, 0, 0, 0, 1, *[0] * 4, 0, 0)
    count = 1_600_000
    listing = (entry + b"a") * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listing), 0, 0)
    (tmp_path / "a.zip").write_bytes(listing + end)
    assert "BPT_DET_MAX_ZIP_ENTRIES=" in refusal(f"{tmp_path}/a.zip/a")
