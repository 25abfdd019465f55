import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.structures import BoxMode

from bpt_det.visualization.annotations import ground_truth_objects

HEIGHT, WIDTH = 48, 64


def record_with(segmentation):
    annotation = {
        "bbox": [10, 5, 20, 8],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 4,
        "segmentation": segmentation,
    }
    return {"height": HEIGHT, "width": WIDTH, "annotations": [annotation]}


def segmentations():
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[5:13, 10:30] = 1
    counts = [HEIGHT * 10 + 5] + [8, HEIGHT - 8] * 20  # column by column
    counts[-1] = HEIGHT * WIDTH - sum(counts[:-1])
    return {
        "polygons": [[10, 5, 30, 5, 30, 13, 10, 13]],
        "run lengths": {"size": [HEIGHT, WIDTH], "counts": counts},
        "compressed run lengths": mask_util.encode(np.asfortranarray(mask)),
    }


@pytest.mark.parametrize("kind", segmentations())
def test_every_form_of_annotation_is_read(kind):
    (one,) = ground_truth_objects(record_with(segmentations()[kind]), HEIGHT, WIDTH)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[5:13, 10:30] = True
    assert (one.class_index, one.score, one.is_crowd) == (4, None, False)
    assert one.box == (10, 5, 30, 13)
    np.testing.assert_array_equal(one.mask, expected)


def test_ground_truth_follows_the_size_of_the_drawn_image():
    record = record_with(segmentations()["polygons"])
    (one,) = ground_truth_objects(record, HEIGHT // 2, WIDTH * 2)
    assert one.box == (20, 2.5, 60, 6.5)
    assert one.mask.shape == (HEIGHT // 2, WIDTH * 2)
    assert not one.mask[:, :20].any() and not one.mask[:, 60:].any() and one.mask[4, 20:60].all()


def test_an_annotation_without_a_mask_keeps_its_box():
    record = record_with(None)
    del record["annotations"][0]["segmentation"]
    (one,) = ground_truth_objects(record, HEIGHT, WIDTH)
    assert one.mask is None and one.box == (10, 5, 30, 13)
