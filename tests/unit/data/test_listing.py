"""Folder listings: loops of links, pipes and hidden files do no harm and are counted."""

import os

import pytest

from bpt_det.data.listing import describe_left_out, list_folder
from bpt_det.utils.errors import InputError


def test_files_and_folders_are_listed_by_their_paths(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("x", "a/y", "a/b/z"):
        (tmp_path / name).touch()
    listing = list_folder(str(tmp_path))
    assert listing.files == {"x", "a/y", "a/b/z"} and listing.folders == {"a", "a/b"}
    assert list_folder(str(tmp_path), recursive=False).files == {"x"}


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "a/b/self").symlink_to("../b")
    (tmp_path / "a/x").touch()
    listing = list_folder(str(tmp_path))
    assert listing.files == {"a/x"} and listing.folders == {"a", "a/b"}
    assert describe_left_out(listing.left_out) == "2 link in a circle"


def test_a_folder_may_be_linked_to_from_several_places(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/x").touch()
    for name in "abc":
        (tmp_path / name).symlink_to("all")
    assert list_folder(str(tmp_path)).files == {"all/x", "a/x", "b/x", "c/x"}


def test_folders_that_all_link_to_each_other_are_refused(tmp_path):
    names = [f"d{number}" for number in range(12)]
    for name in names:
        (tmp_path / name).mkdir()
    for name in names:
        for other in names:
            (tmp_path / name / f"to_{other}").symlink_to(f"../{other}")
    with pytest.raises(InputError, match="is reached by more than 16 links"):
        list_folder(str(tmp_path))


def test_what_is_no_regular_file_is_counted(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    (tmp_path / "nowhere").symlink_to("absent")
    (tmp_path / "itself").symlink_to("itself")
    for name in (".hidden", "._a.png", "..jpg"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    listing = list_folder(str(tmp_path))
    assert not listing.files and not listing.folders
    assert listing.left_out == {"pipe or device": 2, "broken link": 2, "hidden": 4}


def test_a_folder_of_a_long_name_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read .File name too long"):
        list_folder(str(tmp_path / ("x" * 300)))
