"""Every official layout is read as its lists say."""

from collections import Counter

import numpy as np
import pytest
import scipy.io

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.catalog import SPECS
from bpt_det.data.images import read_rgb
from tests.support import class_trees
from tests.support.class_trees import TEST_SIZES, TRAIN_SIZES, VAL_SIZES, WRITERS

CLASS_NAMES = {
    "cub": ["002.Laysan", "005.Crested", "011.Rusty"],
    "nabirds": ["Ruddy Duck", "Cooper's Hawk (Adult)", "Painted Bunting"],
    "flowers": ["flower 1", "flower 2", "flower 3"],
    "dogs": ["Chihuahua", "Japanese_spaniel", "golden_retriever"],
    "cars": ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo 2012"],
    "imagenet": ["n01440764", "n01443537", "n02119789"],
}
DRAWN = ("cub", "nabirds", "dogs", "cars")


def sizes(data):
    counts = Counter(record["label"] for record in data.records)
    return tuple(counts[label] for label in range(len(data.class_names)))


def image_ids(data):
    return {record["image_id"] for record in data.records}


@pytest.mark.parametrize("name", WRITERS)
def test_class_names_are_the_official_ones_in_the_order_of_class_ids(name, tmp_path):
    WRITERS[name](tmp_path)
    assert load_classification(name, tmp_path, "train").class_names == CLASS_NAMES[name]


@pytest.mark.parametrize("name", DRAWN)
def test_validation_is_drawn_from_the_training_part_and_test_is_left_alone(name, tmp_path):
    WRITERS[name](tmp_path)
    train, val, test = (load_classification(name, tmp_path, s) for s in ("train", "val", "test"))
    assert sizes(test) == TEST_SIZES
    together = tuple(a + b for a, b in zip(sizes(train), sizes(val), strict=True))
    assert together == TRAIN_SIZES and sum(sizes(val)) == 3
    assert not image_ids(train) & image_ids(val)
    assert not image_ids(test) & (image_ids(train) | image_ids(val))


def test_flowers_keep_their_official_validation_split(tmp_path):
    class_trees.write_flowers(tmp_path)
    splits = [load_classification("flowers", tmp_path, s) for s in ("train", "val", "test")]
    assert [sizes(split) for split in splits] == [TRAIN_SIZES, VAL_SIZES, TEST_SIZES]


def test_imagenet_keeps_its_official_validation_split_and_has_no_test_labels(tmp_path):
    class_trees.write_class_folders(tmp_path)
    assert sizes(load_classification("imagenet", tmp_path, "train")) == TRAIN_SIZES
    assert sizes(load_classification("imagenet", tmp_path, "val")) == TEST_SIZES
    with pytest.raises(ValueError, match="no labeled images for split 'test'"):
        load_classification("imagenet", tmp_path, "test")


def test_imagenet_without_val_does_not_draw_one_from_the_training_part(tmp_path):
    class_trees.write_class_folders(tmp_path, splits=("train",))
    assert sizes(load_classification("imagenet", tmp_path, "train")) == TRAIN_SIZES
    with pytest.raises(ValueError, match="split 'val' .*, only for train; ImageNet-1k"):
        load_classification("imagenet", tmp_path, "val")


def test_test_labels_of_cars_may_lie_beside_the_devkit(tmp_path):
    class_trees.write_cars(tmp_path, test_list="cars_test_annos_withlabels.mat")
    assert sizes(load_classification("cars", tmp_path, "test")) == TEST_SIZES


@pytest.mark.parametrize("folder", ["", "StanfordCars"])
def test_the_older_layout_of_cars_has_one_list_for_both_parts(folder, tmp_path):
    class_trees.write_old_cars(tmp_path / folder)
    train, val, test = (load_classification("cars", tmp_path, s) for s in ("train", "val", "test"))
    assert train.class_names == CLASS_NAMES["cars"]
    assert sizes(test) == TEST_SIZES and sum(sizes(val)) == 3
    assert tuple(map(sum, zip(sizes(train), sizes(val), strict=True))) == TRAIN_SIZES
    assert test[0]["image_id"] == f"car_ims/{TRAIN_SIZES[0] + 1:06d}.jpg"


