"""Datasets by name: where they are looked for, and the records of their splits."""

import copy
import os

import pytest

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.reading import load_split, read_dataset
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.class_trees import TEST_SIZES, TRAIN_SIZES, VAL_SIZES


def test_a_split_is_a_sequence_of_its_records(tmp_path):
    class_trees.write_cub(tmp_path)
    data = load_classification("cub", tmp_path, "test")
    assert len(data) == sum(TEST_SIZES) and list(data) == data.records
    assert data[1] is data.records[1] and data[-1]["label"] == 2


@pytest.mark.parametrize("change", ["image", "list", "split files"])
def test_a_change_in_the_files_is_seen_by_the_next_reading(change, tmp_path):
    class_trees.write_cub(tmp_path)
    before = load_classification("cub", tmp_path, "test")
    if change == "image":
        os.remove(before[0]["file_name"])
        with pytest.raises(InputError, match=r"1 of the 10 images .* are missing"):
            load_classification("cub", tmp_path, "test")
    elif change == "list":
        path = tmp_path / "train_test_split.txt"
        path.write_text(path.read_text().replace("1 1\n", "1 0\n", 1))
        assert len(load_classification("cub", tmp_path, "test")) == len(before) + 1
    else:
        (tmp_path / "val.json").write_text("{}")
        with pytest.raises(InputError, match=r"train.json' is missing"):
            load_classification("cub", tmp_path, "test")


def test_what_a_caller_changes_is_not_what_the_next_split_gets(tmp_path):
    dataset = read_dataset("cub", class_trees.write_cub(tmp_path))
    data = load_split(dataset, "train")
    expected = copy.deepcopy(data)
    data[0]["label"] = 99
    data.records.pop()
    data.class_names.clear()
    assert load_split(dataset, "train") == expected


def test_without_a_root_the_folder_of_all_datasets_counts(tmp_path, monkeypatch):
    class_trees.write_cub(tmp_path / "all/CUB_200_2011")
    class_trees.write_flowers(tmp_path / "here/datasets/OxfordFlowers")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert len(load_classification("flowers", split="test")) == sum(TEST_SIZES)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "all"))
    assert len(load_classification("cub", split="test")) == sum(TEST_SIZES)


def test_a_relative_root_is_that_of_the_current_folder(tmp_path, monkeypatch):
    for folder, writer in (("a", class_trees.write_cub), ("b", class_trees.write_cub)):
        writer(tmp_path / folder / "data")
        monkeypatch.chdir(tmp_path / folder)
        first = load_classification("cub", "data", "train")[0]["file_name"]
        assert os.path.samefile(first, tmp_path / folder / first)


def test_trainval_is_the_official_training_part_where_val_was_drawn_from_it(tmp_path):
    class_trees.write_dogs(tmp_path)
    train, val, both = (
        load_classification("dogs", tmp_path, s) for s in ("train", "val", "trainval")
    )
    assert len(both) == sum(TRAIN_SIZES)
    assert list(both) == sorted([*train, *val], key=lambda record: record["image_id"])


def test_trainval_has_an_official_validation_split_too(tmp_path):
    class_trees.write_flowers(tmp_path)
    data = load_classification("flowers", tmp_path, "trainval")
    assert len(data) == sum(TRAIN_SIZES) + sum(VAL_SIZES)


def test_trainval_counts_are_those_of_both_parts(tmp_path, caplog):
    class_trees.write_cub(tmp_path)
    load_classification("cub", tmp_path, "trainval")
    assert (
        "cub trainval has 30 images; Table 6 of the paper's supplementary has 5994" in caplog.text
    )


def test_a_fraction_of_trainval_is_taken_of_each_class(tmp_path):
    class_trees.write_cub(tmp_path)
    data = load_classification("cub", tmp_path, "trainval", fraction=50)
    assert [sum(r["label"] == label for r in data) for label in range(3)] == [2, 5, 8]


def test_trainval_without_a_validation_split_is_refused(tmp_path):
    class_trees.write_class_folders(tmp_path, splits=("train",))
    with pytest.raises(InputError, match="no labeled images for split 'trainval' .*, only for tr"):
        load_classification("imagenet", tmp_path, "trainval")


def test_crops_of_shapes_are_found_in_their_folder(tmp_path):
    class_trees.write_class_folders(tmp_path / "shapes_crops", ("train", "val", "test"))
    assert len(load_classification("shapes_crops", tmp_path, "test")) == sum(VAL_SIZES)
    with pytest.raises(InputError, match="python -m bpt_det.shapes --crops --output datasets/sh"):
        load_classification("shapes_crops", tmp_path / "none", "train")
