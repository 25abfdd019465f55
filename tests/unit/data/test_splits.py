"""Splits: validation splits and fractions, their sizes, determinism and nesting."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.catalog import SPECS
from bpt_det.data.splits import LabeledImage, draw_fold, draw_validation, take_fraction
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
def test_the_whole_dataset_gives_the_counts_of_table_6(name):
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


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=12).filter(lambda sizes: max(sizes) > 1)
SEEDS = st.integers(0, 5)


@given(SIZES, st.floats(0.01, 0.6), SEEDS, st.randoms(use_true_random=False))
def test_a_validation_split_has_its_size_and_leaves_every_class_an_image(
    sizes, share, seed, shuffler
):
    images = training_images(sizes)
    count = max(1, round(len(images) * share))
    if count > len(images) - len(sizes):
        with pytest.raises(InputError, match=f"of {count} images cannot be drawn"):
            draw_validation(images, share, seed)
        return
    drawn = draw_validation(images, share, seed)
    assert [image.path for image in drawn] == [image.path for image in images]
    assert sum(split_sizes(drawn, "val", len(sizes))) == count
    assert min(split_sizes(drawn, "train", len(sizes))) >= 1
    shuffled = shuffler.sample(images, len(images))
    assert sorted(draw_validation(shuffled, share, seed)) == sorted(drawn)


@given(SIZES, st.floats(0.1, 100), st.floats(0.1, 100), SEEDS, st.randoms(use_true_random=False))
def test_fractions_are_nested_and_do_not_depend_on_the_order(sizes, percent, other, seed, shuffler):
    images = training_images(sizes)
    smaller, larger = (take_fraction(images, p, seed) for p in sorted([percent, other]))
    assert set(smaller) <= set(larger) <= set(images)
    expected = [max(1, round(size * min(percent, other) / 100)) for size in sizes]
    assert split_sizes(smaller, "train", len(sizes)) == expected
    shuffled = shuffler.sample(images, len(images))
    assert set(take_fraction(shuffled, min(percent, other), seed)) == set(smaller)


def test_a_validation_split_that_would_empty_a_class_is_refused():
    with pytest.raises(InputError, match="of 1 images cannot be drawn from 3 training images"):
        draw_validation(training_images([1, 1, 1]), 0.1)


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


def test_each_image_of_train_and_val_is_validated_in_one_fold():
    images = draw_validation(training_images([7, 2, 1, 9]), 0.3)
    images.append(LabeledImage("test.jpg", 0, "test"))
    folds = [draw_fold(images, number, 3) for number in (1, 2, 3)]
    held_out = Counter(i.path for fold in folds for i in fold if i.split == "val")
    assert set(held_out.values()) == {1}
    assert set(held_out) == {i.path for i in images if i.split != "test" and i.class_id != 2}
    assert [sum(i.split == "val" for i in fold) for fold in folds] == [6, 6, 6]
    for fold in folds:
        assert split_sizes(fold, "test", 4) == [1, 0, 0, 0]
        assert min(split_sizes(fold, "train", 4)) >= 1
        assert split_sizes(fold, "val", 4)[0] in (2, 3)


def test_folds_of_a_dataset_share_out_train_and_val_and_leave_test_alone(tmp_path):
    root = class_trees.write_cub(tmp_path / "CUB_200_2011")

    def load(split, fold=None):
        return {r["image_id"] for r in load_classification("cub", root, split, fold=fold).records}

    held_out = [load("val", f"{number}/2") for number in (1, 2)]
    assert held_out[0] | held_out[1] <= load("trainval") == load("trainval", "1/2")
    assert not held_out[0] & held_out[1]
    assert load("train", "2/2") == load("trainval") - held_out[1]
    assert load("test", "1/2") == load("test")


@pytest.mark.parametrize("fold", ["0/2", "3/2", "1/1", "2", "a/b"])
def test_a_wrong_fold_is_refused_with_an_example(fold, tmp_path):
    root = class_trees.write_cub(tmp_path / "CUB_200_2011")
    with pytest.raises(InputError, match=f"fold must be i/k .* as 1/5, or null, got '{fold}'"):
        load_classification("cub", root, "train", fold=fold)
