"""COCO annotation files and their sources."""

import os

from bpt_det.data.coco import absolute_path, read_annotation_file
from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.validation import ERROR, check_coco
from tests.support.lvis_files import write_lvis


def test_a_path_becomes_absolute_from_home_and_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert absolute_path("a/../b") == str(tmp_path / "b")
    assert absolute_path("~/birds") == os.path.join("/home/ada", "birds")


def test_a_file_in_lviss_format_is_read_and_checked(coco_root, tmp_path):
    """Without file names and crowds, with its lists; nothing is found but categories unused."""
    source, path = coco_root / "annotations/instances_val2017.json", tmp_path / "lvis.json"
    original = write_lvis(source, path, "val2017")
    dataset = read_coco(path)
    image = original["images"][7]
    expected = {key: value for key, value in image.items() if key != "coco_url"}
    name = image["coco_url"].rpartition("/")[2]
    assert dataset.images[image["id"]] == {**expected, "file_name": f"val2017/{name}"}
    assert all(a["iscrowd"] == 0 for group in dataset.annotations.values() for a in group)
    assert dataset.categories[1] == original["categories"][0]
    findings = check_coco(read_annotation_file(path), str(coco_root))
    assert not findings.kinds(ERROR) and "optional_key_missing" not in findings.counts