def test_the_older_list_of_cars_without_splits_is_refused(tmp_path):
    class_trees.write_old_cars(tmp_path)
    fields = [("relative_im_path", object), ("class", object)]
    content = {"annotations": np.array([[("car_ims/000001.jpg", 1)]], fields)}
    names = np.array([["one", "two"]], object)
    scipy.io.savemat(tmp_path / "cars_annos.mat", {**content, "class_names": names})
    with pytest.raises(
        ValueError, match="cars_annos.mat' lacks one of relative_im_path, class, te"
    ):
        load_classification("cars", tmp_path, "train")


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "val"), {"train": TRAIN_SIZES, "val": TEST_SIZES}),
        (
            ("train", "val", "test"),
            {"train": TRAIN_SIZES, "val": TEST_SIZES, "test": VAL_SIZES},
        ),
    ],
)
def test_a_folder_of_class_folders_may_have_splits(splits, expected, tmp_path):
    class_trees.write_class_folders(tmp_path, splits)
    for split, counts in expected.items():
        assert sizes(load_classification(f"folder:{tmp_path}", "", split)) == counts


@pytest.mark.parametrize("splits", [("",), ("train",)])
def test_a_folder_without_val_gives_a_tenth_of_its_images(splits, tmp_path):
    class_trees.write_class_folders(tmp_path, splits)
    train, val = (load_classification(f"folder:{tmp_path}", "", s) for s in ("train", "val"))
    assert sum(sizes(val)) == 3 and sum(sizes(train)) == 27
    with pytest.raises(ValueError, match="no labeled images for split 'test'"):
        load_classification(f"folder:{tmp_path}", "", "test")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_zip_archive_gives_what_the_folder_gives(name, inside, tmp_path):
    folder = WRITERS[name](tmp_path / "tree")
    archive = class_trees.zip_tree(folder, tmp_path / "packed.zip", inside)
    for split in ("train", "val"):
        plain, zipped = (load_classification(name, r, split) for r in (folder, archive))
        assert plain.class_names == zipped.class_names
        for record, packed in zip(plain.records, zipped.records, strict=True):
            assert {**record, "file_name": None} == {**packed, "file_name": None}
            assert packed["file_name"].startswith(f"{archive}/")
            pixels = read_rgb(record["file_name"])
            np.testing.assert_array_equal(pixels, read_rgb(packed["file_name"]))


def test_an_archive_of_class_folders_in_one_folder_is_read(tmp_path):
    folder = class_trees.write_class_folders(tmp_path / "tree")
    archive = class_trees.zip_tree(folder, tmp_path / "packed.zip", "mine")
    assert sizes(load_classification(f"folder:{archive}", "", "val")) == TEST_SIZES


@pytest.mark.parametrize("name", WRITERS)
def test_the_dataset_is_found_under_its_usual_name(name, tmp_path):
    WRITERS[name](tmp_path / SPECS[name].folder)
    assert load_classification(name, tmp_path, "train").class_names == CLASS_NAMES[name]


def test_an_archive_is_found_under_its_usual_name(tmp_path):
    folder = class_trees.write_cub(tmp_path / "tree")
    class_trees.zip_tree(folder, tmp_path / "CUB_200_2011.zip", "CUB_200_2011")
    assert sizes(load_classification("cub", tmp_path, "test")) == TEST_SIZES


def test_counts_other_than_table_6_are_reported_with_both_numbers(tmp_path, caplog):
    class_trees.write_cub(tmp_path)
    load_classification("cub", tmp_path, "train")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == [
        "cub has 3 classes; Table 6 of the paper's supplementary has 200",
        "cub train has 27 images; Table 6 of the paper's supplementary has 5394",
    ]


def test_the_real_part_of_cub_is_read_with_its_split_files(cub_root):
    """100 of the 200 classes, with VPT's files: class ids have gaps up to 200."""
    splits = [load_classification("cub", cub_root, s) for s in ("train", "val", "test")]
    assert [len(split.records) for split in splits] == [2699, 300, 2903]
    for data in splits:
        assert len(data.class_names) == 100 and data.class_names[-1] == "200.Common_Yellowthroat"
        for record in data.records:
            assert f"images/{data.class_names[record['label']]}/" in record["image_id"]
    assert read_rgb(splits[0].records[0]["file_name"]).shape == (227, 227, 3)
