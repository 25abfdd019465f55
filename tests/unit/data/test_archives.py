"""File trees: bytes of files and of members of zip archives; what is unreadable is named."""

import multiprocessing
import os
import zipfile

import pytest

from bpt_det.data.archives import archive, file_status, locate, read_bytes
from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError
from tests.support import class_trees


def test_a_damaged_member_of_an_archive_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("in/x.png", b"0123456789" * 9)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0123456789", b"9876543210", 1))
    with pytest.raises(InputError, match=r"a.zip/in/x.png' cannot be read \(Bad CRC"):
        read_bytes(f"{path}/in/x.png")


def test_a_missing_member_and_a_missing_file_are_named(tmp_path):
    class_trees.write_image(tmp_path / "tree/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    for name in (f"{packed}/y.png", f"{tmp_path}/y.png"):
        with pytest.raises(InputError, match=f"'{name}' cannot be read"):
            read_bytes(name)


def test_the_status_of_a_member_is_that_of_its_archive_and_a_missing_file_is_named(tmp_path):
    class_trees.write_image(tmp_path / "tree/in/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    assert file_status(f"{packed}/in/x.png") == packed.stat()
    with pytest.raises(InputError, match=r"no.png' cannot be read \(.*No such file"):
        file_status(f"{tmp_path}/no.png")


def test_an_archive_without_the_anchors_is_not_the_tree(tmp_path):
    class_trees.write_image(tmp_path / "tree/x.png", (1, 2, 3))
    class_trees.zip_tree(tmp_path / "tree", tmp_path / "birds.zip")
    with pytest.raises(InputError, match=f"'{tmp_path}' holds none of classes.txt"):
        locate(tmp_path, "birds", ("classes.txt",), "download it")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"a.zip' cannot be read as a zip archive"):
        read_bytes(f"{tmp_path}/a.zip/x.png")


def test_a_folder_may_be_called_like_an_archive(tmp_path):
    class_trees.write_image(tmp_path / "old.zip/x.png", (1, 2, 3))
    assert read_rgb(f"{tmp_path}/old.zip/x.png")[0, 0].tolist() == [1, 2, 3]


def test_a_process_keeps_its_handle_and_another_opens_its_own(tmp_path, monkeypatch):
    class_trees.write_image(tmp_path / "tree/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    first = archive(packed)
    assert archive(packed) is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert archive(packed) is not first


def _read_all(names):
    return [tuple(read_rgb(name)[0, 0].tolist()) for name in names]


def test_forked_processes_read_from_one_archive_at_once(tmp_path):
    colors = [(number, 255 - number, 3) for number in range(40)]
    for number, color in enumerate(colors):
        class_trees.write_image(tmp_path / f"tree/{number:02d}.png", color)
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    names = [f"{packed}/{number:02d}.png" for number in range(40)]
    assert _read_all(names[:1]) == colors[:1]  # the parent holds the archive open
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_read_all, [names] * 6, chunksize=1) == [colors] * 6
