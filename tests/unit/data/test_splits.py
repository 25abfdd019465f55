"""Validation splits and fractions: counts, determinism, nesting."""

import hashlib
from collections import Counter

import pytest

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.catalog import SPECS
from bpt_det.data.splits import LabeledImage, draw_validation, take_fraction
from bpt_det.utils.errors import InputError
from tests.support import class_trees


def training_images(sizes):
    return [
        LabeledImage(f"{class_id}/{number}.jpg", class_id, "train")
        for class_id, size in enumerate(sizes)
        for number in range(size)
    ]


def split_sizes(images, split, num_classes):
    counts = Counter(image.class_id for image in images if image.split == split)
    return [counts[class_id] for class_id in range(num_classes)]


@pytest.mark.parametrize("name", ["cub", "nabirds", "dogs", "cars"])
def test_the_whole_data_set_gives_the_counts_of_table_6(name):
    spec = SPECS[name]
    total = spec.counts["train"] + spec.counts["val"]
    sizes = [total // spec.num_classes] * spec.num_classes
    sizes[0] += total - sum(sizes)
    images = draw_validation(training_images(sizes), spec.validation_share)
    assert Counter(image.split for image in images) == {
        "train": spec.counts["train"],
        "val": spec.counts["val"],
    }


def test_each_class_gives_its_share_rounded_up_or_down():
    sizes = [13, 24, 35, 47, 81]
    given = split_sizes(draw_validation(training_images(sizes), 0.1), "val", 5)
    assert sum(given) == 20
    for size, number in zip(sizes, given, strict=True):
        assert abs(number - size * 20 / sum(sizes)) < 1


def test_every_class_keeps_a_training_image():
    images = draw_validation(training_images([1, 1, 2, 9]), 0.7)
    assert split_sizes(images, "train", 4) == [1, 1, 1, 1]


def test_a_validation_split_that_would_empty_a_class_is_refused():
    with pytest.raises(InputError, match="of 1 images cannot be drawn from 3 training images"):
        draw_validation(training_images([1, 1, 1]), 0.1)


def test_the_split_does_not_depend_on_the_order_of_the_list():
    images = training_images([13, 24, 35])
    forwards, backwards = draw_validation(images, 0.2), draw_validation(images[::-1], 0.2)
    assert sorted(forwards) == sorted(backwards)


def test_the_image_with_the_smallest_hash_of_seed_and_path_is_held_out():
    """Written out, so that no version of Python or NumPy changes the split."""
    images = draw_validation(training_images([5, 5]), 0.2, seed=3)
    expected = [
        min(
            (f"{class_id}/{number}.jpg" for number in range(5)),
            key=lambda path: hashlib.sha256(b"3/" + path.encode()).hexdigest(),
        )
        for class_id in (0, 1)
    ]
    assert [image.path for image in images if image.split == "val"] == expected


def test_another_seed_gives_another_split():
    images = training_images([40, 40])
    assert draw_validation(images, 0.2, seed=0) != draw_validation(images, 0.2, seed=1)


def test_test_images_stay_where_they_are():
    tested = [LabeledImage(f"t/{n}.jpg", 0, "test") for n in range(50)]
    images = draw_validation(training_images([10, 10]) + tested, 0.5)
    assert [image for image in images if image.split == "test"] == tested


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, [1, 7]), (3, [4, 21]), (10, [13, 70]), (30, [39, 210])]
)
def test_a_fraction_is_taken_of_each_class(percent, expected):
    images = take_fraction(training_images([130, 700]), percent)
    assert split_sizes(images, "train", 2) == expected


def test_smaller_fractions_are_part_of_larger_ones():
    images = training_images([130, 700])
    chosen = [set(take_fraction(images, percent)) for percent in (1, 3, 10, 30, 100)]
    assert all(a < b for a, b in zip(chosen, chosen[1:], strict=False))
    assert chosen[-1] == set(images)


def test_a_fraction_leaves_one_image_of_every_class():
    assert len(take_fraction(training_images([3, 5, 7]), 1)) == 3


def test_a_fraction_is_of_the_training_images_alone(tmp_path):
    class_trees.write_class_folders(tmp_path)
    whole, part = (
        load_classification("imagenet", tmp_path, "train", fraction=f) for f in (100, 30)
    )
    assert (len(whole.records), len(part.records)) == (30, 1 + 3 + 5)
    assert part.class_names == whole.class_names
    assert len(load_classification("imagenet", tmp_path, "val", fraction=30).records) == 10


@pytest.mark.parametrize("fraction", [0, -1, 101])
def test_an_impossible_fraction_is_refused(fraction, tmp_path):
    with pytest.raises(InputError, match=rf"fraction={fraction} is not a percentage in \(0, 100\]"):
        load_classification("imagenet", tmp_path, "train", fraction=fraction)


def test_the_log_says_how_many_images_a_fraction_is(tmp_path, caplog):
    caplog.set_level("INFO")
    root = class_trees.write_cub(tmp_path / "CUB_200_2011")
    taken = load_classification("cub", root, "train", fraction=30)
    assert f"cub train: 30 % of each class, {len(taken)} images" in caplog.text
