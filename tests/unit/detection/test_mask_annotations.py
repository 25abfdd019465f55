"""Every claim is against Detectron2's own `DatasetMapper`, with the same random draws."""

import copy

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools.mask import encode

from bpt_det.detection import ImageNamingMapper
from bpt_det.detection.mask_annotations import transform_masks
from bpt_det.utils.errors import InputError

HEIGHT, WIDTH = 40, 60
SQUARE, TRIANGLE = [2.5, 3, 16, 3, 16, 9, 2.5, 9], [30.0, 5, 50, 5.5, 41, 35]
INTEGERS = [10, 20, 33, 20, 33, 37, 10, 37]  # Detectron2 resizes them to integers


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def annotation(segmentation, **others):
    where = {"bbox": [1.5, 2, 30, 20], "bbox_mode": BoxMode.XYWH_ABS, "iscrowd": 0}
    return {**where, "category_id": 4, "segmentation": segmentation, **others}


def run_lengths():
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[5:20, 10:30] = 1
    return encode(mask)


def both(path, annotations, seed=0, **settings):
    """Return what Detectron2's mapper and what ours makes of the annotations."""
    record = {"file_name": str(path), "height": HEIGHT, "width": WIDTH, "annotations": annotations}
    resize, crop = T.ResizeScale(0.5, 2.0, 64, 64), T.FixedSizeCrop((64, 64), pad=False)
    settings = {"use_instance_mask": True, "recompute_boxes": True, **settings}
    settings |= {"augmentations": [T.RandomFlip(), resize, crop], "image_format": "RGB"}
    mapped = []
    for mapper_class in (DatasetMapper, ImageNamingMapper):
        np.random.seed(seed)
        mapped.append(mapper_class(is_train=True, **settings)(record))
    return mapped


def assert_equal(expected, mapped):
    assert mapped.keys() == expected.keys()
    actual, expected = mapped["instances"], expected["instances"]
    assert actual.image_size == expected.image_size
    assert actual.get_fields().keys() == expected.get_fields().keys()
    assert torch.equal(actual.gt_boxes.tensor, expected.gt_boxes.tensor)
    assert actual.gt_boxes.tensor.dtype == expected.gt_boxes.tensor.dtype
    assert torch.equal(actual.gt_classes, expected.gt_classes)
    if expected.has("gt_masks") and hasattr(expected.gt_masks, "tensor"):
        assert torch.equal(actual.gt_masks.tensor, expected.gt_masks.tensor)
    elif expected.has("gt_masks"):
        for polygons, others in zip(actual.gt_masks, expected.gt_masks, strict=True):
            assert all((a == b).all() for a, b in zip(polygons, others, strict=True))


MANY = [
    annotation([SQUARE, TRIANGLE]),
    annotation([INTEGERS], category_id=2),
    annotation([TRIANGLE], iscrowd=1),
    annotation([SQUARE], category_id=7),
]


def test_the_box_of_an_empty_mask_is_0_as_detectron2_has_it():
    empty = encode(np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F"))
    annotations = [annotation(run_lengths()), annotation(empty)]
    instances = transform_masks(annotations, T.TransformList([]), (HEIGHT, WIDTH), "bitmask")
    boxes = instances.gt_boxes.tensor
    assert boxes.tolist() == [[10, 5, 30, 20], [0, 0, 0, 0]]
    assert torch.equal(boxes, instances.gt_masks.get_bounding_boxes().tensor)


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("recompute_boxes", [True, False])
def test_polygons_become_what_detectron2_makes_of_them(path, mask_format, recompute_boxes):
    settings = {"instance_mask_format": mask_format, "recompute_boxes": recompute_boxes}
    for seed in range(20):
        assert_equal(*both(path, MANY, seed, **settings))


def test_run_lengths_become_what_detectron2_makes_of_them(path):
    for seed in range(5):
        mixed = [*MANY, annotation(run_lengths())]
        assert_equal(*both(path, mixed, seed, instance_mask_format="bitmask"))


def test_objects_without_a_polygon_are_left_out_as_detectron2_does(path):
    expected, mapped = both(path, [annotation([]), annotation([])])
    assert_equal(expected, mapped)
    assert len(mapped["instances"]) == 0


@pytest.mark.parametrize("annotations", [[], [annotation([SQUARE], iscrowd=1)]])
def test_boxes_that_are_not_recomputed_may_be_none(path, annotations):
    assert_equal(*both(path, annotations, recompute_boxes=False))


def test_boxes_without_masks_become_what_detectron2_makes_of_them(path):
    settings = {"use_instance_mask": False, "recompute_boxes": False}
    assert_equal(*both(path, MANY, **settings))


def test_keypoints_become_what_detectron2_makes_of_them(path):
    annotations = [annotation([SQUARE], keypoints=[5.0, 6, 2, 11, 7.5, 1])]
    expected, mapped = both(path, annotations, use_keypoint=True, keypoint_hflip_indices=[1, 0])
    assert_equal(expected, mapped)
    points = [sample["instances"].gt_keypoints.tensor for sample in (expected, mapped)]
    assert torch.equal(*points)


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("as_polygon", [list, tuple, np.array])
def test_the_record_is_left_as_it_was(path, mask_format, as_polygon):
    annotations = [annotation([as_polygon(SQUARE), as_polygon(TRIANGLE)])]
    before = copy.deepcopy(annotations)
    expected, mapped = both(path, annotations, instance_mask_format=mask_format)
    assert_equal(expected, mapped)
    assert annotations[0].keys() == before[0].keys()
    assert annotations[0]["bbox"] == before[0]["bbox"]
    polygons, others = annotations[0]["segmentation"], before[0]["segmentation"]
    for polygon, other in zip(polygons, others, strict=True):
        assert (np.asarray(polygon) == np.asarray(other)).all()


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("fault", [{"bbox": [1, 2, 3]}, {"bbox": ["a", 2, 3, 4]}])
def test_a_malformed_box_is_refused_though_it_is_recomputed(path, mask_format, fault):
    with pytest.raises(InputError, match="and its annotations cannot be used"):
        ours(path, annotation([SQUARE], **fault), mask_format)


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("mask", [[["a"] * 6], "text", [[1.0, 2, 3]], {"size": [1, 2]}])
def test_a_malformed_mask_is_refused(path, mask_format, mask):
    with pytest.raises(InputError, match=f"image '{path}' of {HEIGHT} x {WIDTH} pixels and its an"):
        ours(path, annotation(mask), mask_format)


def test_run_lengths_of_another_size_are_refused(path):
    other = encode(np.ones((7, 9), dtype=np.uint8, order="F"))
    with pytest.raises(InputError, match=r"mask of \(7, 9\) does not fit an image of \(40, 60\)"):
        ours(path, annotation(other), "bitmask")


def ours(path, entry, mask_format):
    mapper = ImageNamingMapper(
        is_train=True,
        augmentations=[],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format=mask_format,
        recompute_boxes=True,
    )
    record = {"file_name": str(path), "height": HEIGHT, "width": WIDTH, "annotations": [entry]}
    return mapper(record)
