"""COCO annotation files and their sources."""

import os

from bpt_det.data.coco import absolute_path


def test_a_path_becomes_absolute_from_home_and_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert absolute_path("a/../b") == str(tmp_path / "b")
    assert absolute_path("~/birds") == os.path.join("/home/ada", "birds")
