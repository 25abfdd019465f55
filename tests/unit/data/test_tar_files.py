"""Tar archives: any member is read at its place; what is damaged or leads outside is refused."""

import gzip
import io
import os
import tarfile

import pytest

from bpt_det.data.archives import FileTree, find_tree, is_file, read_bytes
from bpt_det.data.images import read_rgb
from bpt_det.data.tar_files import TarArchive
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.tars import write_tar

LONG = "/".join(["a folder of a long name"] * 9) + "/é.png"  # of more bytes than a header has


def refuses(match, path):
    with pytest.raises(InputError, match=match) as caught:
        read_bytes(f"{path}/a.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_pythons_reader_finds(tmp_path, layout):
    contents = {"a.png": b"", "b/c.cls": b"7", LONG: bytes(range(256)) * 5, "./d.png": b"x" * 512}
    path = write_tar(tmp_path / "a.tar", contents, format=layout)
    expected = {name.removeprefix("./"): content for name, content in contents.items()}
    found = TarArchive(str(path))
    assert {name: found.read(name) for name in found.members} == expected
    assert {name: read_bytes(f"{path}/{name}") for name in expected} == expected
    assert FileTree(path).folders >= {"b", LONG.rpartition("/")[0], "a folder of a long name"}


def test_the_size_of_a_large_file_is_read_in_both_notations(tmp_path):
    for layout in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{layout}.tar"
        header = tarfile.TarInfo("a.png")
        header.size = 9 * 2**30
        path.write_bytes(header.tobuf(layout))
        with path.open("r+b") as file:  # a gap that takes no space
            file.truncate(path.stat().st_size + header.size + 1024)
        assert TarArchive(str(path)).members["a.png"][1] == 9 * 2**30


@pytest.mark.parametrize("cut", [100, 512, 1000, 1536, 2000, 2048])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path, cut):
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x" * 600, "b.png": b"y"})
    path.write_bytes(path.read_bytes()[:cut])
    refuses("a.tar' (is truncated|is empty)", path)


def test_a_damaged_header_and_a_gap_of_zeros_are_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x" * 600, "b.png": b"y"})
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"b.png", b"c.png"))
    refuses("is damaged at byte 1536", path)
    path.write_bytes(whole[:1536] + bytes(512) + whole[2048:])
    refuses("goes on after its end at byte 1536", path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"no archive" * 100, bytes(100)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    refuses("is empty|is truncated|is no tar archive", tmp_path / "a.tar")


def test_a_compressed_archive_is_refused_with_what_unpacks_it(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x"})
    path.write_bytes(gzip.compress(path.read_bytes()))
    refuses("is compressed as a whole.*gunzip", path)


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "b/../../a.png", "C:/a.png"])
def test_a_path_outside_is_refused(tmp_path, name):
    refuses("names the path '.*' outside of it", write_tar(tmp_path / "a.tar", {name: b"x"}))


def test_two_files_of_one_name_are_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("a.png", b"x"), ("./a.png", b"y")])
    refuses("has two files 'a.png'", path)


def test_links_devices_and_hidden_files_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
        for name in (".hidden.png", "a.png"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    tree = FileTree(path)
    assert tree.files == {"a.png"}
    assert tree.left_out == {"link": 2, "pipe or device": 2, "hidden": 1}


def test_a_long_name_of_a_gigabyte_is_refused_unread(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**30
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    with path.open("r+b") as file:
        file.truncate(2**30 + 2048)
    refuses("has a name of 1,073,741,824 bytes", path)


def test_an_archive_that_has_changed_is_not_read_at_the_old_places(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"b.png": b"x", "a.png": b"y"})
    assert read_bytes(f"{path}/a.png") == b"y"
    write_tar(path, {"a.png": b"z" * 19999})
    assert read_bytes(f"{path}/a.png") == b"z" * 19999


def test_members_taken_from_the_list_are_found_again(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x", "a.cls": b"7"})
    opened = TarArchive(str(path))
    opened.forget(["a.cls"])
    assert opened.members.keys() == {"a.png"}
    assert opened.read("a.cls") == b"7" and opened.members.keys() == {"a.png", "a.cls"}
    opened.forget(["a.png"])
    assert opened.list_below("").files == {"a.png", "a.cls"}


def test_a_missing_member_is_named_with_the_one_that_has_its_last_part(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"val/a.png": b"x"})
    refuses("there is no 'a.png' in the archive, but 'val/a.png'", path)


def test_folders_and_files_in_archives_are_found_as_others_are(tmp_path):
    class_trees.write_image(tmp_path / "tree/in/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    path = write_tar(tmp_path / "a.tar", {"in/x.png": read_bytes(f"{packed}/in/x.png")})
    for root in (packed, path, tmp_path / "tree"):
        tree = find_tree(f"{root}/in")
        assert tree.files == {"x.png"} and find_tree(f"{root}/other") is None
        assert is_file(f"{root}/in/x.png") and not is_file(f"{root}/in/y.png")
        assert read_rgb(tree.file_name("x.png"))[0, 0].tolist() == [1, 2, 3]
    assert find_tree(f"{tmp_path}/no.zip") is None and not is_file(f"{tmp_path}/a.zip/in")
    os.remove(path)
    assert find_tree(path) is None
