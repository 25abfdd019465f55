"""Ground truth: ids are labels, areas are measured, what has no pixel is left out."""

import json
import math

import pytest
from pycocotools import mask as coco_mask

from bpt_det.data.coco_dataset import read_coco
from bpt_det.detection.evaluation.truth import prepare_truth

SQUARE = [[2.0, 3.0, 8.0, 3.0, 8.0, 7.0, 2.0, 7.0]]  # 6 x 4 pixels


def content(*annotations, image_id=1):
    """One image of 20 x 10 pixels with these annotations, each changes to a square."""
    square = {"image_id": image_id, "category_id": 1, "bbox": [2, 3, 6, 4], "iscrowd": 0}
    square |= {"segmentation": SQUARE, "area": 24}
    return {
        "images": [{"id": image_id, "file_name": "a.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": i, **square, **a} for i, a in enumerate(annotations)],
        "categories": [{"id": 1, "name": "a"}],
    }


@pytest.fixture
def truth_of(tmp_path):
    """Writes content to a file, and returns what an evaluation makes of it."""

    def read(given):
        (tmp_path / "truth.json").write_text(json.dumps(given))
        return prepare_truth(read_coco(tmp_path / "truth.json"), {1: 0}, 1)

    return read


@pytest.mark.parametrize("image_id", [0, -5, 2**60, "000017", "a/b"])
@pytest.mark.parametrize("ids", [(0, 1), (-1, -2), (2**60, 2**60 + 1), ("x", "y"), (7, 7)])
def test_ids_are_labels(image_id, ids, truth_of):
    given = content(*({"id": key} for key in ids), image_id=image_id)
    truth, numbers = truth_of(given)
    assert numbers == {image_id: 1} and truth["images"][0]["id"] == 1
    assert [a["id"] for a in truth["annotations"]] == [1, 2]
    assert [a["image_id"] for a in truth["annotations"]] == [1, 1]


@pytest.mark.parametrize("area", [None, math.nan, math.inf, 0, -3])
def test_an_unusable_area_is_measured(area, truth_of, caplog):
    truth, _ = truth_of(content({"area": area}, {"area": 25}))
    assert [a["area"] for a in truth["annotations"]] == [24, 25]
    assert "1 objects" in caplog.text


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        SQUARE,
        {"size": [10, 20], "counts": [23, 4, 6, 4, 6, 4, 6, 4, 6, 4, 6, 4, 123]},
        {
            **(rle := coco_mask.merge(coco_mask.frPyObjects(SQUARE, 10, 20))),
            "counts": rle["counts"].decode(),
        },
    ],
)
def test_a_missing_area_is_that_of_the_mask_or_else_of_the_box(segmentation, truth_of):
    given = content({"segmentation": segmentation})
    del given["annotations"][0]["area"], given["annotations"][0]["iscrowd"]
    truth, _ = truth_of(given)
    assert truth["annotations"][0]["area"] == 24
    assert truth["annotations"][0]["iscrowd"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [2, 3, 0, 4]},
        {"bbox": [30, 3, 6, 4]},
        {"segmentation": [[2.0, 3.0, 2.0, 3.0, 2.0, 3.0]]},
        {"segmentation": {"size": [10, 20], "counts": [200]}},
        {"segmentation": [[4, 4], [6, 6]]},
    ],
)
def test_what_training_leaves_out_is_left_out(change, truth_of, caplog):
    truth, _ = truth_of(content({}, change))
    assert len(truth["annotations"]) == 1
    assert "1 " in caplog.text and "left out" in caplog.text
    crowd, _ = truth_of(content({}, {**change, "iscrowd": 1}))  # it asks nothing of a detector
    assert len(crowd["annotations"]) == 2
    assert all(annotation["segmentation"] for annotation in crowd["annotations"])
