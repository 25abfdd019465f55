"""Augmentations beyond flip and jitter: masks follow the image, 0 is off, ranges are checked."""

import detectron2.data.transforms as T
import numpy as np
import pytest
from detectron2.config import instantiate
from fvcore.transforms.transform import NoOpTransform
from pycocotools import mask as coco_mask

from bpt_det.config import get_config
from bpt_det.detection import ColorJitter, RandomBlur, RandomRotation, RandomVerticalFlip
from bpt_det.utils.errors import InputError
from tests.support.label_files import polygons_to_mask

SIZE = (60, 80)
SQUARE = [20.0, 10.0, 50.0, 10.0, 50.0, 40.0, 20.0, 40.0]


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(40, 90, (*SIZE, 3), dtype=np.uint8)
    pixels[10:40, 20:50] = 255
    return pixels


@pytest.mark.parametrize("seed", range(8))
def test_polygons_and_masks_turn_with_the_image(image, seed):
    np.random.seed(seed)
    transform = RandomRotation(180).get_transform(image)
    turned = transform.apply_image(image)
    assert turned.shape == image.shape
    mask = polygons_to_mask([SQUARE], *SIZE).astype(np.uint8)
    expected = transform.apply_segmentation(mask).astype(bool)
    polygons = transform.apply_polygons([np.reshape(SQUARE, (-1, 2))])
    flat = [polygon.ravel().tolist() for polygon in polygons]
    for polygon in polygons:
        assert polygon.min() >= 0 and (polygon.max(axis=0) <= SIZE[::-1]).all()
    found = polygons_to_mask(flat, *SIZE)
    assert (found & expected).sum() / (found | expected).sum() > 0.9
    assert turned[expected].mean() > 235


def test_color_stays_in_range_and_changes_no_shape(image):
    np.random.seed(0)
    for image_format in ("RGB", "BGR"):
        transform = ColorJitter(0.5, image_format).get_transform(image)
        jittered = transform.apply_image(image)
        assert jittered.dtype == np.uint8 and jittered.shape == image.shape
        assert not np.array_equal(jittered, image)
        coords = np.array([[1.0, 2.0]])
        assert np.array_equal(transform.apply_coords(coords.copy()), coords)


def test_gray_stays_gray_under_saturation():
    np.random.seed(1)
    gray = np.full((4, 5, 3), 100, dtype=np.uint8)
    jittered = ColorJitter(0.5).get_transform(gray).apply_image(gray)
    assert (jittered == jittered[0, 0, 0]).all()


def test_blur_smooths_some_images_and_leaves_thin_ones(image):
    np.random.seed(0)
    transforms = [RandomBlur(3).get_transform(image) for _ in range(40)]
    blurred = [t for t in transforms if not isinstance(t, NoOpTransform)]
    assert 8 < len(blurred) < 32
    result = blurred[0].apply_image(image)
    assert result.dtype == np.uint8 and result[:9, :9].std() < image[:9, :9].std()
    assert blurred[0].apply_image(image[:1]).shape == (1, SIZE[1], 3)


def test_strength_0_is_off(image):
    for augmentation in (RandomRotation(0), ColorJitter(0), RandomBlur(0)):
        assert isinstance(augmentation.get_transform(image), NoOpTransform)


@pytest.mark.parametrize(
    ("build", "value", "text"),
    [
        (RandomRotation, 181, r"augmentation.rotation must be in \[0, 180\], got 181"),
        (RandomVerticalFlip, 2, r"augmentation.vertical_flip must be in \[0, 1\], got 2"),
        (RandomRotation, -1, "augmentation.rotation"),
        (ColorJitter, 1, r"augmentation.color must be in \[0, 1\), got 1"),
        (ColorJitter, "much", "got 'much'"),
        (RandomBlur, 11, "augmentation.blur"),
        (RandomBlur, True, "augmentation.blur"),
    ],
)
def test_a_strength_out_of_range_is_refused(build, value, text):
    with pytest.raises(InputError, match=text):
        build(value)


def test_the_settings_of_a_config_reach_the_mapper(image):
    names = {"vertical_flip": 1.0, "rotation": 20, "color": 0.3, "blur": 2.0}
    settings = [f"dataloader.augmentation.{key}={value}" for key, value in names.items()]
    cfg = get_config("custom/cascade", *settings, "dataloader.image_size=64")
    record = {
        "annotations": [
            {"bbox": [0, 0, 1, 1], "bbox_mode": 0, "category_id": 0, "segmentation": [SQUARE]}
        ]
    }
    augmentations = [instantiate(a) for a in cfg.dataloader.train.mapper.augmentations]
    applied = T.AugInput(image)
    transforms = T.AugmentationList(augmentations)(applied)
    (polygon,) = [np.reshape(p, (-1, 2)) for p in record["annotations"][0]["segmentation"]]
    area = sum(
        coco_mask.area(coco_mask.merge(coco_mask.frPyObjects([p.ravel().tolist()], 200, 200)))
        for p in transforms.apply_polygons([polygon])
    )
    assert area > 100 and applied.image.dtype == np.uint8
