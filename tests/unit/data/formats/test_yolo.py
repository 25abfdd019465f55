"""YOLO: where images and labels are looked for, what lines mean, and what is refused."""

import numpy as np
import pytest
import yaml
from PIL import Image

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.formats import read_annotations
from bpt_det.utils.errors import InputError
from tests.support.label_files import BOXES, IMAGES, TRIANGLE, pack, write_image, write_yolo


def refusal(source):
    with pytest.raises(InputError) as caught:
        read_annotations(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def boxes_of(source):
    return [a["bbox"] for a in read_annotations(str(source))["annotations"]]


def test_polygons_and_their_boxes_are_in_pixels(tmp_path):
    content = read_annotations(str(write_yolo(tmp_path)))
    assert [image["file_name"] for image in content["images"]] == [
        "images/train/a.png",
        "images/train/b.png",
    ]
    assert [(i["height"], i["width"]) for i in content["images"]] == [(12, 20), (10, 16)]
    for annotation in content["annotations"]:
        np.testing.assert_allclose(annotation["segmentation"], [TRIANGLE])
        np.testing.assert_allclose(annotation["bbox"], [2, 3, 10, 6])
        assert annotation["area"] == pytest.approx(30)
    assert [a["category_id"] for a in content["annotations"]] == [0, 1, 0]
    assert content["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]


def test_boxes_have_no_masks_and_pass_the_checks(tmp_path):
    dataset = read_coco(str(write_yolo(tmp_path, BOXES)))
    found = [a for group in dataset.annotations.values() for a in group]
    np.testing.assert_allclose(
        [a["bbox"] for a in found], [[4, 2, 6, 6], [4, 2, 6, 6], [0, 0, 16, 10]]
    )
    assert not any("segmentation" in a for a in found)


@pytest.mark.parametrize("names", [["cat", "dog"], {0: "cat", 1: "dog"}, {"0": "cat", "1": "dog"}])
def test_names_are_a_list_or_a_mapping(tmp_path, names):
    content = read_annotations(str(write_yolo(tmp_path, names=names)))
    assert [c["name"] for c in content["categories"]] == ["cat", "dog"]


@pytest.mark.parametrize("names", ["[no, 01, null]", "{0: no, 1: 01, 2: null}"])
def test_names_are_read_as_they_are_written(tmp_path, names):
    """YAML's own reading makes a class called "no" False, and 01 the number 1."""
    file = write_yolo(tmp_path)
    file.write_text(file.read_text().split("names:")[0] + f"names: {names}\ntrain: images/train\n")
    found = [c["name"] for c in read_annotations(str(file))["categories"]]
    assert found == ["no", "01", "null"]


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "."},
        {"path": "sub/../"},
        {"path": "../datasets/not_here"},  # that of whoever trained first
        {"train": ["images/train"]},
        {"train": "./images/train"},
        {"train": "../images/train"},  # Roboflow
        {"train": "images\\train"},
        {"train": "list.txt"},
    ],
)
def test_images_are_found_however_the_file_names_them(tmp_path, settings):
    file = write_yolo(tmp_path, **settings)
    (tmp_path / "sub").mkdir()
    (tmp_path / "list.txt").write_text("./images/train/a.png\r\nimages\\train\\b.png\n\n")
    assert len(boxes_of(file)) == 3


def test_a_path_elsewhere_is_used(tmp_path):
    write_yolo(tmp_path / "there")
    file = tmp_path / "mine.yaml"
    for path in ("there", str(tmp_path / "there")):
        file.write_text(
            yaml.safe_dump({"path": path, "train": "images/train", "names": ["a", "b"]})
        )
        assert len(boxes_of(file)) == 3


def test_labels_replace_the_last_folder_of_that_name(tmp_path):
    """Also where a folder above is called images, and where there is none: beside the image."""
    assert len(boxes_of(write_yolo(tmp_path / "images/mine"))) == 3
    write_image(tmp_path / "flat/a.png", (10, 10))
    (tmp_path / "flat/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "flat/data.yaml").write_text("train: .\nnames: [cat]\n")
    assert boxes_of(tmp_path / "flat/data.yaml") == [[0, 0, 10, 10]]


def test_an_image_without_labels_is_background(tmp_path):
    file = write_yolo(tmp_path)
    write_image(tmp_path / "images/train/c.png", (8, 8))
    (tmp_path / "labels/train/b.txt").write_text("\n")
    content = read_annotations(str(file))
    assert len(content["images"]) == 3 and len(content["annotations"]) == 1


def test_a_photograph_that_is_turned_by_exif_is_labeled_upright(tmp_path):
    file = write_yolo(tmp_path, {"a": ((20, 40), [])})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "images/train/a.png", exif=exif)
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.25 1 0.5\n")
    content = read_annotations(str(file))
    assert (content["images"][0]["height"], content["images"][0]["width"]) == (40, 20)
    assert content["annotations"][0]["bbox"] == [0, 0, 20, 20]


def test_label_studio_exports_classes_txt(tmp_path):
    write_yolo(tmp_path).unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for source in (
        tmp_path,
        tmp_path / "classes.txt",
        pack(tmp_path, tmp_path.with_suffix(".zip")),
    ):
        assert len(boxes_of(source)) == 3


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("0 1.5 0.5 0.2 0.2", "1.5 is outside 0 to 1"),
        ("0 0.5 -0.5 0.2 0.2", "-0.5 is outside 0 to 1"),
        ("0 nan 0.5 0.2 0.2", "nan is outside 0 to 1"),
        ("0 10 5 10 5", "10 is outside 0 to 1"),
        ("7 0.5 0.5 0.2 0.2", "class 7 has no name"),
        ("-1 0.5 0.5 0.2 0.2", "class -1 has no name"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5 has no name"),
        ("0 0.5 0.5 0.2", "4 numbers are neither"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 numbers are neither"),
        ("cat 0.5 0.5 0.2 0.2", "are no numbers"),
    ],
)
def test_a_label_that_means_nothing_is_refused_with_file_and_line(tmp_path, line, text):
    file = write_yolo(tmp_path)
    label = tmp_path / "labels/train/b.txt"
    label.write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    message = refusal(file)
    assert message.startswith(f"'{label}', line 2: ") and text in message


def test_rounding_at_the_edge_is_no_error(tmp_path):
    file = write_yolo(tmp_path)
    (tmp_path / "labels/train/a.txt").write_text("0 0 0 1.000001 0 1.000001 1.000001\n")
    assert len(boxes_of(file)) == 3


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"names": "cat"}, "names must be a list"),
        ({"names": [["cat"], "dog"]}, "names must be a list"),
        ({"nc": 3}, "says nc: 3 but names 2 classes"),
        ({"train": "nowhere"}, "'nowhere' does not exist"),
        ({"train": "list.txt"}, "1 of 1 images do not exist"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, settings, text):
    file = write_yolo(tmp_path, **settings)
    (tmp_path / "list.txt").write_text("images/train/z.png")
    assert text in refusal(file)


def test_images_without_any_label_are_refused(tmp_path):
    file = write_yolo(tmp_path)
    (tmp_path / "labels").rename(tmp_path / "annotations")
    assert f"such as '{tmp_path}/labels/train/a.txt'" in refusal(file)


def test_keypoints_after_a_box_are_left_out(tmp_path):
    file = write_yolo(tmp_path, kpt_shape=[1, 3])
    for name in IMAGES:
        (tmp_path / f"labels/train/{name}.txt").write_text("0 0.5 0.5 1 1 0.2 0.2 2\n")
    assert boxes_of(file) == [[0, 0, 20, 12], [0, 0, 16, 10]]
