"""Mapper: the same samples as Detectron2's, and errors that name the image."""

import numpy as np
import pytest
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools.mask import encode

from bpt_det.detection import ImageNamingMapper
from bpt_det.utils.errors import InputError

HEIGHT, WIDTH = 40, 60


@pytest.fixture(params=["photo.jpg", "drawing.png"])
def path(tmp_path, request):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / request.param)
    return tmp_path / request.param


def map_image(path, mapper_class=ImageNamingMapper, **record):
    mapper = mapper_class(is_train=False, augmentations=[], image_format="RGB")
    return mapper({"file_name": str(path), "height": HEIGHT, "width": WIDTH, **record})


def test_a_good_image_is_mapped_as_detectron2_does(path):
    expected = map_image(path, DatasetMapper)
    mapped = map_image(path)
    assert mapped.keys() == expected.keys()
    assert mapped["image"].shape == (3, HEIGHT, WIDTH)
    assert (mapped["image"] == expected["image"]).all()


@pytest.mark.parametrize("image_format", ["BGR", "L"])
def test_other_formats_are_those_of_detectron2(path, image_format):
    record = {"file_name": str(path)}
    expected, mapped = (
        mapper_class(is_train=False, augmentations=[], image_format=image_format)(record)
        for mapper_class in (DatasetMapper, ImageNamingMapper)
    )
    assert (mapped["image"] == expected["image"]).all()
    assert (mapped["height"], mapped["width"]) == (HEIGHT, WIDTH)


def test_an_image_is_opened_once(path, monkeypatch):
    opened = []
    open_image = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(1) or open_image(*a, **k))
    map_image(path)
    assert len(opened) == 1


def refusal(path, **record):
    with pytest.raises(InputError) as caught:
        map_image(path, **record)
    return str(caught.value)


def assert_unreadable(path):
    text = refusal(path)
    assert f"'{path}' cannot be read (" in text


def test_bytes_that_are_no_image_are_named(path):
    path.write_bytes(b"not an image" * 50)
    assert_unreadable(path)


@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.95])
def test_a_truncated_image_is_named(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert_unreadable(path)


def test_a_broken_image_is_named(path):
    """Bytes that are wrong in the middle, rather than absent at the end."""
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + bytes(400) + whole[420:])
    assert_unreadable(path)


def test_a_missing_image_is_named(path):
    path.unlink()
    assert_unreadable(path)


def test_an_image_of_another_size_than_recorded_is_named_with_both(path):
    text = refusal(path, height=WIDTH, width=HEIGHT)
    assert f"image '{path}' is of {HEIGHT} x {WIDTH} pixels" in text
    assert f"recorded with {WIDTH} x {HEIGHT}" in text


def test_masks_as_rle_where_polygons_are_asked_for_name_the_setting(path):
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[5:20, 10:30] = 1
    annotation = {
        "bbox": [10, 5, 20, 15],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "segmentation": encode(mask),
    }
    mapper = ImageNamingMapper(
        is_train=True, augmentations=[], image_format="RGB", use_instance_mask=True
    )
    record = {"file_name": str(path), "height": HEIGHT, "width": WIDTH}
    with pytest.raises(InputError, match=f"'{path}' has masks as RLE.*bitmask") as refusal:
        mapper({**record, "annotations": [annotation]})
    assert refusal.value.parameter == "instance_mask_format"


def test_a_training_image_without_annotations_is_mapped_as_detectron2_does(path):
    settings = {"is_train": True, "augmentations": [], "image_format": "RGB"}
    expected, mapped = (
        mapper_class(**settings)({"file_name": str(path)})
        for mapper_class in (DatasetMapper, ImageNamingMapper)
    )
    assert mapped.keys() == expected.keys()
    assert (mapped["image"] == expected["image"]).all()


class Refuse(T.Augmentation):
    def get_transform(self, image):
        raise InputError("min_scale must be below max_scale", parameter="min_scale")


def test_what_an_augmentation_refuses_stays_as_it_says_it(path):
    mapper = ImageNamingMapper(is_train=True, augmentations=[Refuse()], image_format="RGB")
    with pytest.raises(InputError, match="^min_scale must be below max_scale$") as caught:
        mapper({"file_name": str(path)})
    assert caught.value.parameter == "min_scale"


def test_16_bits_are_scaled_as_in_prediction(tmp_path):
    path = tmp_path / "deep.tif"
    pixels = np.full((HEIGHT, WIDTH), 40_000, dtype=np.uint16)
    Image.fromarray(pixels).save(path)
    assert (map_image(path)["image"] == 40_000 >> 8).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_values_of_an_unknown_range_are_refused_rather_than_black(tmp_path, dtype):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.full((HEIGHT, WIDTH), 700, dtype=dtype)).save(path)
    text = refusal(path)
    assert text.startswith(f"image '{path}' has ") and " 8 bits per channel" in text


def test_an_image_that_claims_to_be_huge_is_named(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    assert_unreadable(path)


def test_an_image_too_thin_to_be_resized_is_named_with_its_size(tmp_path):
    path = tmp_path / "thin.png"
    Image.new("RGB", (300, 1)).save(path)
    resize = T.ResizeShortestEdge(64, max_size=64)
    mapper = ImageNamingMapper(is_train=False, augmentations=[resize], image_format="RGB")
    with pytest.raises(InputError) as caught:
        mapper({"file_name": str(path), "height": 1, "width": 300})
    text = str(caught.value)
    assert text.startswith(f"image '{path}' of 1 x 300 pixels and its annotations cannot be used (")
    assert caught.value.hint == "check_dataset"


@pytest.mark.parametrize(
    "fault", [{"bbox": [1, 2, 3]}, {"bbox": ["a", 2, 3, 4]}, {"segmentation": [["a"] * 6]}]
)
def test_an_annotation_that_cannot_be_used_is_named_by_its_image(path, fault):
    mapper = ImageNamingMapper(
        is_train=True, augmentations=[], image_format="RGB", use_instance_mask=True
    )
    polygon = [[2, 3, 6, 3, 6, 9, 2, 9]]
    where = {"bbox": [2, 3, 4, 6], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    annotation = {**where, "segmentation": polygon, "iscrowd": 0, **fault}
    record = {"file_name": str(path), "height": HEIGHT, "width": WIDTH}
    with pytest.raises(InputError, match=f"image '{path}' of {HEIGHT} x {WIDTH} pixels and its an"):
        mapper({**record, "annotations": [annotation]})
