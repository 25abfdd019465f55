import numpy as np
import pytest
from detectron2.data import DatasetMapper
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools.mask import encode

from bpt_det.detection import ImageNamingMapper
from bpt_det.errors import InputError

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


def refusal(path, **record):
    with pytest.raises(InputError) as caught:
        map_image(path, **record)
    return str(caught.value)


def assert_unreadable(path):
    text = refusal(path)
    assert text.startswith(f"image '{path}' cannot be read (")
    assert text.endswith("); restore the file or remove it from the annotation file.")


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
    assert text == (
        f"Mismatched image shape for image {path}, got ({WIDTH}, {HEIGHT}), expect "
        f"({HEIGHT}, {WIDTH}). Please check the width/height in your annotation."
    )


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
    with pytest.raises(InputError, match=r"has masks as RLE; set .*instance_mask_format=bitmask\."):
        mapper(
            {"file_name": str(path), "height": HEIGHT, "width": WIDTH, "annotations": [annotation]}
        )
