"""Shape crops: a classification dataset of single shapes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bpt_det.shapes import CATEGORIES, Instance, render_image, write_shape_crops
from bpt_det.shapes import crops as shape_crops
from bpt_det.shapes.__main__ import main
from bpt_det.shapes.crops import cut_out
from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2

COUNTS = {"train": 5, "val": 2, "test": 3}
CROP_SIZE = 32
NAMES = {category.name for category in CATEGORIES}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets") / "shapes_crops"
    write_shape_crops(root, *COUNTS.values(), crop_size=CROP_SIZE, seed=3)
    return root


def file_hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.jpg")
    }


def one_object(top=12, left=20, height=20, width=11, **overrides):
    """An image of 60 x 90 pixels whose red channel is the row and green channel the column."""
    rows, columns = np.mgrid[:60, :90]
    image = np.stack([0 * rows, columns, rows], axis=2).astype(np.uint8)
    mask = np.zeros((60, 90), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return image, Instance(category_id=3, mask=mask, **overrides)


def on_gray(image, instance):
    expected = image.copy()
    expected[~instance.mask] = 128
    return expected


def test_every_class_has_exactly_its_number_of_crops(root):
    for split, count in COUNTS.items():
        folders = list((root / split).iterdir())
        assert {folder.name for folder in folders} == NAMES
        expected = [f"{number:06d}.jpg" for number in range(1, count + 1)]
        for folder in folders:
            assert sorted(path.name for path in folder.iterdir()) == expected


def test_every_crop_is_a_square_of_the_crop_size(root):
    shapes = {cv2.imread(str(path)).shape for path in root.rglob("*.jpg")}
    assert shapes == {(CROP_SIZE, CROP_SIZE, 3)}


def test_no_crop_occurs_twice_within_or_across_splits(root):
    hashes = file_hashes(root)
    assert len(set(hashes.values())) == len(hashes) == len(NAMES) * sum(COUNTS.values())


def test_splits_are_cut_from_different_images():
    images = [render_image(3, 0, split=split).image.tobytes() for split in COUNTS]
    assert len(set(images)) == len(COUNTS)


def test_the_same_seed_gives_the_same_bytes_and_a_larger_set_begins_with_them(root, tmp_path):
    write_shape_crops(tmp_path / "small", 2, 1, 1, crop_size=CROP_SIZE, seed=3)
    small, large = file_hashes(tmp_path / "small"), file_hashes(root)
    assert len(small) == 4 * len(NAMES)
    assert small.items() <= large.items()


def test_another_seed_gives_other_crops(root, tmp_path):
    write_shape_crops(tmp_path / "other", 1, 1, 1, crop_size=CROP_SIZE, seed=4)
    assert not set(file_hashes(tmp_path / "other").values()) & set(file_hashes(root).values())


def test_the_object_is_in_the_middle_of_a_square_with_a_margin():
    """Of the box of 20 x 11 the longer side counts: 26 pixels around row 22, column 25.5."""
    image, instance = one_object()
    crop = cut_out(image, instance, crop_size=26)
    np.testing.assert_array_equal(crop, on_gray(image, instance)[9:35, 12:38])


def test_at_the_border_the_square_is_moved_inside():
    image, instance = one_object(top=0, left=79)
    crop = cut_out(image, instance, crop_size=26)
    np.testing.assert_array_equal(crop, on_gray(image, instance)[:26, 64:90])


@pytest.mark.parametrize(
    "overrides",
    [
        {"is_crowd": True},
        {"visible_fraction": 0.85},
        {"height": 12},  # less than half a crop
        {"width": 47},  # the square with its margin is higher than the image
    ],
    ids=["crowd", "hidden", "small", "large"],
)
def test_what_cannot_be_told_is_left_out(overrides):
    image, instance = one_object(**overrides)
    assert cut_out(image, instance, crop_size=26) is None
    image, instance = one_object(visible_fraction=0.95, height=14, width=46)
    assert cut_out(image, instance, crop_size=26) is not None


def test_the_visible_fraction_is_that_of_the_whole_disc():
    """Visible area over fraction is an ellipse's area; its axes show where nothing is hidden."""
    fractions = []
    for index in range(60):
        for instance in render_image(5, index).instances:
            area = int(instance.mask.sum())
            if instance.category_id != 1 or area < 300:
                continue
            points = np.argwhere(instance.mask).astype(np.float32)
            _, sides, _ = cv2.minAreaRect(points)
            fraction = instance.visible_fraction
            ellipse = np.pi / 4 * (sides[0] + 1) * (sides[1] + 1)  # + 1: between pixel centers
            if fraction > 0.99:
                assert area == pytest.approx(ellipse, rel=0.06)
            else:
                hull = cv2.contourArea(cv2.convexHull(points))
                assert area / fraction > 0.95 * hull  # the hull lies within the whole disc
            fractions.append(fraction)
    assert 0.38 < min(fractions) < 0.7 and max(fractions) > 0.99


def test_the_same_crops_are_not_written_twice(root, monkeypatch):
    monkeypatch.setattr(shape_crops, "render_image", lambda *_, **__: pytest.fail("rendered"))
    write_shape_crops(root, *COUNTS.values(), crop_size=CROP_SIZE, seed=3)


def test_other_crops_are_not_overwritten(root):
    before = file_hashes(root)
    with pytest.raises(
        InputError,
        match=r"shapes_crops holds another dataset \(num_train=5, .*\) than the one asked for "
        r"\(num_train=6, .*\); choose another output folder or delete this one\.",
    ):
        write_shape_crops(root, 6, 2, 3, crop_size=CROP_SIZE, seed=3)
    assert file_hashes(root) == before


def test_the_record_holds_every_parameter(root):
    recorded = json.loads((root / "shapes_crops.json").read_text())
    expected = {"num_train": 5, "num_val": 2, "num_test": 3, "crop_size": 32, "seed": 3}
    assert recorded == {**expected, "cropper_version": 1}


def test_the_detection_set_is_not_taken_for_crops(shapes_root):
    with pytest.raises(InputError, match=r"holds no shapes_crops dataset \(no readable shapes_cr"):
        write_shape_crops(shapes_root, 1, 1, 1)


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(shape_crops, "render_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shape_crops(tmp_path / "crops", 1, 1, 1)
    assert list(tmp_path.iterdir()) == []


def test_all_arguments_out_of_range_are_named_at_once(tmp_path):
    with pytest.raises(
        InputError,
        match="num_train must be at least 1, got 0; num_val must be at least 1, got -1; "
        "num_test must be at least 1, got -2; crop_size must be at least 16, got 15; "
        "seed must be at least 0, got -3",
    ):
        write_shape_crops(tmp_path / "crops", 0, -1, -2, crop_size=15, seed=-3)


def test_the_command_line_writes_crops(tmp_path):
    numbers = ["--num-train", "3", "--num-val", "1", "--num-test", "2", "--crop-size", "16"]
    assert main(["--crops", "--output", str(tmp_path / "crops"), *numbers]) == 0
    counts = [len(list((tmp_path / "crops" / split / "star").iterdir())) for split in COUNTS]
    assert counts == [3, 1, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--crops", "--image-size", "128"], "--crops does not take --image-size; leave out one"),
        (
            ["--crop-size", "64", "--num-test", "1"],
            "only --crops takes --num-test and --crop-size; leave out one",
        ),
    ],
)
def test_flags_of_the_other_dataset_are_refused_in_one_line(tmp_path, capsys, flags, message):
    assert main(["--output", str(tmp_path / "set"), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_the_help_tells_both_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "default: 1500, 100 with --crops" in text and "default: 30 with --crops" in text
