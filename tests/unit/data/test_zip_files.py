"""Zip archives of strangers: refused before anything is unpacked, or read by what is clear."""

import struct
import zipfile

import pytest

from bpt_det.data.archives import FileTree, read_bytes
from bpt_det.utils.errors import InputError


def write(path, *names, content=b"abc", **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name in names:
            file.writestr(name, content)
    return path


def refuses(match, path, name="a.png"):
    with pytest.raises(InputError, match=match) as caught:
        read_bytes(f"{path}/{name}")
    assert "\n" not in str(caught.value)


def patch(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "b/../../a.png", "C:/a.png", "b/.."])
def test_a_path_outside_is_refused(tmp_path, name):
    refuses("names the path '.*' outside of it", write(tmp_path / "a.zip", "a.png", name))


def test_an_encrypted_archive_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", "a.png")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refuses("is encrypted .'a.png'.; unpack it", path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_without_a_limit_to_what_it_unpacks_is_refused(tmp_path, method):
    refuses("is compressed by method", write(tmp_path / "a.zip", "a.png", compression=method))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused_unless_they_are_the_same(tmp_path):
    path = write(tmp_path / "same.zip", "a.png", "a.png")
    assert read_bytes(f"{path}/a.png") == b"abc"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("a.png", b"another")
    path.rename(tmp_path / "a.zip")
    refuses("has two different files 'a.png'", tmp_path / "a.zip")


def test_an_entry_above_the_limit_is_refused_and_the_limit_is_a_setting(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", "a.png", content=bytes(5000), compression=8)
    monkeypatch.setenv("BPT_DET_MAX_ZIP_ENTRY_BYTES", "4999")
    refuses("a.png' has 5,000 bytes.*BPT_DET_MAX_ZIP_ENTRY_BYTES=5000", path)
    monkeypatch.setenv("BPT_DET_MAX_ZIP_ENTRY_BYTES", "5000")
    assert read_bytes(f"{path}/a.png") == bytes(5000)


def test_an_entry_that_is_larger_than_it_says_is_cut_and_refused(tmp_path):
    path = write(tmp_path / "a.zip", "a.png", content=bytes(10**6), compression=8)
    patch(path, struct.pack("<I", 10**6), struct.pack("<I", 100))
    refuses("a.png' cannot be read .*Bad CRC", path)


def test_more_entries_than_are_allowed_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", *(f"{number}.png" for number in range(20)))
    monkeypatch.setenv("BPT_DET_MAX_ZIP_ENTRIES", "19")
    refuses("has 20 entries.*BPT_DET_MAX_ZIP_ENTRIES=20", path)
    monkeypatch.setenv("BPT_DET_MAX_ZIP_ENTRIES", "20")
    assert read_bytes(f"{path}/7.png") == b"abc"


def test_entries_are_counted_whatever_the_archive_says(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", *(f"{number}.png" for number in range(20)))
    patch(path, struct.pack("<HH", 20, 20), struct.pack("<HH", 1, 1))
    monkeypatch.setenv("BPT_DET_MAX_ZIP_ENTRIES", "10")
    refuses("has 20 entries, more than the 10", path)


def test_backslashes_are_slashes(tmp_path, caplog):
    path = write(tmp_path / "a.zip", "train/xy.png", "train/cat.png")
    patch(path, b"train/", b"train\\")
    tree = FileTree(path)
    assert tree.files == {"train/xy.png", "train/cat.png"} and tree.folders == {"train"}
    assert tree.read("train/cat.png") == b"abc"
    assert "backslashes in 2 names" in caplog.text


def test_links_and_what_macos_adds_are_left_out(tmp_path):
    path = write(tmp_path / "a.zip", "a/b.png", "__MACOSX/a/._b.png", "a/.DS_Store")
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    tree = FileTree(path)
    assert tree.files == {"a/b.png"} and tree.left_out == {"hidden": 2, "link": 1}


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(99)])
def test_what_is_no_archive_has_no_files(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    refuses("a.png' cannot be read|cannot be read as a zip archive", tmp_path / "a.zip")
