"""labelme: shapes, groups, masks, and what is refused."""

import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.formats import read_annotations
from bpt_det.utils.errors import InputError
from tests.support.label_files import (
    BOX,
    BOXES,
    TRIANGLE,
    labelme_mask,
    labelme_shape,
    write_image,
    write_labelme,
    write_labelme_file,
)

SQUARE = [5.0, 5.0, 9.0, 5.0, 9.0, 9.0, 5.0, 9.0]


@pytest.fixture
def shapes(tmp_path):
    """Read a dataset of one image (12, 20) with these shapes."""

    def read(*entries, size=(12, 20)):
        write_image(tmp_path / "a.png", (12, 20))
        write_labelme_file(tmp_path, "a", list(entries), size)
        return read_annotations(str(tmp_path))["annotations"]

    return read


def refusal(read, *entries, **options):
    with pytest.raises(InputError) as caught:
        read(*entries, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_polygons_are_objects(tmp_path):
    dataset = read_coco(str(write_labelme(tmp_path)))
    assert list(dataset.class_names.values()) == ["cat", "dog"]
    assert [a["segmentation"] for a in dataset.objects] == [[TRIANGLE]] * 3
    assert [a["bbox"] for a in dataset.objects] == [[2, 3, 10, 6]] * 3


def test_copies_of_pictures_in_the_files_take_no_memory(tmp_path):
    write_labelme(tmp_path, {f"{number:02}": BOXES["a"] for number in range(20)})
    for file in tmp_path.glob("*.json"):
        content = {**json.loads(file.read_text()), "imageData": "A" * 2**20}
        file.write_text(json.dumps(content))
    tracemalloc.start()
    try:
        assert len(read_annotations(str(tmp_path))["images"]) == 20
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_rectangles_alone_are_boxes(tmp_path):
    content = read_annotations(str(write_labelme(tmp_path, BOXES)))
    assert content["annotations"][0]["bbox"] == [4, 2, 6, 6]
    assert not any("segmentation" in a for a in content["annotations"])


def test_rectangles_among_polygons_are_masks(shapes):
    first, second = shapes(labelme_shape("cat", BOX), labelme_shape("dog", TRIANGLE))
    assert first["segmentation"] == [[4, 2, 10, 2, 10, 8, 4, 8]]
    assert second["segmentation"] == [TRIANGLE]


def test_shapes_of_one_group_are_one_object(shapes):
    parts = [labelme_shape("cat", p, group_id=1) for p in (TRIANGLE, SQUARE)]
    (whole,) = shapes(*parts)
    assert whole["segmentation"] == [TRIANGLE, SQUARE] and whole["bbox"] == [2, 3, 10, 6]
    other = labelme_shape("dog", SQUARE, group_id=1)
    assert len(shapes(*parts, other)) == 2  # another label


def test_a_circle_has_the_area_of_one(shapes):
    circle = labelme_shape("cat", (10.0, 6.0, 14.0, 6.0), shape_type="circle")
    assert shapes(circle)[0]["area"] == pytest.approx(np.pi * 16, rel=0.1)


def test_a_mask_is_where_its_corner_is(shapes):
    picture = np.ones((3, 4), dtype=bool)
    picture[0, 0] = False
    expected = np.zeros((12, 20), dtype=bool)
    expected[5:8, 2:6] = picture
    (found,) = shapes(labelme_mask("cat", picture, 2, 5))
    assert (coco_mask.decode(found["segmentation"]) == expected).all()
    (cut,) = shapes(labelme_mask("cat", picture, 18, -1))
    assert cut["bbox"] == [18, 0, 2, 2]
    for x, y in ((18, -6), (-9, 3), (25, 2), (3, 14)):
        (outside,) = shapes(labelme_mask("cat", picture, x, y))
        assert outside["area"] == 0


def test_labels_that_mean_no_class_are_left_out(shapes):
    assert len(shapes(labelme_shape("cat", SQUARE), labelme_shape("__ignore__", SQUARE))) == 1


@pytest.mark.parametrize("kind", ["line", "point", "linestrip", "points", "ai_points"])
def test_a_shape_that_is_no_polygon_is_refused(shapes, kind, tmp_path):
    text = refusal(shapes, labelme_shape("cat", SQUARE), labelme_shape("dog", BOX, shape_type=kind))
    assert text.startswith(f"'{tmp_path}/a.json', shape 1 ('dog') is a {kind}, not a polygon; ")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (labelme_shape("cat", [1.0, 2.0, 3.0, 4.0]), "a polygon needs 3 or more points"),
        (labelme_shape("cat", SQUARE, points=[[1, 2], [3, 4], ["x", 5]]), "3 or more points x, y"),
        (labelme_shape("cat", SQUARE, points=[[1, 2], [3, 4], [5, float("nan")]]), "3 or more"),
        (labelme_shape("cat", SQUARE, points=None), "3 or more points"),
        (labelme_shape("", SQUARE), "has no label"),
        ({**labelme_mask("cat", np.ones((2, 2)), 1, 1), "mask": "AAAA"}, "its mask is no picture"),
    ],
)
def test_a_faulty_shape_is_refused(shapes, shape, text):
    assert text in refusal(shapes, shape)


def test_a_file_without_its_picture_or_of_another_one_is_refused(shapes, tmp_path):
    shapes(labelme_shape("cat", SQUARE))
    text = refusal(shapes, labelme_shape("cat", SQUARE), size=(20, 12))
    assert "is of a picture of 12 x 20 pixels" in text
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="its picture 'a.png' is not in"):
        read_annotations(str(tmp_path))
